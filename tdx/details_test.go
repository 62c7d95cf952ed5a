package tdx

import (
	"errors"
	"slices"
	"testing"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/dcap"
)

// The body by itself has the fields of the quote's; what is no body or no quote has none.
func TestBodyDetails(t *testing.T) {
	for _, size := range []int{584, 648} {
		body := make([]byte, size)
		body[136] = 0xab // MRTD
		list, err := BodyDetails(body)
		if err != nil || !slices.ContainsFunc(list, func(d attest.Detail) bool { return d.Name == "MRTD" && d.Value[:2] == "ab" }) {
			t.Errorf("%d bytes: %v, %v", size, list, err)
		}
		td, err := dcap.ParseTDReport(body)
		if err != nil || td.Is15 != (size == 648) || len(list) != len(details(td)) {
			t.Errorf("%d bytes: %+v, %v", size, td, err)
		}
		for _, bad := range [][]byte{body[1:], append(body, 0), nil} {
			if list, err := BodyDetails(bad); list != nil || !errors.Is(err, attest.ErrForm) {
				t.Errorf("%d bytes: %v, %v", len(bad), list, err)
			}
			if list, err := Details(bad); list != nil || !errors.Is(err, attest.ErrForm) {
				t.Errorf("quote of %d bytes: %v, %v", len(bad), list, err)
			}
		}
	}
}
