package amd

import (
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sworn-run/sworn/simulator/internal/pki"
)

// KDS is AMD's key distribution service (57230, 4): an [http.Handler] that answers,
// for the products of its vendors,
//
//	/vcek/v1/PRODUCT/cert_chain       ASK and ARK, PEM
//	/vlek/v1/PRODUCT/cert_chain       ASVK and ARK, PEM
//	/vcek/v1/PRODUCT/crl              the ARK's list, DER; also below /vlek
//	/vcek/v1/PRODUCT/HWID?blSPL=…     the certificate of a VCEK, DER
//
// with blSPL, teeSPL, snpSPL, ucodeSPL and, for Turin, fmcSPL, decimal numbers that
// are 0 if absent. It certifies any chip. Its fields must not be changed while it
// serves; the zero value knows no product.
type KDS struct {
	// Vendors are the vendors, one of each product at most.
	Vendors []*Vendor
	// Now is the clock; [time.Now] if nil.
	Now func() time.Time
	// Interval is the least time between two answers with a certificate of a VCEK;
	// who asks earlier is refused with status 429 and told in Retry-After when to ask
	// again, in seconds. Zero refuses nobody.
	Interval time.Duration
	// Revoked are what the lists of their issuers revoke.
	Revoked []*x509.Certificate

	mu   sync.Mutex
	last time.Time // the last such answer; guarded by mu
}

// ServeHTTP implements [http.Handler].
func (k *KDS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	service, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	parts := strings.Split(rest, "/")
	if (service != "vcek" && service != "vlek") || len(parts) != 3 || parts[0] != "v1" {
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "only GET", http.StatusMethodNotAllowed)
		return
	}
	v := k.vendor(parts[1])
	switch {
	case v == nil:
		http.NotFound(w, r)
	case parts[2] == "cert_chain" && service == "vlek":
		reply(w, "application/x-pem-file", pki.PEM(v.ASVK(), v.ARK()))
	case parts[2] == "cert_chain":
		reply(w, "application/x-pem-file", pki.PEM(v.ASK(), v.ARK()))
	case parts[2] == "crl":
		k.crl(w, v)
	case service == "vcek":
		k.vcek(w, v, parts[2], r.URL.Query())
	default:
		http.NotFound(w, r)
	}
}

// vendor returns the vendor of a product, nil if there is none.
func (k *KDS) vendor(product string) *Vendor {
	for _, v := range k.Vendors {
		if string(v.product) == product {
			return v
		}
	}
	return nil
}

func (k *KDS) now() time.Time {
	if k.Now != nil {
		return k.Now()
	}
	return time.Now()
}

// crl answers with the ARK's list.
func (k *KDS) crl(w http.ResponseWriter, v *Vendor) {
	c := CRL{Number: 1}
	for _, r := range k.Revoked {
		if r.CheckSignatureFrom(v.ARK()) == nil {
			c.Revoked = append(c.Revoked, r)
		}
	}
	der, err := v.CRL(c, k.now())
	if err != nil {
		http.Error(w, "no list", http.StatusInternalServerError)
		return
	}
	reply(w, "application/pkix-crl", der)
}

// vcek answers with a certificate.
func (k *KDS) vcek(w http.ResponseWriter, v *Vendor, hwid string, query url.Values) {
	p, err := chip(v, hwid, query)
	if err != nil {
		http.Error(w, "bad request: "+err.Error(), http.StatusBadRequest)
		return
	}
	now := k.now()
	if wait := k.wait(now); wait > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt(int64((wait+time.Second-1)/time.Second), 10))
		http.Error(w, "too many requests", http.StatusTooManyRequests)
		return
	}
	der, err := p.Certificate(VCEK, now)
	if err != nil {
		http.Error(w, "no certificate", http.StatusInternalServerError)
		return
	}
	reply(w, "application/pkix-cert", der)
}

// wait returns how long one has to wait for an answer; if not at all, the answer
// given now counts.
func (k *KDS) wait(now time.Time) time.Duration {
	if k.Interval <= 0 {
		return 0
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if next := k.last.Add(k.Interval); !k.last.IsZero() && now.Before(next) {
		return next.Sub(now)
	}
	k.last = now
	return 0
}

// chip returns the machine that a request for a certificate names.
func chip(v *Vendor, hwid string, query url.Values) (*Platform, error) {
	p, err := v.Platform("")
	if err != nil {
		return nil, err
	}
	id, err := hex.DecodeString(hwid)
	if err != nil || len(id) != len(p.ChipID) {
		return nil, fmt.Errorf("hardware id: want %d bytes in hexadecimal: %w", len(p.ChipID), ErrIssue)
	}
	p.ChipID, p.TCB = id, TCB{}
	fields := map[string]*uint8{
		"blSPL": &p.TCB.BootLoader, "teeSPL": &p.TCB.TEE, "snpSPL": &p.TCB.SNP, "ucodeSPL": &p.TCB.Microcode,
	}
	if v.product == Turin {
		fields["fmcSPL"] = &p.TCB.FMC
	}
	for name, values := range query {
		field, ok := fields[name]
		if !ok || len(values) != 1 {
			return nil, fmt.Errorf("parameter %q: %w", name, ErrIssue)
		}
		n, err := strconv.ParseUint(values[0], 10, 8)
		if err != nil {
			return nil, fmt.Errorf("parameter %q: want 0 to 255: %w", name, ErrIssue)
		}
		*field = uint8(n)
	}
	return p, nil
}

// reply sends an answer.
func reply(w http.ResponseWriter, kind string, body []byte) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) // nobody to tell
}
