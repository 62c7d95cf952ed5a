package oracle

import (
	"bytes"
	"crypto"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	theirs "github.com/google/go-attestation/attest"
	"github.com/google/go-eventlog/register"
	"github.com/google/go-eventlog/tcg"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/bootlog"
)

// log is a log by its name.
type log struct {
	name string
	raw  []byte
	kind bootlog.Registers
}

// logs returns those captured for this project, those that the other modules ship, and
// those of the shared evidence where it is there.
func logs(t *testing.T) []log {
	t.Helper()
	var out []log
	add := func(kind bootlog.Registers, patterns ...string) {
		files, err := filepath.Glob(filepath.Join(patterns...))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, log{filepath.Base(filepath.Dir(name)) + "/" + filepath.Base(name), b, kind})
		}
	}
	add(bootlog.PCRs, "..", "..", "internal", "bootlog", "testdata", "*", "eventlog")
	attestation, eventlog := moduleDir(t, "github.com/google/go-attestation"), moduleDir(t, "github.com/google/go-eventlog")
	add(bootlog.PCRs, attestation, "attest", "testdata", "*_eventlog")
	add(bootlog.PCRs, eventlog, "testdata", "eventlogs", "tpm", "*.bin")
	add(bootlog.PCRs, eventlog, "testdata", "legacydata", "*_eventlog")
	add(bootlog.MRs, eventlog, "testdata", "eventlogs", "ccel", "*.bin")
	if len(out) < 28 {
		t.Fatalf("only %d logs", len(out))
	}
	if shared := os.Getenv("SWORN_SHARED"); shared != "" {
		add(bootlog.PCRs, shared, "evidence", "eventlog", "*", "eventlog.bin")
		add(bootlog.MRs, shared, "evidence", "ccel", "*", "ccel_data.bin")
	}
	return out
}

