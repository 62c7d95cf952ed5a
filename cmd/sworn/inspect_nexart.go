package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sworn-run/sworn/cer/nexart"
)

// shownLevels is how many levels of a JSON text stand on lines of their own;
// what is deeper stands on one.
const shownLevels = 6

// shownRows is how many rows of a JSON text are shown: a hostile file of 64 MiB
// holds millions of elements.
const shownRows = 20000

// treeJSON shows the members of a JSON object or the elements of an array, each
// on a line, as they stand in the file.
func treeJSON(t *treeWriter, depth int, v jsontext.Value) {
	kind := v.Kind()
	if kind != '{' && kind != '[' {
		t.row(depth, "value", shortJSON(v))
		return
	}
	dec := jsontext.NewDecoder(bytes.NewReader(v), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if _, err := dec.ReadToken(); err != nil {
		return
	}
	for i := 0; dec.PeekKind() != '}' && dec.PeekKind() != ']'; i++ {
		if t.rowsUsed >= shownRows {
			t.row(depth, "…", "the rest is not shown")
			return
		}
		name := strconv.Itoa(i)
		if kind == '{' {
			token, err := dec.ReadToken()
			if err != nil {
				return
			}
			name = token.String()
		}
		value, err := dec.ReadValue()
		if err != nil {
			return
		}
		treeValue(t, depth, name, value)
	}
}

// treeValue shows one member: a plain value beside its name, any other below.
func treeValue(t *treeWriter, depth int, name string, v jsontext.Value) {
	const shortest = 60 // A small object is easier to read on one line.
	nested := v.Kind() == '{' || v.Kind() == '['
	if !nested || depth >= shownLevels || len(v) <= shortest {
		t.row(depth, name, shortJSON(v)+memberNote(name))
		return
	}
	t.row(depth, name, "")
	treeJSON(t, depth+1, v)
}

// memberNote says of a NexArt member what its name does not.
func memberNote(name string) string {
	notes := map[string]string{
		"attestedAt": "the node's word, RFC 3339", "createdAt": "claimed, RFC 3339", "timestamp": "claimed, RFC 3339",
		"signature": "base64url, not checked here", "signatureB64Url": "base64url, not checked here",
		"receiptSignature": "base64url, not checked here", "verificationEnvelopeSignature": "base64url, not checked here",
		"certificateHash": "of the record it speaks of", "attestorKeyId": "a key of the node's key document", "kid": "a key of the node's key document",
		"validFrom": "RFC 3339", "validTo": "RFC 3339", "durationMs": "milliseconds",
	}
	if notes[name] == "" {
		return ""
	}
	return " (" + notes[name] + ")"
}

// showMembers returns a function that shows a JSON object under a head.
func showMembers(head, detail string) func(*treeWriter, []byte) error {
	return func(t *treeWriter, file []byte) error {
		t.head(head, fmt.Sprintf("%s%d bytes, sha256:%x", detail, len(file), sha256.Sum256(file)))
		treeJSON(t, 1, file)
		return nil
	}
}

func showReceipt(t *treeWriter, file []byte) error {
	return showMembers("NexArt receipt", "what a node says it saw; sworn nexart verify checks it; ")(t, file)
}

func showEnvelope(t *treeWriter, file []byte) error {
	return showMembers("NexArt envelope", "what a node signed of a record; sworn nexart verify checks it; ")(t, file)
}

func showSnapshot(t *treeWriter, file []byte) error {
	return showMembers("NexArt snapshot", "not sealed: sworn nexart seal; ")(t, file)
}

func showSchema(t *treeWriter, file []byte) error {
	return showMembers("JSON schema", "")(t, file)
}

// showPackage shows a NexArt package: a bundle and what stands beside it.
func showPackage(t *treeWriter, file []byte) error {
	var m map[string]jsontext.Value
	if err := json.Unmarshal(file, &m); err != nil {
		return err
	}
	t.head("NexArt package", fmt.Sprintf("a bundle with what a node says of it; sworn nexart verify checks it; %d bytes, sha256:%x", len(file), sha256.Sum256(file)))
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if name != "cer" && t.rowsUsed < shownRows {
			treeValue(t, 1, name, m[name])
		}
	}
	if m["cer"].Kind() != '{' {
		t.row(1, "cer", shortJSON(m["cer"]))
		return nil
	}
	return showBundle(t, m["cer"])
}

// showKeys shows a node's key document, which must be one.
func showKeys(t *treeWriter, file []byte) error {
	if _, err := nexart.ParseKeys(file); err != nil {
		return err
	}
	var doc struct {
		Keys []map[string]jsontext.Value `json:"keys"`
	}
	if err := json.Unmarshal(file, &doc); err != nil {
		return err
	}
	var m map[string]jsontext.Value
	if err := json.Unmarshal(file, &m); err != nil {
		return err
	}
	t.head("NexArt key document", fmt.Sprintf("%d keys, %d bytes, sha256:%x", len(doc.Keys), len(file), sha256.Sum256(file)))
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if name != "keys" {
			treeValue(t, 1, name, m[name])
		}
	}
	for _, k := range doc.Keys {
		t.row(1, "key", strings.Trim(shortJSON(k["kid"]), `"`))
		for _, name := range slices.Sorted(maps.Keys(k)) {
			if name != "kid" {
				treeValue(t, 2, name, k[name])
			}
		}
	}
	return nil
}
