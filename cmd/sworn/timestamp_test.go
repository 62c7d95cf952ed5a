package main

import (
	"bytes"
	"crypto"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/tsp"
	"github.com/sworn-run/sworn/simulator/tsa"
	"github.com/sworn-run/sworn/testdata"
)

// TestAttachArchived has collateral attached to a record that was archived without it: it
// is refused, since the archive token would cover another record then. Before, it is not.
func TestAttachArchived(t *testing.T) {
	file, err := testdata.Golden.ReadFile("golden/tee/sev-snp.cer.json")
	if err != nil {
		t.Fatal(err)
	}
	c, err := cer.ParseCapsule(file)
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(c.Collateral, func(x attest.Collateral) bool { return x.Kind == attest.CollateralCRL })
	if at < 0 {
		t.Fatal("the record has no revocation list")
	}
	dir := t.TempDir()
	items := filepath.Join(dir, "items")
	if err := os.Mkdir(items, 0o700); err != nil {
		t.Fatal(err)
	}
	a := &app{stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}}
	if err := a.writeItem(items, &c.Collateral[at], map[string]bool{}); err != nil {
		t.Fatal(err)
	}
	c.Collateral = slices.Delete(c.Collateral, at, at+1)
	bare, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	authority, err := tsa.New(time.Now(), tsa.Options{})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(&tsa.Service{Authority: authority})
	defer server.Close()
	client := tsp.NewClient(nil, nil, time.Now)
	for name, x := range map[string]struct {
		hash crypto.Hash
		code int
	}{"stamped": {0, exitOK}, "archived": {crypto.SHA384, exitUsage}} {
		t.Run(name, func(t *testing.T) {
			stamped, err := client.Stamp(t.Context(), bare, tsp.Order{Address: server.URL + tsa.PathStamp, Archive: x.hash})
			if err != nil {
				t.Fatal(err)
			}
			record := filepath.Join(dir, name+".cer.json")
			if err := os.WriteFile(record, stamped.File, 0o600); err != nil {
				t.Fatal(err)
			}
			a := &app{stdin: strings.NewReader(""), stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}}
			root := a.command()
			root.SetArgs([]string{"collateral", "attach", "--in-place", "--offline", "--cache", filepath.Join(dir, "cache"), "--from", items, record})
			code := exitOK
			if s, ok := errors.AsType[*statusError](root.Execute()); ok {
				code = s.code
			}
			now, err := os.ReadFile(record)
			if err != nil {
				t.Fatal(err)
			}
			if code != x.code || bytes.Equal(now, stamped.File) != (x.code != exitOK) {
				t.Fatalf("status %d, changed %v\n%s", code, !bytes.Equal(now, stamped.File), a.stderr)
			}
		})
	}
}
