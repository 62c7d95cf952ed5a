package collect

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"

	"github.com/sworn-run/sworn/internal/limits"
)

// named reports whether a common name is a vendor's name for something, or that of its
// simulation, which has a word behind it.
func named(cn, name string) bool { return cn == name || strings.HasPrefix(cn, name+" ") }

// oneCertificate reads exactly one certificate in DER.
func oneCertificate(der []byte) (*x509.Certificate, error) {
	if len(der) > limits.Certificate {
		return nil, fmt.Errorf("a certificate of %d bytes, limit %d: %w", len(der), limits.Certificate, ErrAnswer)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("no certificate in DER: %v: %w", err, ErrAnswer)
	}
	return c, nil
}

// pemCertificates reads certificates in PEM, at least one, with nothing else before or
// between them but blanks; a zero byte or blanks may end them.
func pemCertificates(text []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	rest := bytes.TrimRight(text, "\x00 \t\r\n")
	for len(bytes.TrimSpace(rest)) > 0 {
		if len(out) == limits.Certificates {
			return nil, fmt.Errorf("more than %d certificates: %w", limits.Certificates, ErrAnswer)
		}
		rest = bytes.TrimLeft(rest, " \t\r\n")
		var block *pem.Block
		if bytes.HasPrefix(rest, []byte("-----BEGIN CERTIFICATE-----")) {
			block, rest = pem.Decode(rest)
		}
		if block == nil || block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("no certificates in PEM: %w", ErrAnswer)
		}
		c, err := oneCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no certificate: %w", ErrAnswer)
	}
	return out, nil
}
