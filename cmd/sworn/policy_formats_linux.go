package main

import (
	"encoding/hex"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/verifier"
)

// formatFlags are the flags that say which evidence a policy accepts, and whose.
type formatFlags struct {
	tee         []string
	roots, bank string
	pcr         uint32
	// uniqueID is the launcher, where it is an SGX enclave: what "make enclave" writes.
	uniqueID string
}

func (f *formatFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringArrayVar(&f.tee, "tee", []string{"tpm"}, "the `FORMAT` of the evidence (repeatable: one slot each), such as tpm, sev-snp or tdx")
	fl.StringVar(&f.roots, "roots", "", "roots `DIR`: every root in it of a format's role is accepted, and no other; without one, the vendors' that are built in")
	fl.StringVar(&f.bank, "bank", "sha256", "the PCR `BANK`, where PCRs are quoted")
	fl.Uint32Var(&f.pcr, "pcr", 13, "the PCR that anchors the log, where PCRs are quoted")
	fl.StringVar(&f.uniqueID, "unique-id", "", "with --tee sgx: the enclave that the launcher is, in `HEX`, as \"make enclave\" writes it to unique-id")
	choices(cmd, "bank", "sha256", "sha384", "sha512")
	choices(cmd, "tee", formatNames()...)
	folder(cmd, "roots")
}

// formatNames are the names of all formats.
func formatNames() []string {
	var out []string
	for _, s := range verifier.Schemes() {
		out = append(out, s.Describe().Name)
	}
	return out
}

// formats makes the rules of the formats.
func (f *formatFlags) formats() (map[string]verifier.FormatPolicy, error) {
	store, err := loadRoots(f.roots)
	if err != nil {
		return nil, err
	}
	out := map[string]verifier.FormatPolicy{}
	for _, name := range f.tee {
		i := slices.IndexFunc(verifier.Schemes(), func(s attest.Scheme) bool { return s.Describe().Name == name })
		if i < 0 {
			return nil, usage("--tee "+strings.Join(formatNames(), ", or --tee "), "evidence format %q is unknown", name)
		}
		if _, twice := out[name]; twice {
			return nil, usage("name each format once", "evidence format %q is given twice", name)
		}
		d := verifier.Schemes()[i].Describe()
		rules := verifier.FormatPolicy{Identity: verifier.IdentityPolicy{Role: d.RootRole, SPKI: accepted(store, d.RootRole)}}
		if len(rules.Identity.SPKI) == 0 {
			return nil, usage("--roots DIR with "+d.RootRole+"/<root>.pem in it", "no root of role %s given: whose %s evidence do you accept?", d.RootRole, name)
		}
		if d.Anchor == attest.AnchorRegister && d.RegisterBank == 0 {
			if err := f.anchor(&rules); err != nil {
				return nil, err
			}
		}
		out[name] = rules
	}
	return out, nil
}

// enclave returns the enclave in which the launcher runs the job, if it is to be one.
func (f *formatFlags) enclave(j *jobFlags) (*[32]byte, error) {
	asked := slices.Contains(f.tee, teeSGX)
	switch {
	case !asked && f.uniqueID != "":
		return nil, usage("add --tee sgx, or leave --unique-id out", "--unique-id is about an SGX enclave, and none is asked for")
	case !asked:
		return nil, nil
	case j.wasm == "":
		return nil, usage("give the job as a WebAssembly module: --wasm FILE", "--tee sgx: an enclave runs no other program")
	case f.uniqueID == "":
		return nil, usage("--unique-id $(cat bin/unique-id)", "--tee sgx: which enclave is the launcher?")
	}
	b, err := hex.DecodeString(f.uniqueID)
	if err != nil || len(b) != 32 {
		return nil, usage("--unique-id $(cat bin/unique-id)", "--unique-id %q: want 32 bytes in hexadecimal", f.uniqueID)
	}
	return (*[32]byte)(b), nil
}

// anchor adds what belongs to PCRs.
func (f *formatFlags) anchor(rules *verifier.FormatPolicy) error {
	alg, err := attest.ParseAlg(f.bank)
	if err != nil || !alg.Accepted() {
		return usage("--bank sha256", "bank %q: want sha256, sha384 or sha512", f.bank)
	}
	if f.pcr > 15 {
		return usage("--pcr 13", "--pcr %d: want 0 to 15, the others can be reset", f.pcr)
	}
	rules.Bank, rules.Register = alg.String(), &f.pcr
	return nil
}

// accepted are the keys of a role's roots: those given, or, without any, those built in.
// Who certifies the keys of TPMs is never taken for granted.
func accepted(store *verifier.TrustStore, role string) []string {
	var out []string
	if store != nil {
		anchors := store.Anchors()
		for _, r := range anchors.Role(role) {
			if k := cer.SHA256Digest(verifier.SPKIDigest(r.Certificate)); !slices.Contains(out, k) {
				out = append(out, k)
			}
		}
	}
	if len(out) > 0 || role == "tpm-ak" {
		return out
	}
	for _, p := range verifier.Pins() {
		if k := cer.SHA256Digest(p.SPKI); p.Role == role && !slices.Contains(out, k) {
			out = append(out, k)
		}
	}
	return out
}
