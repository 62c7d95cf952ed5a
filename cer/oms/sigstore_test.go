package oms

import (
	"crypto/elliptic"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"
	"time"
)

// trustedRoot1 is a trusted root that trusts nobody.
const trustedRoot1 = `{"mediaType":"` + trustedRootType + `"}`

// found is a verifier that finds what the test says.
func found(signer *SigstoreSigner, err error) SigstoreVerifier {
	return func(bundle, trustedRoot []byte) (*SigstoreSigner, error) {
		if len(bundle) == 0 || string(trustedRoot) != trustedRoot1 {
			return nil, errors.New("another bundle, or another root")
		}
		return signer, err
	}
}

// What somebody verified is taken over if it is about the same payload; what it
// lists is that of the format.
func TestVerifySigstore(t *testing.T) {
	b := read(t, "v1.1.0-sigstore.sig")
	s := parse(t, b)
	made := time.Date(2025, 10, 10, 2, 12, 20, 0, time.UTC)
	good := SigstoreSigner{Identity{"https://issuer.example", "someone@example.com"}, sha256.Sum256(s.payload), made}
	with := func(change func(s *SigstoreSigner)) *SigstoreSigner {
		c := good
		change(&c)
		return &c
	}
	signer, m, err := VerifySigstore(b, []byte(trustedRoot1), made, found(&good, nil))
	if err != nil || *signer != good {
		t.Fatalf("%v, %v", signer, err)
	}
	if err := m.Check([]File{file("signme-1", "signme-1\n"), file("signme-2", "signme-2")}); err == nil || !errors.Is(err, ErrMismatch) {
		t.Errorf("other files: %v", err)
	}
	key := newKey(t, elliptic.P256())
	byKey := sign(t, manifest(t, Options{}, file("a", "")), key)
	for name, tc := range map[string]struct {
		bundle []byte
		root   string
		at     time.Time
		verify SigstoreVerifier
		want   error
	}{
		"no verifier":         {b, trustedRoot1, made, nil, ErrCertificateSigned},
		"no root":             {b, "", made, found(&good, nil), ErrUntrusted},
		"another root":        {b, trustedRoot1 + " ", made, found(&good, nil), ErrUntrusted},
		"no JSON for a root":  {b, "root", made, found(&good, nil), ErrMalformed},
		"root of other type":  {b, "{}", made, found(&good, nil), ErrUnsupported},
		"no time":             {b, trustedRoot1, time.Time{}, found(&good, nil), ErrUntrusted},
		"before it was made":  {b, trustedRoot1, made.Add(-time.Second), found(&good, nil), ErrUntrusted},
		"refused":             {b, trustedRoot1, made, found(nil, errors.New("no")), ErrUntrusted},
		"refused and found":   {b, trustedRoot1, made, found(&good, errors.New("no")), ErrUntrusted},
		"nobody":              {b, trustedRoot1, made, found(nil, nil), ErrUntrusted},
		"another payload":     {b, trustedRoot1, made, found(with(func(s *SigstoreSigner) { s.Payload[0] ^= 1 }), nil), ErrUntrusted},
		"no payload":          {b, trustedRoot1, made, found(with(func(s *SigstoreSigner) { s.Payload = [32]byte{} }), nil), ErrUntrusted},
		"no issuer":           {b, trustedRoot1, made, found(with(func(s *SigstoreSigner) { s.Issuer = "" }), nil), ErrUntrusted},
		"no subject":          {b, trustedRoot1, made, found(with(func(s *SigstoreSigner) { s.Subject = "" }), nil), ErrUntrusted},
		"two lines":           {b, trustedRoot1, made, found(with(func(s *SigstoreSigner) { s.Subject = "a\nb" }), nil), ErrUntrusted},
		"no time of signing":  {b, trustedRoot1, made, found(with(func(s *SigstoreSigner) { s.Time = time.Time{} }), nil), ErrUntrusted},
		"signed with a key":   {byKey, trustedRoot1, made, found(&good, nil), ErrUntrusted},
		"no bundle":           {[]byte("{}"), trustedRoot1, made, found(&good, nil), ErrMalformed},
		"somebody's own root": {read(t, "v1.1.0-certificate.sig"), trustedRoot1, made, found(&good, nil), ErrUntrusted},
	} {
		signer, m, err := VerifySigstore(tc.bundle, []byte(tc.root), tc.at, tc.verify)
		if signer != nil || m != nil || !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, %v, %v", name, signer, m, err)
			continue
		}
		classified(t, err)
	}
}

func TestIdentity(t *testing.T) {
	for _, i := range []Identity{{}, {"a", ""}, {"", "b"}, {"a", "b\x00"}, {"\xff", "b"}, {strings.Repeat("a", 1025), "b"}, {"a", "b\u202e"}} {
		if err := i.Check(); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %v", i, err)
		}
	}
	if err := (Identity{"https://a", strings.Repeat("b", 1024)}).Check(); err != nil {
		t.Error(err)
	}
}

func TestCheckTrustedRoot(t *testing.T) {
	if err := CheckTrustedRoot([]byte(trustedRoot1)); err != nil {
		t.Error(err)
	}
	for text, want := range map[string]error{
		"": ErrMalformed, "[]": ErrMalformed, "null": ErrMalformed, "{}": ErrUnsupported, trustedRoot1 + "{}": ErrMalformed,
		trustedRoot1 + strings.Repeat(" ", 1<<20):      ErrMalformed,
		`{"mediaType":"a","mediaType":"b"}`:            ErrMalformed,
		strings.Replace(trustedRoot1, "0.1", "0.2", 1): ErrUnsupported,
	} {
		err := CheckTrustedRoot([]byte(text))
		if !errors.Is(err, want) {
			t.Errorf("%.60q: %v, want %v", text, err, want)
			continue
		}
		classified(t, err)
	}
}
