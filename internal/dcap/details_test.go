package dcap

import (
	"errors"
	"strings"
	"testing"

	"github.com/sworn-run/sworn/attest"
)

// A PCK certificate says of its platform by itself what its quote says, other
// certificates nothing.
func TestPCKDetails(t *testing.T) {
	for name, f := range quotes(t) {
		q, err := ParseQuote(f.quote)
		if err != nil {
			t.Fatal(err)
		}
		list, err := PCKDetails(q.Certificates()[0])
		if err != nil || len(list) < 7 || list[1] != detail("FMSPC", list[1].Value) || len(list[1].Value) != 12 {
			t.Errorf("%s: %v, %v", name, list, err)
		}
		if list, err := PCKDetails(q.Certificates()[1]); list != nil || err != nil {
			t.Errorf("%s: of a CA %v, %v", name, list, err)
		}
		broken := *q.Certificates()[0]
		broken.Extensions = append(broken.Extensions[:0:0], broken.Extensions...)
		for i := range broken.Extensions {
			if broken.Extensions[i].Id.Equal(pckOID()) {
				broken.Extensions[i].Value = broken.Extensions[i].Value[1:]
			}
		}
		if list, err := PCKDetails(&broken); list != nil || !errors.Is(err, attest.ErrForm) {
			t.Errorf("%s: broken %v, %v", name, list, err)
		}
	}
}

// Every level of a document is among its details, in order.
func TestDocumentDetails(t *testing.T) {
	for _, td := range []bool{false, true} {
		for _, item := range newFixture(t, td).items {
			list, err := DocumentDetails(&item)
			if item.Kind != attest.CollateralTCBInfo && item.Kind != attest.CollateralQEIdentity {
				if list != nil || !errors.Is(err, attest.ErrForm) {
					t.Errorf("%s: %v, %v", item.Kind, list, err)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			d, err := parseDocument(&item, 0)
			if err != nil {
				t.Fatal(err)
			}
			want, got := 0, 0
			if d.tcb != nil {
				want = len(d.tcb.levels)
				for i := range d.tcb.modules {
					want += len(d.tcb.modules[i].levels)
				}
			} else {
				want = len(d.qe.levels)
			}
			for _, x := range list {
				if strings.Contains(x.Name, "tcbLevels[") {
					got++
				}
			}
			if got != want || got == 0 {
				t.Errorf("%s: %d levels, want %d: %v", item.Kind, got, want, list)
			}
		}
	}
}
