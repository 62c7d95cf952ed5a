package azure

import (
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/sworn-run/sworn/internal/hcl"
)

// Metadata is a simulated instance metadata service: an [http.Handler] with the two
// resources that confidential VMs need, "POST /acc/tdquote" and
// "GET /metadata/THIM/amd/certification". Fields must not be changed while it serves.
type Metadata struct {
	// Quote makes the TD quote over a TDREPORT of 1,024 bytes; nil where there is no TDX.
	Quote func(tdreport []byte) ([]byte, error)
	// Certificates are those of the machine's key in DER: VCEK, ASK, ARK; nil where there
	// is no SEV-SNP.
	Certificates [][]byte
}

// maxRequest is the largest body of a request in bytes.
const maxRequest = 64 << 10

// ServeHTTP implements [http.Handler]. As on Azure, a request without the header
// "Metadata: true" for the certificates is refused.
func (m *Metadata) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodPost && r.URL.Path == "/acc/tdquote" && m.Quote != nil:
		m.quote(w, r)
	case r.Method == http.MethodGet && r.URL.Path == "/metadata/THIM/amd/certification" && len(m.Certificates) > 0:
		if r.Header.Get("Metadata") != "true" {
			http.Error(w, "want header Metadata: true", http.StatusBadRequest)
			return
		}
		m.certificates(w)
	default:
		http.NotFound(w, r)
	}
}

// quote answers a TDREPORT with a quote.
func (m *Metadata) quote(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	var request struct {
		Report string `json:"report"`
	}
	if err == nil {
		err = json.Unmarshal(b, &request)
	}
	var report, quote []byte
	if err == nil {
		report, err = base64.RawURLEncoding.DecodeString(request.Report)
	}
	if err == nil && len(report) != hcl.TDXSize {
		err = fmt.Errorf("TDREPORT of %d bytes", len(report))
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if quote, err = m.Quote(report); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	answer(w, map[string]string{"quote": base64.RawURLEncoding.EncodeToString(quote)})
}

// certificates answers with the certificates as Azure does.
func (m *Metadata) certificates(w http.ResponseWriter) {
	var chain strings.Builder
	for _, der := range m.Certificates[1:] {
		chain.WriteString(text(der))
	}
	answer(w, map[string]string{
		"vcekCert": text(m.Certificates[0]), "certificateChain": chain.String(), "tcbm": "SIMULATED", "cacheControl": "86400",
	})
}

// text is a certificate in PEM.
func text(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// answer writes v as JSON.
func answer(w http.ResponseWriter, v map[string]string) {
	b, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(b)
}
