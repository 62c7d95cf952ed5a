package oracle_test

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"testing"
	"time"

	sevabi "github.com/google/go-sev-guest/abi"
	"github.com/google/go-sev-guest/kds"
	sevverify "github.com/google/go-sev-guest/verify"
	tdxabi "github.com/google/go-tdx-guest/abi"
	"github.com/google/go-tdx-guest/pcs"
	tdxpb "github.com/google/go-tdx-guest/proto/tdx"
	tdxverify "github.com/google/go-tdx-guest/verify"

	"github.com/sworn-run/sworn/simulator/amd"
	"github.com/sworn-run/sworn/simulator/intel"
)

// TestSimulatedAMD has reports, certificates and tables of the simulated AMD read by
// Google's library. It cannot appraise them whole: it takes nobody for AMD whose names
// say that he is not. Nor does it know the certificates of Turin, real ones either.
func TestSimulatedAMD(t *testing.T) {
	now := time.Now()
	for _, product := range amd.Products() {
		v, err := amd.NewSize(product, now, 2048)
		if err != nil {
			t.Fatal(err)
		}
		p, err := v.Platform("one")
		if err != nil {
			t.Fatal(err)
		}
		for _, kind := range []amd.SigningKey{amd.VCEK, amd.VLEK} {
			der, err := p.Certificate(kind, now)
			if err != nil {
				t.Fatal(err)
			}
			c, err := x509.ParseCertificate(der)
			if err != nil {
				t.Fatal(err)
			}
			r := p.Report("guest", [64]byte{1, 2, 3})
			r.SigningKey = kind
			b, err := p.Sign(r)
			if err != nil {
				t.Fatal(err)
			}
			if err := sevverify.SnpReportSignature(b, c); err != nil {
				t.Errorf("%s: %v", product, err)
			}
			theirs, err := sevabi.ReportToProto(b)
			if err != nil {
				t.Errorf("%s: %v", product, err)
				continue
			}
			if !bytes.Equal(theirs.GetReportData(), r.ReportData[:]) || !bytes.Equal(theirs.GetMeasurement(), r.Measurement[:]) ||
				!bytes.Equal(theirs.GetChipId(), r.ChipID[:]) || theirs.GetReportedTcb() != r.ReportedTCB ||
				theirs.GetPolicy() != r.Policy || theirs.GetPlatformInfo() != r.PlatformInfo || theirs.GetVersion() != r.Version {
				t.Errorf("%s: read as %v", product, theirs)
			}
			if product == amd.Turin {
				continue
			}
			read := kds.VcekCertificateExtensions
			if kind == amd.VLEK {
				read = kds.VlekCertificateExtensions
			}
			e, err := read(c)
			if err != nil {
				t.Errorf("%s: %v", product, err)
			} else if uint64(e.TCBVersion) != r.ReportedTCB || (kind == amd.VCEK && !bytes.Equal(e.HWID, p.ChipID)) || (kind == amd.VLEK && e.CspID != p.CSP) {
				t.Errorf("%s: extensions read as %+v", product, e)
			}
			table, err := p.Table(kind, now)
			if err != nil {
				t.Fatal(err)
			}
			var got sevabi.CertTable
			if err := got.Unmarshal(table); err != nil || len(got.Entries) != 3 {
				t.Errorf("%s: a table of %d: %v", product, len(got.Entries), err)
			}
			if ark, err := got.GetByGUIDString(sevabi.ArkGUID); err != nil || !bytes.Equal(ark, v.ARK().Raw) {
				t.Errorf("%s: the root in the table: %v", product, err)
			}
		}
	}
}

// TestSimulatedIntel has quotes of the simulated Intel read and written again by
// Google's library, and its PCK certificates read. It cannot appraise them whole, as
// above.
func TestSimulatedIntel(t *testing.T) {
	now := time.Now()
	v, err := intel.New(now)
	if err != nil {
		t.Fatal(err)
	}
	p, err := v.Platform("one")
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range []uint16{4, 5} {
		td := p.TD("guest", [64]byte{1, 2, 3})
		q, err := p.TDQuote(td, version, now)
		if err != nil {
			t.Fatal(err)
		}
		b, err := q.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := tdxabi.QuoteToProto(b)
		if err != nil {
			t.Errorf("version %d: %v", version, err)
			continue
		}
		again, err := tdxabi.QuoteToAbiBytes(theirs)
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("version %d: written again it differs: %v", version, err)
		}
		if four, ok := theirs.(*tdxpb.QuoteV4); ok {
			body := four.GetTdQuoteBody()
			if !bytes.Equal(body.GetMrTd(), td.MRTD[:]) || !bytes.Equal(body.GetReportData(), td.ReportData[:]) {
				t.Errorf("version %d: read as %v", version, body)
			}
		}
		chain, err := tdxverify.ExtractChainFromQuote(theirs)
		if err != nil {
			t.Errorf("version %d: %v", version, err)
			continue
		}
		e, err := pcs.PckCertificateExtensions(chain.PCKCertificate)
		if err != nil {
			t.Errorf("version %d: %v", version, err)
			continue
		}
		if e.FMSPC != hex.EncodeToString(p.PCK.FMSPC[:]) || e.PPID != hex.EncodeToString(p.PCK.PPID[:]) ||
			e.TCB.PCESvn != p.PCK.PCESVN || !bytes.Equal(e.TCB.CPUSvnComponents, p.PCK.Components[:]) {
			t.Errorf("version %d: extensions read as %+v", version, e)
		}
	}
}
