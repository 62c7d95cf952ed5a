package nexart_test

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/sworn-run/sworn/cer/nexart"
)

// subjects are files that verify, of every kind.
func subjects(tb testing.TB, n *node) []object {
	tb.Helper()
	record := sealed(tb, snapshot())
	other := sealed(tb, merged(snapshot(), object{"executionId": "e-2", "output": "else", "protocolVersion": "1.3.1"}))
	receipt := n.receipt(record["certificateHash"].(string), "1.2.0")
	signature := n.sign(canonical(tb, receipt))
	context := rehash(tb, merged(record, object{"context": object{"signals": []any{object{"type": "a"}}}}), append([]string{"context"}, four...)...)
	gone := rehash(tb, merged(record, object{"snapshot": with(tb, record["snapshot"].(object), object{"prompt": nil, "input": nil})}), four...)
	hashOnly := object{"bundleType": "hash-only-timestamp", "version": "0.1", "createdAt": "x", "snapshot": nil, "certificateHash": hashOf([]byte("x"))}
	first := object{"envelopeType": "nexart.verification.envelope.v1", "certificateHash": record["certificateHash"], "kid": n.kid}
	full := object{"envelopeType": "nexart.verification.envelope.v2", "attestation": n.attestation("1.2.0")}
	over := n.sign(canonical(tb, object{"attestation": full["attestation"], "bundle": record, "envelopeType": full["envelopeType"]}))
	step := governedStep(tb)
	return []object{
		n.certify(tb, record, "1.2.0", four...),
		n.certify(tb, other, "1.3.1", four...),
		n.certify(tb, context, "1.2.0", append([]string{"context"}, four...)...),
		n.certify(tb, gone, "1.2.0", four...),
		n.certify(tb, hashOnly, "1.2.0", append([]string{"certificateHash"}, four...)...),
		n.certify(tb, step, "1", "bundleType", "version", "schema", "bundleId", "threadId", "step", "protectedSet"),
		n.signProject(tb, project(tb, n)),
		merged(record, object{"meta": object{"attestation": object{"receipt": receipt, "signature": signature}}}),
		{"cer": record, "receipt": object{"payload": receipt}, "receiptSignature": signature},
		{"cer": record, "receipt": string(canonical(tb, receipt)), "signature": signature},
		enclose(record, first, n.sign(canonical(tb, first))),
		enclose(record, full, over),
	}
}

// parts are all values within a value, and where each stands.
type part struct {
	value any
	set   func(any) // nil sets nothing but removes it
}

func parts(v any, set func(any), out []part) []part {
	out = append(out, part{v, set})
	switch v := v.(type) {
	case object:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			out = parts(v[name], func(to any) {
				if v[name] = to; to == nil {
					delete(v, name)
				}
			}, out)
		}
	case []any:
		for i := range v {
			out = parts(v[i], func(to any) { v[i] = to }, out)
		}
	}
	return out
}

// edited makes a file of others: each four bytes of the recipe put a part of one
// file in the place of a part of another, or do something else to it.
func edited(tb testing.TB, files [][]byte, recipe []byte) object {
	tb.Helper()
	if len(recipe) == 0 {
		return parsed(tb, files[0])
	}
	file := parsed(tb, files[int(recipe[0])%len(files)])
	for recipe = recipe[1:]; len(recipe) >= 4; recipe = recipe[4:] {
		from := parts(parsed(tb, files[int(recipe[0])%len(files)]), nil, nil)
		to := parts(file, func(any) {}, nil)
		source, target := from[int(recipe[1])%len(from)], to[int(recipe[2])%len(to)]
		o, isObject := target.value.(object)
		list, isList := target.value.([]any)
		switch op := recipe[3] % 6; {
		case op == 0:
			target.set(nil)
		case op == 1 && isObject:
			if s, ok := source.value.(object); ok {
				maps.Copy(o, s)
			}
		case op == 2 && isObject && o["snapshot"] != nil: // As an attacker can.
			o["certificateHash"] = rehash(tb, o, append([]string{"context"}, four...)...)["certificateHash"]
		case op == 3 && isObject && o["stepRegistry"] != nil:
			o["integrity"] = reproject(tb, o)["integrity"]
		case op == 4 && isList && len(list) > 0:
			target.set(slices.Insert(slices.Clone(list), int(recipe[1])%len(list), source.value))
		default:
			target.set(source.value)
		}
	}
	return file
}

// FuzzEdits puts signed files together in other ways. Whatever passes then, an
// independent judgement must pass too; and canonical text and a text in another
// order mean the same.
func FuzzEdits(f *testing.F) {
	n := newNode(1)
	files := texts(f, n)
	for i := range files {
		f.Add([]byte{byte(i)})
		f.Add([]byte{byte(i), byte(i + 1), 3, 5, 5, byte(i), 0, 1, 1})
	}
	keys := n.keys(f)
	f.Fuzz(func(t *testing.T, recipe []byte) {
		if len(recipe) > 64 {
			return
		}
		file := canonical(t, edited(t, files, recipe))
		r := nexart.Verify(file, keys)
		consistent(t, r)
		oracle{t, n}.check(file, r)
	})
}

// texts are the subjects as they are stored.
func texts(tb testing.TB, n *node) [][]byte {
	tb.Helper()
	var out [][]byte
	for _, s := range subjects(tb, n) {
		out = append(out, canonical(tb, s))
	}
	return out
}

// TestEdits is FuzzEdits over recipes that are the same each time.
func TestEdits(t *testing.T) {
	n := newNode(1)
	files, keys := texts(t, n), n.keys(t)
	random := rand.New(rand.NewPCG(1, 2))
	verified, passing := 0, 0
	for range 1500 {
		recipe := make([]byte, 5+4*random.IntN(2))
		for i := range recipe {
			recipe[i] = byte(random.Uint32())
		}
		file := canonical(t, edited(t, files, recipe))
		r := nexart.Verify(file, keys)
		consistent(t, r)
		oracle{t, n}.check(file, r)
		if r.Verdict.Verified() {
			verified++
		}
		if r.Integrity == pass || r.Receipt == pass || r.Envelope == pass {
			passing++
		}
	}
	if verified < 40 || passing < 500 || passing == 1500 {
		t.Errorf("of 1500, %d are verified, %d pass some layer: the recipes try nothing", verified, passing)
	}
}