// moduleDir returns where a module's files are.
func moduleDir(t *testing.T, module string) string {
	t.Helper()
	b, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// banks are the hashes that both sides know.
func banks() map[attest.Alg]crypto.Hash {
	return map[attest.Alg]crypto.Hash{attest.SHA1: crypto.SHA1, attest.SHA256: crypto.SHA256, attest.SHA384: crypto.SHA384}
}

// mrs are register values as the other modules take them.
func mrs(kind bootlog.Registers, hash crypto.Hash, values []bootlog.Value) ([]register.MR, []theirs.PCR) {
	var out []register.MR
	var pcrs []theirs.PCR
	for _, v := range values {
		if kind == bootlog.MRs {
			out = append(out, register.RTMR{Index: int(v.Index) - 1, Digest: v.Value})
			continue
		}
		out = append(out, register.PCR{Index: int(v.Index), Digest: v.Value, DigestAlg: hash})
		pcrs = append(pcrs, theirs.PCR{Index: int(v.Index), Digest: v.Value, DigestAlg: hash})
	}
	return out, pcrs
}

// TestReplay gives the other modules the values computed here, as they are and with one
// bit changed in each.
func TestReplay(t *testing.T) {
	replayed := 0
	for _, l := range logs(t) {
		ours, err := bootlog.Parse(l.raw, l.kind)
		options := tcg.ParseOpts{AllowPadding: l.kind == bootlog.MRs}
		if err != nil {
			if _, other := tcg.ParseEventLog(l.raw, options); other == nil {
				t.Errorf("%s: refused here alone: %v", l.name, err)
			}
			continue
		}
		for alg, hash := range banks() {
			if !ours.Has(alg) {
				continue
			}
			values, err := ours.Replay(alg, nil)
			if err != nil {
				t.Errorf("%s %v: %v", l.name, alg, err)
				continue
			}
			replayed++
			all, pcrs := mrs(l.kind, hash, values)
			if _, err := tcg.ParseAndReplay(l.raw, all, options); err != nil {
				t.Errorf("%s %v: go-eventlog: %v", l.name, alg, err)
			}
			if l.kind == bootlog.PCRs {
				verify(t, l, pcrs, true)
			}
			for i := range values {
				values[i].Value[3] ^= 4
				all, pcrs := mrs(l.kind, hash, values)
				if _, err := tcg.ParseAndReplay(l.raw, all, options); err == nil {
					t.Errorf("%s %v: go-eventlog takes another value of register %d", l.name, alg, values[i].Index)
				}
				if l.kind == bootlog.PCRs {
					verify(t, l, pcrs, false)
				}
				values[i].Value[3] ^= 4
			}
		}
	}
	if replayed < 40 {
		t.Fatalf("only %d banks replayed", replayed)
	}
	t.Logf("%d banks replayed", replayed)
}

// verify asks go-attestation.
func verify(t *testing.T, l log, pcrs []theirs.PCR, want bool) {
	t.Helper()
	el, err := theirs.ParseEventLog(l.raw)
	if err != nil {
		t.Errorf("%s: go-attestation: %v", l.name, err)
		return
	}
	if _, err := el.Verify(pcrs); (err == nil) != want {
		t.Errorf("%s: go-attestation: %v, want accepted: %v", l.name, err, want)
	}
}

// TestSecureBoot compares what both sides read of Secure Boot.
func TestSecureBoot(t *testing.T) {
	compared := 0
	for _, l := range logs(t) {
		ours, err := bootlog.Parse(l.raw, l.kind)
		if err != nil || l.kind != bootlog.PCRs || !ours.Has(attest.SHA256) {
			continue
		}
		values, err := ours.Replay(attest.SHA256, nil)
		if err != nil {
			t.Fatal(err)
		}
		var quoted []attest.RegisterValue
		for _, v := range values {
			quoted = append(quoted, attest.RegisterValue{Bank: attest.SHA256, Index: v.Index, Value: v.Value})
		}
		facts, err := ours.Appraise(attest.SHA256, quoted, bootlog.Options{})
		if err != nil {
			t.Fatal(err)
		}
		state, err := other(l, values)
		if err != nil {
			t.Logf("%s: go-attestation has no answer: %v", l.name, err)
			continue
		}
		compared++
		if !facts.SecureBoot.Established || state.Enabled != (facts.SecureBoot.State == bootlog.Enabled) ||
			state.DMAProtectionDisabled != facts.SecureBoot.DMA {
			t.Errorf("%s: go-attestation says %v, here %+v", l.name, state.Enabled, facts.SecureBoot)
		}
		v := facts.Variables
		if !v.Established {
			t.Errorf("%s: %s", l.name, v.Reason)
			continue
		}
		for _, c := range []struct {
			name   string
			ours   []bootlog.Signature
			keys   int
			hashes [][]byte
		}{
			{"PK", v.PK, len(state.PlatformKeys), state.PlatformKeyHashes},
			{"KEK", v.KEK, len(state.ExchangeKeys), state.ExchangeKeyHashes},
			{"db", v.DB, len(state.PermittedKeys), state.PermittedHashes},
			{"dbx", v.DBX, len(state.ForbiddenKeys), state.ForbiddenHashes},
		} {
			same(t, l.name+" "+c.name, c.ours, c.keys, c.hashes)
		}
	}
	if compared < 10 {
		t.Fatalf("only %d logs compared", compared)
	}
}

// same compares a database: certificates by number, digests by value.
func same(t *testing.T, name string, ours []bootlog.Signature, keys int, hashes [][]byte) {
	t.Helper()
	certificates := 0
	var digests [][]byte
	for _, s := range ours {
		switch s.Type.String() {
		case bootlog.CertX509:
			certificates++
		case bootlog.CertSHA256:
			digests = append(digests, s.Data)
		}
	}
	if certificates != keys || !bytes.Equal(bytes.Join(digests, nil), bytes.Join(hashes, nil)) {
		t.Errorf("%s: %d certificates and %d digests, go-attestation has %d and %d", name, certificates, len(digests), keys, len(hashes))
	}
}

// other asks go-attestation for the state of Secure Boot.
func other(l log, values []bootlog.Value) (*theirs.SecurebootState, error) {
	_, pcrs := mrs(l.kind, crypto.SHA256, values)
	el, err := theirs.ParseEventLog(l.raw)
	if err != nil {
		return nil, err
	}
	events, err := el.Verify(pcrs)
	if err != nil {
		return nil, err
	}
	state, err := theirs.ParseSecurebootState(events)
	if err == nil && state == nil {
		return nil, errors.New("no state")
	}
	return state, err
}
