package main

import (
	"fmt"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/cer/signer"
)

// treeSignature shows what a signature over a record says. Whether it is right, sworn
// verify says.
func treeSignature(t *treeWriter, item *attest.Collateral) error {
	s, err := signer.Parse(item.Kind, item.Data)
	if err != nil {
		return err
	}
	at := "not told"
	if !s.Time.IsZero() {
		at = cer.FormatTime(s.Time) + " (the signer's word)"
	}
	rows := [][2]string{
		{"role", s.Role},
		{"evidence digest", fmt.Sprintf("%x", s.Evidence)},
		{"time", at},
		{"comment", s.Comment},
		{"algorithm", s.Algorithm},
		{"key", s.Key.Describe()},
		{"fingerprint", s.Key.Fingerprint()},
		{"SPKI", s.Key.SPKI()},
	}
	if item.Kind == signer.KindSSH {
		rows = append(rows, [2]string{"namespace", signer.Namespace(s.Role)})
	}
	for _, r := range rows {
		if r[1] != "" {
			t.row(1, r[0], r[1])
		}
	}
	for _, c := range s.Chain {
		treeCertificate(t, c)
	}
	return nil
}
