package enroll

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/google/go-tpm/tpm2"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/tpm"
)

// Bounds of what is under way.
const (
	// maxSessions and maxPerClient bound challenges that wait for their secret.
	maxSessions  = 64
	maxPerClient = 4
	// patience is how long a challenge waits.
	patience = 2 * time.Minute
	// secretSize is the size of a session's name and of its secret in bytes; a
	// credential holds at most the digest of the EK's nameAlg (Part 1, 24).
	secretSize = 32
)

// DefaultValidity is how long an AK's certificate is valid, and MaxValidity the
// longest that can be chosen.
const (
	DefaultValidity = 90 * 24 * time.Hour
	MaxValidity     = 366 * 24 * time.Hour
)

// Config is what a Server needs.
type Config struct {
	// CA issues the certificates.
	CA *Authority
	// Anchors are the makers that are trusted, in role "tpm-ek".
	Anchors *attest.Anchors
	// Transcripts is the folder that keeps what was exchanged, one file for each
	// certificate.
	Transcripts string
	// Validity is how long a certificate is valid; zero is DefaultValidity.
	Validity time.Duration
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Log is told of each enrolment and refusal; nil discards.
	Log *slog.Logger
}

// Server certifies attestation keys. It serves clients that the TLS layer has
// authenticated by certificate ([TLS]) and no others. It is safe for concurrent
// use.
type Server struct {
	Config

	mu       sync.Mutex
	sessions map[[secretSize]byte]*session
}

// session is a challenge that waits for its secret.
type session struct {
	client  [32]byte
	until   time.Time
	secret  []byte
	ek      *tpm.EK
	akKey   crypto.PublicKey
	akName  []byte
	request *request
	answer  *challenge
}

// NewServer returns a Server. The error wraps ErrFile if there is no CA, no
// maker is trusted, there is no folder for transcripts, or the validity is below
// an hour or above MaxValidity.
func NewServer(c Config) (*Server, error) {
	if c.Validity == 0 {
		c.Validity = DefaultValidity
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	switch {
	case c.CA == nil || c.CA.cert == nil:
		return nil, fmt.Errorf("serving without a CA: %w", ErrFile)
	case c.Anchors == nil || len(c.Anchors.Role(tpm.RoleEK)) == 0 && len(c.Anchors.Pins) == 0:
		return nil, fmt.Errorf("serving with no root of role %s: %w", tpm.RoleEK, ErrFile)
	case c.Transcripts == "":
		return nil, fmt.Errorf("serving without a folder for transcripts: %w", ErrFile)
	case c.Validity < time.Hour || c.Validity > MaxValidity:
		return nil, fmt.Errorf("certificates valid for %v, want 1 hour to %v: %w", c.Validity, MaxValidity, ErrFile)
	}
	return &Server{Config: c, sessions: map[[secretSize]byte]*session{}}, nil
}

// ServeHTTP implements [http.Handler]: POST of the two steps.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 || len(r.TLS.PeerCertificates) == 0 {
		s.answer(w, r, nil, fmt.Errorf("no client certificate: %w", ErrRefused))
		return
	}
	if r.Method != http.MethodPost {
		s.answer(w, r, nil, fmt.Errorf("method %.10q, want POST: %w", r.Method, ErrMessage))
		return
	}
	client := sha256.Sum256(r.TLS.PeerCertificates[0].RawSubjectPublicKeyInfo)
	body := http.MaxBytesReader(w, r.Body, maxMessage)
	var out any
	var err error
	switch r.URL.Path {
	case pathChallenge:
		var m request
		if err = decode(body, &m, &m.Type, typeRequest); err == nil {
			out, err = s.challenge(client, &m)
		}
	case pathCertificate:
		var m proof
		if err = decode(body, &m, &m.Type, typeProof); err == nil {
			out, err = s.certify(client, r.TLS.PeerCertificates[0].Subject.String(), &m)
		}
	default:
		err = fmt.Errorf("path %.40q is none of this protocol's: %w", r.URL.Path, ErrMessage)
	}
	s.answer(w, r, out, err)
}

// answer writes a message, or the error and its status.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, out any, err error) {
	status := http.StatusOK
	if err != nil {
		s.Log.Warn("refused", "client", r.RemoteAddr, "error", err)
		var large *http.MaxBytesError
		switch {
		case errors.As(err, &large):
			status = http.StatusRequestEntityTooLarge
		case errors.Is(err, ErrRefused):
			status = http.StatusForbidden
		case errors.Is(err, ErrBusy):
			status = http.StatusServiceUnavailable
		case errors.Is(err, ErrMessage):
			status = http.StatusBadRequest
		default:
			status = http.StatusInternalServerError
		}
		text := err.Error()
		if status == http.StatusInternalServerError {
			text = "the server failed; its log says why"
		}
		out = &failure{Type: typeError, Error: fmt.Sprintf("%.500s", text)}
	}
	b, err := cer.MarshalCanonical(out)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"error":"","type":"`+typeError+`"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(b) //nolint:gosec // G705: JSON, of that content type, to a program.
}

