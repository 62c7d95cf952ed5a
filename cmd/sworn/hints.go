package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sworn-run/sworn/verifier"
)

// policyHint says what to do about a policy file that is none: what it is
// instead, or which member was probably meant.
func policyHint(name string, file []byte, otherwise string) string {
	if hint := kindHint(name, file, "policy"); hint != "" {
		return hint
	}
	var schema jsontext.Value = verifier.PolicySchema()
	if member, meant := unknownMember(schema, schema, file); meant != "" {
		return fmt.Sprintf("did you mean %q for %q? %s", meant, member, otherwise)
	}
	return otherwise
}

// schemaNode is what unknownMember needs of a JSON Schema.
type schemaNode struct {
	Ref        string                    `json:"$ref"`
	Properties map[string]jsontext.Value `json:"properties"`
	Items      jsontext.Value            `json:"items"`
	OneOf      []jsontext.Value          `json:"oneOf"`
	Defs       map[string]jsontext.Value `json:"$defs"`
}

// unknownMember returns the first member of a JSON text that its schema does not
// have, and the one that was probably meant; nothing if all are known.
func unknownMember(root, schema, v jsontext.Value) (member, meant string) {
	props, items := schemaParts(root, schema)
	if v.Kind() == '[' && items != nil {
		var list []jsontext.Value
		if json.Unmarshal(v, &list) != nil {
			return "", ""
		}
		for _, element := range list {
			if member, meant := unknownMember(root, items, element); member != "" {
				return member, meant
			}
		}
	}
	if v.Kind() != '{' || len(props) == 0 {
		return "", ""
	}
	var m map[string]jsontext.Value
	if json.Unmarshal(v, &m) != nil {
		return "", ""
	}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if props[name] == nil {
			return name, nearest(name, slices.Sorted(maps.Keys(props)))
		}
		if member, meant := unknownMember(root, props[name], m[name]); member != "" {
			return member, meant
		}
	}
	return "", ""
}

// schemaParts returns the members and the element that a schema allows, those of
// its alternatives together.
func schemaParts(root, schema jsontext.Value) (props map[string]jsontext.Value, items jsontext.Value) {
	props = map[string]jsontext.Value{}
	// The schema is this program's own: its references lead to no circle.
	for todo := []jsontext.Value{schema}; len(todo) > 0; todo = todo[1:] {
		var n schemaNode
		if json.Unmarshal(todo[0], &n) != nil {
			continue
		}
		maps.Copy(props, n.Properties)
		if n.Items != nil {
			items = n.Items
		}
		todo = append(todo, n.OneOf...)
		if name, ok := strings.CutPrefix(n.Ref, "#/$defs/"); ok {
			var top schemaNode
			if json.Unmarshal(root, &top) == nil {
				todo = append(todo, top.Defs[name])
			}
		}
	}
	return props, items
}

// waiverHint says what to do about a waiver that is none.
func waiverHint(waiver string) string {
	id, _, ok := strings.Cut(waiver, "=")
	class, known := verifier.CheckClass(id)
	switch {
	case !known:
		return hintMeant(nearest(id, waivableIDs()), `--waive %s="why this may be"`, "sworn explain lists all checks")
	case class != verifier.ClassRequired:
		return "sworn explain " + id
	case !ok:
		return "--waive " + id + `="why this may be"`
	default:
		return `--waive launcher.rooted="why this may be"`
	}
}

// waivableIDs returns the ids of the checks that may be waived.
func waivableIDs() []string {
	return slices.DeleteFunc(slices.Clone(verifier.CheckIDs()), func(id string) bool {
		class, _ := verifier.CheckClass(id)
		return class != verifier.ClassRequired
	})
}

// rootsHint says which folder was probably meant for a roots folder.
func rootsHint(dir string) string {
	const layout = "a roots folder holds one folder per role, such as tpm-ak/, with one certificate per file"
	isDir := func(path string) bool {
		st, err := os.Stat(path)
		return err == nil && st.IsDir()
	}
	switch {
	case isDir(filepath.Join(dir, "roots")):
		return "did you mean " + filepath.Join(dir, "roots") + "? " + layout
	case slices.Contains([]string{"tpm-ak", "tpm-ek", "aws-nitro", "tsa", "model-signer", "signer", "ledger"}, filepath.Base(dir)) && isDir(dir):
		return "did you mean " + filepath.Dir(dir) + ", the folder above? " + layout
	default:
		return layout
	}
}
