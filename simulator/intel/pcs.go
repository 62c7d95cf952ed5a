package intel

import (
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/sworn-run/sworn/simulator/internal/pki"
)

// The headers with the chains of issuers, PEM in URL encoding, leaf first.
const (
	headerTCBInfo  = "TCB-Info-Issuer-Chain"
	headerIdentity = "SGX-Enclave-Identity-Issuer-Chain"
	headerCRL      = "SGX-PCK-CRL-Issuer-Chain"
)

// PCS is Intel's provisioning certification service, API version 4: an
// [http.Handler] that answers
//
//	/sgx/certification/v4/tcb?fmspc=HEX       TCB information, JSON; also below /tdx
//	/sgx/certification/v4/qe/identity         identity, JSON; also below /tdx
//	/sgx/certification/v4/pckcrl?ca=platform  list of the platform or processor CA
//	/sgx/certification/v4/rootcacrl           list of the root, DER in hexadecimal
//	/certificates/IntelSGXRootCA.der          list of the root, DER
//	/certificates/Intel_SGX_Provisioning_Certification_RootCA.cer   the root, DER
//
// pckcrl answers in PEM, with encoding=der in DER; rootcacrl is what caching services
// (PCCS) have beside Intel's own. Its fields must not be changed while it serves; the
// zero value knows nothing.
type PCS struct {
	// Vendor is the vendor.
	Vendor *Vendor
	// Platforms are the machines whose FMSPC is known; if none, the vendor's of any
	// name.
	Platforms []*Platform
	// Now is the clock; [time.Now] if nil.
	Now func() time.Time
	// Revoked are what the lists of their issuers revoke.
	Revoked []*x509.Certificate
	// Info and Identity, if not nil, change what is to be signed.
	Info     func(*TCBInfo)
	Identity func(*Identity)
}

// The paths of the service and of the certificates.
const (
	pathSGX          = "/sgx/certification/v4/"
	pathTDX          = "/tdx/certification/v4/"
	pathCertificates = "/certificates/"
)

// ServeHTTP implements [http.Handler].
func (s *PCS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.Vendor == nil || s.Vendor.root == nil {
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "only GET", http.StatusMethodNotAllowed)
		return
	}
	tee, query := TEESGX, r.URL.Query()
	name, ok := strings.CutPrefix(r.URL.Path, pathSGX)
	if !ok {
		name, ok = strings.CutPrefix(r.URL.Path, pathTDX)
		tee = TEETDX
	}
	switch {
	case ok && name == "tcb":
		s.info(w, r, tee, query.Get("fmspc"))
	case ok && name == "qe/identity":
		s.identity(w, r, tee)
	case ok && tee == TEESGX && name == "pckcrl":
		s.pckCRL(w, CA(query.Get("ca")), query.Get("encoding"))
	case ok && tee == TEESGX && name == "rootcacrl":
		s.rootCRL(w, true)
	case r.URL.Path == pathCertificates+"IntelSGXRootCA.der":
		s.rootCRL(w, false)
	case r.URL.Path == pathCertificates+"Intel_SGX_Provisioning_Certification_RootCA.cer":
		reply(w, "application/pkix-cert", s.Vendor.Root().Raw)
	default:
		http.NotFound(w, r)
	}
}

func (s *PCS) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

// platform returns a machine with that FMSPC, nil if there is none; any if it is
// empty.
func (s *PCS) platform(fmspc string) *Platform {
	platforms := s.Platforms
	if len(platforms) == 0 {
		p, err := s.Vendor.Platform("")
		if err != nil {
			return nil
		}
		platforms = []*Platform{p}
	}
	for _, p := range platforms {
		if fmspc == "" || strings.EqualFold(fmspc, hex.EncodeToString(p.PCK.FMSPC[:])) {
			return p
		}
	}
	return nil
}

// chain sets a header with a chain of issuers.
func chain(w http.ResponseWriter, header string, certificates ...*x509.Certificate) {
	// "%20" for a blank is read alike by those who take "+" for one and those who do not.
	w.Header().Set(header, strings.ReplaceAll(url.QueryEscape(string(pki.PEM(certificates...))), "+", "%20"))
}

// info answers with TCB information.
func (s *PCS) info(w http.ResponseWriter, r *http.Request, tee uint32, fmspc string) {
	if raw, err := hex.DecodeString(fmspc); err != nil || len(raw) != 6 {
		http.Error(w, "fmspc: want 6 bytes in hexadecimal", http.StatusBadRequest)
		return
	}
	p := s.platform(fmspc)
	if p == nil {
		http.NotFound(w, r)
		return
	}
	i := p.TCBInfo(tee, s.now())
	if s.Info != nil {
		s.Info(i)
	}
	s.signed(w, headerTCBInfo, func() ([]byte, error) { return s.Vendor.SignTCBInfo(i) })
}

// identity answers with the identity of a quoting enclave.
func (s *PCS) identity(w http.ResponseWriter, r *http.Request, tee uint32) {
	p := s.platform("")
	if p == nil {
		http.NotFound(w, r)
		return
	}
	i := p.Identity(tee, s.now())
	if s.Identity != nil {
		s.Identity(i)
	}
	s.signed(w, headerIdentity, func() ([]byte, error) { return s.Vendor.SignIdentity(i) })
}

// signed answers with a signed text.
func (s *PCS) signed(w http.ResponseWriter, header string, sign func() ([]byte, error)) {
	text, err := sign()
	if err != nil {
		http.Error(w, "cannot sign", http.StatusInternalServerError)
		return
	}
	chain(w, header, s.Vendor.TCBSigning(), s.Vendor.Root())
	reply(w, "application/json", text)
}

// pckCRL answers with the list of an authority that certifies platforms.
func (s *PCS) pckCRL(w http.ResponseWriter, ca CA, encoding string) {
	if ca != PlatformCA && ca != ProcessorCA {
		http.Error(w, "ca: want platform or processor", http.StatusBadRequest)
		return
	}
	issuer := s.Vendor.Issuer(ca)
	der, err := s.Vendor.PCKCRL(ca, CRL{Number: 1, Revoked: s.revoked(issuer)}, s.now())
	if err != nil {
		http.Error(w, "no list", http.StatusInternalServerError)
		return
	}
	chain(w, headerCRL, issuer, s.Vendor.Root())
	switch encoding {
	case "der":
		reply(w, "application/pkix-crl", der)
	case "", "pem":
		reply(w, "application/x-pem-file", pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}))
	default:
		http.Error(w, "encoding: want der or pem", http.StatusBadRequest)
	}
}

// rootCRL answers with the list of the root.
func (s *PCS) rootCRL(w http.ResponseWriter, inHex bool) {
	der, err := s.Vendor.RootCRL(CRL{Number: 1, Revoked: s.revoked(s.Vendor.Root())}, s.now())
	switch {
	case err != nil:
		http.Error(w, "no list", http.StatusInternalServerError)
	case inHex:
		reply(w, "application/x-pem-file", hex.AppendEncode(nil, der))
	default:
		reply(w, "application/pkix-crl", der)
	}
}

// revoked returns what an issuer's list revokes.
func (s *PCS) revoked(issuer *x509.Certificate) []*x509.Certificate {
	var out []*x509.Certificate
	for _, c := range s.Revoked {
		if c.CheckSignatureFrom(issuer) == nil {
			out = append(out, c)
		}
	}
	return out
}

// reply sends an answer.
func reply(w http.ResponseWriter, kind string, body []byte) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) //nolint:gosec // G705: nothing that was asked with is in any answer.
}
