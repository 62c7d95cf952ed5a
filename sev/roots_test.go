package sev

import (
	"net/url"
	"strings"
	"testing"
)

// TestPins checks that every row can be read and says what a row must say: one root
// for each product, none of them simulated.
func TestPins(t *testing.T) {
	pins := Pins()
	if len(pins) != len(rows()) || len(pins) != len(products()) {
		t.Fatalf("%d pins of %d rows, %d products", len(pins), len(rows()), len(products()))
	}
	seen := map[[32]byte]bool{}
	for i, p := range pins {
		u, err := url.Parse(p.Source)
		if err != nil || u.Scheme != "https" || u.Host != "kdsintf.amd.com" {
			t.Errorf("%s: source %q", p.Subject, p.Source)
		}
		if p.Role != Role || p.Product != string(products()[i]) || p.SPKI == [32]byte{} || seen[p.SPKI] ||
			!strings.HasPrefix(p.Subject, "CN=ARK-"+p.Product+",") || strings.Contains(strings.ToUpper(p.Subject), "SIMULATED") {
			t.Errorf("row %+v", p)
		}
		seen[p.SPKI] = true
		if !p.From.Before(p.Until) || p.Looked.Before(p.From) {
			t.Errorf("%s: from %v until %v, looked at %v", p.Subject, p.From, p.Until, p.Looked)
		}
	}
}
