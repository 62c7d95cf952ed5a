package collect

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"strings"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/limits"
)

// Label is what an item is, for people and for the name of a file.
type Label struct {
	// What is the item in words, such as "certificate of SEV-VCEK"; what its names say
	// is anybody's word.
	What string
	// File is a name for a file: what it is, the first digits of its SHA-256, and .der
	// or .json.
	File string
	// Until is when it ends or is to be renewed; zero where it says nothing of it.
	Until time.Time
}

// NewLabel returns the label of a vendor's item. The error wraps ErrAnswer for what is
// none.
func NewLabel(item *attest.Collateral) (*Label, error) {
	l := &Label{}
	name, ext := "", "der"
	switch item.Kind {
	case attest.CollateralCertificate:
		c, err := oneCertificate(item.Data)
		if err != nil {
			return nil, err
		}
		name, l.Until = c.Subject.CommonName, c.NotAfter
		l.What = "certificate of " + name
	case attest.CollateralCRL:
		c, err := x509.ParseRevocationList(item.Data)
		if err != nil {
			return nil, fmt.Errorf("no revocation list in DER: %v: %w", err, ErrAnswer)
		}
		name, l.Until = c.Issuer.CommonName, c.NextUpdate
		l.What = "revocation list of " + name
	case attest.CollateralTCBInfo, attest.CollateralQEIdentity:
		s, err := parseSigned(item.Data)
		if err != nil {
			return nil, err
		}
		p := s.TCBInfo
		if item.Kind == attest.CollateralQEIdentity {
			p = s.Identity
		}
		if p == nil {
			return nil, fmt.Errorf("no %s: %w", item.Kind, ErrAnswer)
		}
		if l.Until, err = p.renewal(); err != nil {
			return nil, err
		}
		name, ext = strings.TrimRight(p.ID+" "+p.FMSPC, " "), "json"
		l.What = item.Kind + " of " + name
	default:
		return nil, fmt.Errorf("collateral of kind %.40q: %w", item.Kind, ErrAnswer)
	}
	sum := sha256.Sum256(item.Data)
	l.File = fmt.Sprintf("%s-%s-%s.%s", item.Kind, slug(name), hex.EncodeToString(sum[:4]), ext)
	return l, nil
}

// slug makes a part of a file's name of any text.
func slug(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-':
			return r
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		default:
			return '-'
		}
	}, s)
	return strings.Trim(s[:min(len(s), 40)], "-")
}

// ParseFile reads the items in a file: certificates or a revocation list in DER or PEM, or
// what Intel's service answers, byte for byte. The error wraps ErrAnswer.
func ParseFile(data []byte) ([]attest.Collateral, error) {
	if len(data) > limits.CollateralItem {
		return nil, fmt.Errorf("%d bytes, limit %d: %w", len(data), limits.CollateralItem, ErrAnswer)
	}
	if text := bytes.TrimLeft(data, " \t\r\n"); bytes.HasPrefix(text, []byte("{")) {
		return parseJSON(data)
	}
	if block, rest := pem.Decode(data); block != nil && block.Type == "X509 CRL" {
		if len(bytes.TrimSpace(rest)) > 0 {
			return nil, fmt.Errorf("something behind a revocation list: %w", ErrAnswer)
		}
		data = block.Bytes
	} else if block != nil {
		certs, err := pemCertificates(data)
		if err != nil {
			return nil, err
		}
		var out []attest.Collateral
		for _, c := range certs {
			out = append(out, attest.Collateral{Kind: attest.CollateralCertificate, Data: c.Raw})
		}
		return out, nil
	}
	data = derOf(data)
	if l, err := x509.ParseRevocationList(data); err == nil && len(l.Raw) == len(data) {
		return []attest.Collateral{{Kind: attest.CollateralCRL, Data: data}}, nil
	}
	if _, err := oneCertificate(data); err != nil {
		return nil, fmt.Errorf("neither a certificate nor a revocation list, nor an answer of Intel's: %w", ErrAnswer)
	}
	return []attest.Collateral{{Kind: attest.CollateralCertificate, Data: data}}, nil
}

// parseJSON tells TCB info from an identity.
func parseJSON(data []byte) ([]attest.Collateral, error) {
	s, err := parseSigned(data)
	switch {
	case err != nil:
		return nil, err
	case s.TCBInfo != nil && s.Identity == nil:
		return []attest.Collateral{{Kind: attest.CollateralTCBInfo, Data: data}}, nil
	case s.Identity != nil && s.TCBInfo == nil:
		return []attest.Collateral{{Kind: attest.CollateralQEIdentity, Data: data}}, nil
	default:
		return nil, fmt.Errorf("neither TCB info nor an identity: %w", ErrAnswer)
	}
}
