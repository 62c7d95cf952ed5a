package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/collect"
	"github.com/sworn-run/sworn/sev"
	"github.com/sworn-run/sworn/simulator/amd"
	"github.com/sworn-run/sworn/simulator/intel"
)

// vendorsNow simulates AMD and Intel: their service, an attestation report and a quote.
func vendorsNow(now time.Time) (service http.Handler, report, quote []byte, err error) {
	// Small keys: nobody verifies what they sign here.
	maker, err := amd.NewSize(amd.Milan, now, 2048)
	if err != nil {
		return nil, nil, nil, err
	}
	chip, err := maker.Platform("a")
	if err != nil {
		return nil, nil, nil, err
	}
	if report, err = chip.Sign(chip.Report("guest", [64]byte{1})); err != nil {
		return nil, nil, nil, err
	}
	other, err := intel.New(now)
	if err != nil {
		return nil, nil, nil, err
	}
	machine, err := other.Platform("a")
	if err != nil {
		return nil, nil, nil, err
	}
	td, err := machine.TDQuote(machine.TD("guest", [64]byte{1}), 4, now)
	if err != nil {
		return nil, nil, nil, err
	}
	if quote, err = td.Marshal(); err != nil {
		return nil, nil, nil, err
	}
	mux := http.NewServeMux()
	kds, pcs := &amd.KDS{Vendors: []*amd.Vendor{maker}}, &intel.PCS{Vendor: other}
	mux.Handle("/vcek/", kds)
	mux.Handle("/vlek/", kds)
	mux.Handle("/", pcs)
	mux.HandleFunc("/broken/", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) })
	return mux, report, quote, nil
}

// vendors starts simulated vendors, sets a variable to their URL, and writes an
// attestation report and a quote: vendors NAME report.bin quote.bin.
func vendors(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: vendors NAME report quote")
	}
	service, report, quote, err := vendorsNow(time.Now())
	ts.Check(err)
	s := httptest.NewServer(service)
	ts.Defer(s.Close)
	ts.Setenv(args[0], s.URL)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), report, 0o600))
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), quote, 0o600))
}

