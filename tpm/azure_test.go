package tpm

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"slices"
	"testing"
)

// TestAzureKey: the AK of Azure's virtual TPMs is a restricted signing key, RSA 2048 with
// RSASSA and SHA-256, and a primary key of the endorsement hierarchy. Its public area is
// in none of the captures; made from the key in the runtime data, it has the qualified
// name that the TPM signed into the quote, and no other attributes or hierarchy has.
func TestAzureKey(t *testing.T) {
	for _, item := range [][]string{
		{"azure-snp", "azsnp-milan-v3-trustee-v0"}, {"azure-snp", "azsnp-genoa-v3-trustee"}, {"azure-tdx", "aztdx-trustee-v1"},
	} {
		q, err := parseQuote(shared(t, append(slices.Clone(item), "tpm_quote.msg")...))
		if err != nil {
			t.Fatalf("%s: %v", item[1], err)
		}
		area := azurePublic(t, shared(t, append(slices.Clone(item), "runtime_data.json")...))
		p, err := parsePublic(area)
		if err != nil {
			t.Fatalf("%s: %v", item[1], err)
		}
		if err := p.checkMode(); err != nil {
			t.Errorf("%s: %v", item[1], err)
		}
		if got := (&evidence{quote: q, public: p}).qualifiedName(); !bytes.Equal(got, q.qualifiedSigner) {
			t.Errorf("%s: qualified name %x, the quote has %x", item[1], got, q.qualifiedSigner)
		}
		area[7] ^= byte(attrNoDA >> 8) // another attribute is another key
		if p, err := parsePublic(area); err == nil && bytes.Equal((&evidence{quote: q, public: p}).qualifiedName(), q.qualifiedSigner) {
			t.Errorf("%s: the attributes do not count", item[1])
		}
	}
}

// azurePublic returns the TPMT_PUBLIC of the AK in the runtime data of a report.
func azurePublic(t *testing.T, runtime []byte) []byte {
	t.Helper()
	var data struct {
		Keys []struct{ Kid, N string }
	}
	if err := json.Unmarshal(bytes.TrimRight(runtime, "\x00"), &data); err != nil {
		t.Fatal(err)
	}
	for _, k := range data.Keys {
		n, err := base64.RawURLEncoding.DecodeString(k.N)
		if k.Kid != "HCLAkPub" || err != nil {
			continue
		}
		b := []byte{0, 0x01, 0, 0x0B}                    // RSA, nameAlg SHA-256
		b = binary.BigEndian.AppendUint32(b, 0x00050472) // the attributes
		b = append(b, 0, 0, 0, 0x10, 0, 0x14, 0, 0x0B)   // no policy, no symmetric, RSASSA, SHA-256
		b = append(b, 0x08, 0x00, 0, 0, 0, 0)            // 2048 bits, the default exponent
		b = binary.BigEndian.AppendUint16(b, uint16(len(n)))
		return append(b, n...)
	}
	t.Fatal("no AK in the runtime data")
	return nil
}
