package enroll

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/sworn-run/sworn/cer"
)

// witness is in every transcript.
const witness = "witnessed by the enrolling party; nobody else can repeat it"

// transcript is what was exchanged but for the secret, and what came of it.
// Digests are SHA-256 in hexadecimal, times RFC 3339 in UTC.
type transcript struct {
	Type    string `json:"type"`
	Witness string `json:"witness"`
	Time    string `json:"time"`
	// Client is the subject of the client's certificate, ClientKey the digest of
	// its SubjectPublicKeyInfo.
	Client    string     `json:"client"`
	ClientKey string     `json:"clientKey"`
	Request   *request   `json:"request"`
	Challenge *challenge `json:"challenge"`
	// Secret is the digest of the secret that came back.
	Secret string `json:"secret"`
	// EKKey and RootKey are the digests of the EK's SubjectPublicKeyInfo and of
	// the root's above it; AKName is the AK's Name in hexadecimal.
	EKKey   string `json:"ekKey"`
	RootKey string `json:"rootKey"`
	Vendor  string `json:"vendor"`
	Model   string `json:"model"`
	Version string `json:"version"`
	AKName  string `json:"akName"`
	// Certificate is what was issued.
	Certificate []byte `json:"certificate"`
}

// keep writes the transcript of one enrolment and returns its file's name.
func (s *Server) keep(n *session, subject string, der []byte, now time.Time) (string, error) {
	digest := func(b []byte) string {
		sum := sha256.Sum256(b)
		return hex.EncodeToString(sum[:])
	}
	b, err := cer.MarshalCanonical(&transcript{
		Type: typeTranscript, Witness: witness, Time: now.UTC().Format(time.RFC3339),
		Client: subject, ClientKey: hex.EncodeToString(n.client[:]),
		Request: n.request, Challenge: n.answer, Secret: digest(n.secret),
		EKKey:   digest(n.ek.Certificate.RawSubjectPublicKeyInfo),
		RootKey: digest(n.ek.Root.Certificate.RawSubjectPublicKeyInfo),
		Vendor:  n.ek.Vendor, Model: n.ek.Model, Version: n.ek.Version,
		AKName: hex.EncodeToString(n.akName), Certificate: der,
	})
	name := now.UTC().Format("20060102T150405Z") + "-" + digest(der)[:16] + ".json"
	if err == nil {
		err = os.MkdirAll(s.Transcripts, 0o700)
	}
	if err == nil {
		err = writePrivate(filepath.Join(s.Transcripts, name), b, false)
	}
	if err != nil {
		return "", fmt.Errorf("keeping the transcript: %w: %w", ErrFile, err)
	}
	return name, nil
}