// genuineSNP returns a record with a real report, a service that has what AMD published
// about it, and when that is valid.
func genuineSNP(t *testing.T) (record []byte, service http.Handler, at time.Time) {
	t.Helper()
	const dir = "../../../shared/evidence"
	if _, err := os.Stat(dir); err != nil {
		t.Skip("the shared evidence is not there")
	}
	read := func(elem ...string) []byte {
		b, err := os.ReadFile(filepath.Join(append([]string{dir}, elem...)...))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	files := map[string][]byte{
		"cert_chain": read("sev-snp", "snp-milan-v3-ms", "ask_ark.pem"),
		"crl":        read("roots", "crl-amd-openpcc", "ark_milan.crl.der"),
	}
	vcek := read("sev-snp", "snp-milan-v3-ms", "vek.der")
	ev, err := sev.NewEvidence(1, read("sev-snp", "snp-milan-v3-ms", "report.bin"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile("../../testdata/golden/page.cer.json")
	if err != nil {
		t.Fatal(err)
	}
	c, err := cer.ParseCapsule(b)
	if err != nil {
		t.Fatal(err)
	}
	c.Evidence = append(c.Evidence, *ev)
	if record, err = c.Encode(); err != nil {
		t.Fatal(err)
	}
	return record, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if b := files[filepath.Base(r.URL.Path)]; b != nil {
			_, _ = w.Write(b)
			return
		}
		_, _ = w.Write(vcek)
	}), time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
}

// TestAttachGenuine attaches what AMD published about a real report, in place and through
// a link, once; and again without a network.
func TestAttachGenuine(t *testing.T) {
	record, service, at := genuineSNP(t)
	s := httptest.NewServer(service)
	defer s.Close()
	dir := t.TempDir()
	name, link := filepath.Join(dir, "job.cer.json"), filepath.Join(dir, "link.cer.json")
	if err := errors.Join(os.WriteFile(name, record, 0o600), os.Symlink(name, link)); err != nil {
		t.Fatal(err)
	}
	client, err := collect.NewClient(&collect.Options{KDS: s.URL, CacheDir: filepath.Join(dir, "kept"), Now: func() time.Time { return at }})
	if err != nil {
		t.Fatal(err)
	}
	c := &collect.Collector{
		Client: client, Schemes: []attest.Scheme{sev.Scheme{}}, Anchors: &attest.Anchors{Pins: sev.Pins()}, Now: func() time.Time { return at },
	}
	var out, errs bytes.Buffer
	a := &app{stdout: &out, stderr: &errs}
	for _, want := range []string{": 4 added, 0 removed, 0 kept\n", ": 0 added, 0 removed, 4 kept\n"} {
		out.Reset()
		if err := a.attach(t.Context(), c, &attachFlags{inPlace: true}, []string{link}); err != nil || !strings.HasSuffix(out.String(), want) || errs.Len() > 0 {
			t.Fatalf("%v, %q, %q", err, out.String(), errs.String())
		}
		s.Close()
	}
	st, err := os.Lstat(link)
	if err != nil || st.Mode().Type() != os.ModeSymlink {
		t.Error("the link is none any more")
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	got, err := cer.ParseCapsule(b)
	if err != nil {
		t.Fatal(err)
	}
	ev := got.Evidence[1]
	ev.Collateral = got.Collateral
	claims, err := sev.Scheme{}.Verify(&ev, c.Anchors, at)
	if err != nil || claims.Identity.Status != attest.Passed || claims.Revocation.Status != attest.Passed || len(claims.Used) != len(got.Collateral) {
		t.Errorf("%+v, %v", claims, err)
	}
	// A report that nobody signed so leaves its record alone.
	got.Evidence[1].Parts[0].Data[0x90] ^= 1
	forged, err := got.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, forged, 0o600); err != nil {
		t.Fatal(err)
	}
	err = a.attach(t.Context(), c, &attachFlags{inPlace: true}, []string{name})
	if after, e := os.ReadFile(name); e != nil || !bytes.Equal(after, forged) || !errors.Is(err, attest.ErrSignature) {
		t.Errorf("%v", err)
	}
}

// TestCollateralFlags makes what a launch collects with.
func TestCollateralFlags(t *testing.T) {
	record, service, _ := genuineSNP(t)
	asked := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		service.ServeHTTP(w, r)
	}))
	defer s.Close()
	c, err := cer.ParseCapsule(record)
	if err != nil {
		t.Fatal(err)
	}
	for _, mode := range []string{collateralAuto, collateralNone, "some"} {
		var f collateralFlags
		cmd := &cobra.Command{Use: "launch"}
		f.register(cmd)
		if err := cmd.ParseFlags([]string{"--collateral", mode, "--kds", s.URL, "--collateral-cache", t.TempDir()}); err != nil {
			t.Fatal(err)
		}
		get, err := f.collect(slog.New(slog.DiscardHandler))
		if (err != nil) != (mode == "some") {
			t.Fatalf("%s: %v", mode, err)
		}
		if err != nil {
			continue
		}
		asked = 0
		// Vendors publish nothing about a quote of a TPM.
		if got := get(context.Background(), c.Evidence[:1]); len(got) > 0 || asked != 0 {
			t.Errorf("%s: got %v, asked %d times", mode, got, asked)
		}
		// About a report they do; the list is out of date, and better than none.
		want := 0
		if mode == collateralAuto {
			want = 4
		}
		if got := get(context.Background(), c.Evidence[1:]); len(got) != want || (asked > 0) != (want > 0) {
			t.Errorf("%s: got %d items, asked %d times", mode, len(got), asked)
		}
	}
	var f collateralFlags
	f.mode, f.kds = collateralAuto, "nowhere"
	if _, err := f.collect(nil); !errors.Is(err, collect.ErrArgument) {
		t.Error(err)
	}
}

// TestReadItems reads what fetch wrote.
func TestReadItems(t *testing.T) {
	service, report, _, err := vendorsNow(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(service)
	defer s.Close()
	client, err := collect.NewClient(&collect.Options{KDS: s.URL, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	want, problems := client.Report(t.Context(), report, nil)
	if len(problems) > 0 || len(want) != 4 {
		t.Fatal(problems)
	}
	dir := t.TempDir()
	a, written := &app{stdout: &bytes.Buffer{}}, map[string]bool{}
	for i := range want {
		if err := errors.Join(a.writeItem(dir, &want[i], written), a.writeItem(dir, &want[i], written)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := readItems("--from", dir)
	if err != nil || len(got) != len(want) {
		t.Fatalf("%d items, %v", len(got), err)
	}
	for _, item := range got {
		if item.Kind == attest.CollateralCRL {
			if _, err := x509.ParseRevocationList(item.Data); err != nil {
				t.Error(err)
			}
		}
	}
}