// challenge is the first step: who made this TPM, and may this key be certified
// at all. Whether the key lives in that TPM, the second shows.
func (s *Server) challenge(client [32]byte, m *request) (*challenge, error) {
	now := s.Now()
	ek, err := tpm.VerifyEK(m.EKCertificates, s.Anchors, now)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	public, err := parseEKPublic(m.EKPublic, ek.Certificate.PublicKey)
	if err != nil {
		return nil, err
	}
	name, key, err := tpm.CheckAK(m.AKPublic)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	n := &session{client: client, until: now.Add(patience), secret: random(), ek: ek, akKey: key, akName: name, request: m}
	seed, err := tpm2.ImportEncapsulationKey(public)
	if err != nil {
		return nil, fmt.Errorf("using the EK: %w: %w", ErrRefused, err)
	}
	blob, secret, err := tpm2.CreateCredential(rand.Reader, seed, name, n.secret)
	if err != nil {
		return nil, fmt.Errorf("making a credential: %w: %w", ErrRefused, err)
	}
	id := random()
	// TPMS_ID_OBJECT and the encrypted seed, as TPM2B_ID_OBJECT and
	// TPM2B_ENCRYPTED_SECRET hold them.
	n.answer = &challenge{Type: typeChallenge, Session: id, Blob: blob, Secret: secret}
	return n.answer, s.begin([secretSize]byte(id), n, now)
}

// begin keeps a session, within the bounds.
func (s *Server) begin(id [secretSize]byte, n *session, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	own := 0
	for k, old := range s.sessions {
		switch {
		case now.After(old.until):
			delete(s.sessions, k)
		case old.client == n.client:
			own++
		}
	}
	if len(s.sessions) >= maxSessions || own >= maxPerClient {
		return fmt.Errorf("%d, of this client %d: %w", len(s.sessions), own, ErrBusy)
	}
	s.sessions[id] = n
	return nil
}

// take removes a session of this client; it can be used once, and a wrong secret
// uses it up. Nobody else can use it up.
func (s *Server) take(client [32]byte, m *proof) (*session, error) {
	if len(m.Session) != secretSize {
		return nil, fmt.Errorf("a session of %d bytes: %w", len(m.Session), ErrMessage)
	}
	id := [secretSize]byte(m.Session)
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.sessions[id]
	if n == nil || n.client != client {
		return nil, fmt.Errorf("no such challenge of this client, or it was answered: %w", ErrRefused)
	}
	delete(s.sessions, id)
	return n, nil
}

// certify is the second step: the secret came back, so that EK and AK live in one
// TPM.
func (s *Server) certify(client [32]byte, subject string, m *proof) (*certificate, error) {
	n, err := s.take(client, m)
	if err != nil {
		return nil, err
	}
	now := s.Now()
	if now.After(n.until) {
		return nil, fmt.Errorf("the challenge is older than %v: %w", patience, ErrRefused)
	}
	if subtle.ConstantTimeCompare(m.Secret, n.secret) != 1 {
		return nil, fmt.Errorf("the secret is another: %w", ErrRefused)
	}
	der, err := s.CA.issue(n.ek, n.akKey, now, s.Validity)
	if err != nil {
		return nil, err
	}
	// No certificate leaves without its transcript.
	name, err := s.keep(n, subject, der, now)
	if err != nil {
		return nil, err
	}
	s.Log.Info("certified", "client", subject, "vendor", n.ek.Vendor, "model", n.ek.Model, "transcript", name)
	return &certificate{Type: typeCertificate, Certificates: [][]byte{der, s.CA.cert.Raw}}, nil
}

// random returns secretSize random bytes.
func random() []byte {
	b := make([]byte, secretSize)
	// rand.Read never returns an error.
	_, _ = rand.Read(b)
	return b
}

// parseEKPublic reads the TPMT_PUBLIC of an EK: it must be that of the certified
// key, and a restricted key that deciphers and cannot leave its TPM (EK
// Credential Profile 2.6, annex B). The credential is made for the certified
// key; what else stands here, a TPM that does not have such an EK will not
// decipher.
func parseEKPublic(b []byte, certified crypto.PublicKey) (*tpm2.TPMTPublic, error) {
	const maxPublic = 1024
	if len(b) > maxPublic {
		return nil, fmt.Errorf("an EK's public area of %d bytes, limit %d: %w", len(b), maxPublic, ErrMessage)
	}
	p, err := tpm2.Unmarshal[tpm2.TPMTPublic](b)
	if err != nil || string(tpm2.Marshal(*p)) != string(b) {
		return nil, fmt.Errorf("the EK's public area does not parse exactly: %w", errors.Join(ErrMessage, err))
	}
	key, err := tpm2.Pub(*p)
	if err != nil {
		return nil, fmt.Errorf("the EK's public area: %w: %w", ErrMessage, err)
	}
	if e, ok := key.(interface{ Equal(crypto.PublicKey) bool }); !ok || !e.Equal(certified) {
		return nil, fmt.Errorf("the EK's public area is of another key than its certificate: %w", ErrRefused)
	}
	a := &p.ObjectAttributes
	if !a.FixedTPM || !a.FixedParent || !a.SensitiveDataOrigin || !a.Restricted || !a.Decrypt || a.SignEncrypt {
		return nil, fmt.Errorf("the EK is not a restricted key that deciphers, fixed in its TPM: %w", ErrRefused)
	}
	if p.NameAlg != tpm2.TPMAlgSHA256 && p.NameAlg != tpm2.TPMAlgSHA384 && p.NameAlg != tpm2.TPMAlgSHA512 {
		return nil, fmt.Errorf("the EK's nameAlg is %v: %w", p.NameAlg, ErrRefused)
	}
	return p, nil
}
