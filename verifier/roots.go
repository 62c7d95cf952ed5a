package verifier

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer/oms"
	"github.com/sworn-run/sworn/internal/limits"
	"github.com/sworn-run/sworn/verifier/ledger"
)

// ErrRoots is a roots folder that holds anything but trust anchors. Every error
// about roots wraps it and names the path.
var ErrRoots = errors.New("invalid roots folder")

const (
	// roleTPMAK is the role of those who certify the attestation keys of TPMs.
	roleTPMAK = "tpm-ak"
	// roleModelSigner is the role of those who sign models: keys by themselves,
	// or authorities that certify keys.
	roleModelSigner = "model-signer"
	// roleLedger is the role of those who sign distrust ledgers: verifier keys of notes.
	roleLedger = "ledger"
	// productAuthority tells an authority of role model-signer from a key in
	// TrustStore.Digest: a signature by a key is not one below it.
	productAuthority = "ca"
	// productSigstore stands there for the trusted root of a Sigstore.
	productSigstore = "sigstore"
)

// labelRoots starts what TrustStore.Digest hashes.
const labelRoots = "sworn.run/roots/v1\x00"

// minRSABits and maxRSABits bound the RSA modulus of a root. One that fills a
// file of the largest size would keep a verifier busy for hours.
const (
	minRSABits = 2048
	maxRSABits = 8192
)

// RootFile is one file of a roots folder.
type RootFile struct {
	// Path is the file's path relative to the folder, with slashes, such as
	// "tpm-ak/maker.pem" or "amd-ark/Milan/ark.der".
	Path string
	// Data is the whole file, at most 1 MiB.
	Data []byte
}

// rootRole is what is fixed about the roots of one role (SPEC, section 9).
type rootRole struct {
	// name is the name of the folder.
	name string
	// products are the names of its own folders; nil if files stand in it.
	products []string
	// selfSigned: roots only, no intermediates.
	selfSigned bool
}

// rootRoles returns the roles of this version.
func rootRoles() []rootRole {
	return []rootRole{
		{name: "tpm-ek"},
		{name: roleTPMAK},
		{name: "amd-ark", products: []string{"Milan", "Genoa", "Turin"}, selfSigned: true},
		{name: "intel-sgx", selfSigned: true},
		{name: "aws-nitro", selfSigned: true},
		{name: "tsa"},
		{name: roleModelSigner},
		{name: roleSigner},
		{name: roleLedger},
	}
}

// RootFolders returns the folders of a roots folder in which files stand, such as
// "tpm-ak" and "amd-ark/Milan".
func RootFolders() []string {
	var out []string
	for _, r := range rootRoles() {
		if r.products == nil {
			out = append(out, r.name)
		}
		for _, p := range r.products {
			out = append(out, r.name+"/"+p)
		}
	}
	return out
}

// TrustStore is a relying party's own trust anchors. The zero TrustStore is
// empty and trusts nothing. It does not change, and is safe for concurrent use.
type TrustStore struct {
	// roots are in the order of their paths.
	roots []attest.Root
	// signers are those of role model-signer, in the order of their paths.
	signers []Signer
	// sigstore is the trusted root of a Sigstore; nil if there is none.
	sigstore []byte
	// keepers are those of role ledger, in the order of their paths.
	keepers []*ledger.Key
}

// Signer is who signs models: a public key, or an authority that certifies the
// keys of those who do. One of Key and Authority is nil.
type Signer struct {
	// SPKI is SHA-256 of the SubjectPublicKeyInfo of the key or the authority.
	SPKI [32]byte
	// Key is an *ecdsa.PublicKey on P-256, P-384 or P-521.
	Key crypto.PublicKey
	// Authority is a CA's certificate. Its dates are judged at the verdict's time.
	Authority *x509.Certificate
}

// NewTrustStore reads the files of a roots folder, in any order. Each holds one
// CA certificate, in DER or as the only block of a PEM file, whatever its name
// is, and stands in the folder of its role; in amd-ark, in the folder of its
// product below that. Refused are: an unknown folder, a hidden file, a file at
// another level, more than 1,000 files or one over 1 MiB, anything before or
// after the certificate, a certificate that is no CA's, an RSA key below 2,048
// or above 8,192 bits, a certificate that stands twice in a role, a key under two products, a
// certificate issued to its own subject whose signature is not its own, and in
// amd-ark, intel-sgx and aws-nitro any other than such. Dates are not looked
// at: a Scheme judges them at the verdict's time. In model-signer an ECDSA public
// key in the same encodings may stand for itself, and one file whose name ends in
// .json is a trusted root of a Sigstore. In ledger each file is the text of one verifier
// key ([ledger.ParseKey]). No files make an empty store.
// The error wraps ErrRoots and names the path.
func NewTrustStore(files []RootFile) (*TrustStore, error) {
	if len(files) > limits.RootsFiles {
		return nil, fmt.Errorf("%w: %d files, limit %d", ErrRoots, len(files), limits.RootsFiles)
	}
	sorted := slices.SortedFunc(slices.Values(files), func(a, b RootFile) int { return strings.Compare(a.Path, b.Path) })
	s := &TrustStore{}
	var paths []string // of the roots
	for i, f := range sorted {
		if i > 0 && sorted[i-1].Path == f.Path {
			return nil, fmt.Errorf("%w: %q is given twice", ErrRoots, f.Path)
		}
		if strings.HasPrefix(f.Path, roleModelSigner+"/") {
			if err := s.addSigner(f); err != nil {
				return nil, fmt.Errorf("%w: %q %w", ErrRoots, f.Path, err)
			}
			continue
		}
		if strings.HasPrefix(f.Path, roleLedger+"/") {
			if err := s.addKeeper(f); err != nil {
				return nil, fmt.Errorf("%w: %q %w", ErrRoots, f.Path, err)
			}
			continue
		}
		root, err := parseRoot(f)
		if err != nil {
			return nil, fmt.Errorf("%w: %q %w", ErrRoots, f.Path, err)
		}
		for j := range s.roots {
			if err := conflict(&s.roots[j], root); err != nil {
				return nil, fmt.Errorf("%w: %q and %q %w", ErrRoots, paths[j], f.Path, err)
			}
		}
		s.roots, paths = append(s.roots, *root), append(paths, f.Path)
	}
	return s, nil
}

// conflict says why two roots cannot stand in one store, if so. Certificates
// over the same key are accepted, because vendors issue them anew.
func conflict(a, b *attest.Root) error {
	switch {
	case a.Role != b.Role:
		return nil
	case a.Certificate.Equal(b.Certificate):
		return errors.New("are the same certificate")
	case a.Product != b.Product && SPKIDigest(a.Certificate) == SPKIDigest(b.Certificate):
		return errors.New("have one key, and a key roots one product only")
	default:
		return nil
	}
}

// parseRoot reads one file. Its errors continue a sentence that begins with
// the path.
func parseRoot(f RootFile) (*attest.Root, error) {
	role, product, err := parseRootPath(f.Path)
	if err != nil {
		return nil, err
	}
	if n := len(f.Data); n == 0 || n > limits.RootsFile {
		return nil, fmt.Errorf("has %d bytes, want 1 to %d", n, limits.RootsFile)
	}
	der, _, err := onePEM(f.Data, pemCertificate)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(bytes.Clone(der))
	if err != nil {
		return nil, fmt.Errorf("is not one X.509 certificate: %w", err)
	}
	if err := checkRoot(cert, role.selfSigned); err != nil {
		return nil, err
	}
	return &attest.Root{Role: role.name, Product: product, Certificate: cert, UserSupplied: true}, nil
}

// parseRootPath returns role and product by the file's place.
func parseRootPath(p string) (role rootRole, product string, err error) {
	if !utf8.ValidString(p) || p == "" || path.IsAbs(p) || path.Clean(p) != p || strings.ContainsAny(p, "\x00\\") {
		return rootRole{}, "", errors.New("is not a clean relative path")
	}
	parts := strings.Split(p, "/")
	for _, s := range parts {
		if strings.HasPrefix(s, ".") {
			return rootRole{}, "", errors.New("is hidden or outside the folder")
		}
	}
	if len(parts) == 1 {
		return rootRole{}, "", errors.New("stands in no role's folder")
	}
	roles := rootRoles()
	i := slices.IndexFunc(roles, func(r rootRole) bool { return r.name == parts[0] })
	if i < 0 {
		return rootRole{}, "", fmt.Errorf("stands in folder %q, which is no role this version knows", parts[0])
	}
	role = roles[i]
	switch {
	case role.products == nil && len(parts) != 2:
		return rootRole{}, "", fmt.Errorf("stands in a folder of its own, want it in %s", role.name)
	case role.products != nil && len(parts) != 3:
		return rootRole{}, "", fmt.Errorf("stands at another level, want it in one of %s/{%s}", role.name, strings.Join(role.products, ","))
	case role.products != nil && !slices.Contains(role.products, parts[1]):
		return rootRole{}, "", fmt.Errorf("stands under product %q, want one of %s", parts[1], strings.Join(role.products, ", "))
	case role.products != nil:
		product = parts[1]
	}
	return role, product, nil
}

// The boundaries of PEM (RFC 7468, section 2), and its types.
const (
	pemBegin       = "-----BEGIN "
	pemEnd         = "-----END "
	pemCertificate = "CERTIFICATE"
	pemPublicKey   = "PUBLIC KEY"
)

// onePEM returns the DER of a file that is DER, or PEM that is one object of a
// type that is wanted, without headers, and nothing but blanks around it; and that
// type.
func onePEM(data []byte, types ...string) (der []byte, pemType string, err error) {
	text := bytes.Trim(data, " \t\r\n")
	if !bytes.HasPrefix(text, []byte(pemBegin)) {
		if bytes.Contains(data, []byte(pemBegin)) {
			return nil, "", errors.New("has something before its PEM block, want one object and nothing else")
		}
		return data, "", nil
	}
	if bytes.Count(text, []byte(pemBegin)) != 1 || bytes.Count(text, []byte(pemEnd)) != 1 {
		return nil, "", errors.New("has more than one PEM block, want one object")
	}
	block, rest := pem.Decode(text)
	switch {
	case block == nil:
		return nil, "", errors.New("is not PEM")
	case !slices.Contains(types, block.Type):
		return nil, "", fmt.Errorf("holds a PEM block of type %q, want %s", block.Type, strings.Join(types, " or "))
	case len(block.Headers) != 0:
		return nil, "", errors.New("has PEM headers, want none")
	case len(rest) != 0:
		return nil, "", errors.New("has something after its PEM block, want one object and nothing else")
	}
	return block.Bytes, block.Type, nil
}

// checkRoot checks what a certificate must be to anchor anything, at any time.
func checkRoot(c *x509.Certificate, selfSigned bool) error {
	if c.PublicKey == nil {
		return errors.New("has a public key of an unknown kind")
	}
	if k, ok := c.PublicKey.(*rsa.PublicKey); ok && (k.N.BitLen() < minRSABits || k.N.BitLen() > maxRSABits) {
		return fmt.Errorf("has an RSA key of %d bits, want %d to %d", k.N.BitLen(), minRSABits, maxRSABits)
	}
	if !c.BasicConstraintsValid || !c.IsCA {
		return errors.New("is no CA's certificate (RFC 5280, 4.2.1.9)")
	}
	if c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageCertSign == 0 {
		return errors.New("may not sign certificates (RFC 5280, 4.2.1.3)")
	}
	if !bytes.Equal(c.RawSubject, c.RawIssuer) {
		if selfSigned {
			return errors.New("is not self-signed, and its role has roots only")
		}
		return nil
	}
	if err := c.CheckSignatureFrom(c); err != nil {
		return fmt.Errorf("names itself as its issuer, and its own key did not sign it: %w", err)
	}
	return nil
}

// Anchors returns the roots as schemes want them, every one marked as
// user-supplied. A nil store has none.
func (s *TrustStore) Anchors() *attest.Anchors {
	if s == nil {
		return &attest.Anchors{}
	}
	return &attest.Anchors{Roots: slices.Clone(s.roots)}
}

// Signers returns the keys and authorities of role model-signer, in the order of
// their paths. A nil store has none.
func (s *TrustStore) Signers() []Signer {
	if s == nil {
		return nil
	}
	return slices.Clone(s.signers)
}

// addSigner reads one file of role model-signer. Its errors continue a sentence
// that begins with the path.
func (s *TrustStore) addSigner(f RootFile) error {
	if _, _, err := parseRootPath(f.Path); err != nil {
		return err
	}
	if n := len(f.Data); n == 0 || n > limits.RootsFile {
		return fmt.Errorf("has %d bytes, want 1 to %d", n, limits.RootsFile)
	}
	if path.Ext(f.Path) == ".json" {
		return s.addSigstore(f.Data)
	}
	der, pemType, err := onePEM(f.Data, pemPublicKey, pemCertificate)
	if err != nil {
		return err
	}
	signer, err := parseSigner(bytes.Clone(der), pemType)
	if err != nil {
		return err
	}
	for _, o := range s.signers {
		switch {
		case o.Key != nil && signer.Key != nil && o.SPKI == signer.SPKI:
			return errors.New("has a key that is there already")
		case o.Authority != nil && signer.Authority != nil && o.Authority.Equal(signer.Authority):
			return errors.New("has a certificate that is there already")
		}
	}
	s.signers = append(s.signers, *signer)
	return nil
}

// parseSigner parses a public key (SubjectPublicKeyInfo) of ECDSA or a CA's
// certificate: the one that pemType says, either without it. No DER is both.
func parseSigner(der []byte, pemType string) (*Signer, error) {
	key, keyErr := x509.ParsePKIXPublicKey(der)
	if keyErr == nil && pemType != pemCertificate {
		spki, err := oms.KeyID(key)
		if err != nil {
			return nil, err
		}
		return &Signer{SPKI: spki, Key: key}, nil
	}
	if pemType == pemPublicKey {
		return nil, fmt.Errorf("is not one public key (SubjectPublicKeyInfo): %w", keyErr)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("is not one public key (SubjectPublicKeyInfo) or X.509 certificate: %w", err)
	}
	if err := checkRoot(cert, false); err != nil {
		return nil, err
	}
	return &Signer{SPKI: SPKIDigest(cert), Authority: cert}, nil
}

// SigstoreRoot returns the trusted root of a Sigstore, as it was given; nil if
// there is none.
func (s *TrustStore) SigstoreRoot() []byte {
	if s == nil {
		return nil
	}
	return bytes.Clone(s.sigstore)
}

// addSigstore takes over the trusted root of a Sigstore.
func (s *TrustStore) addSigstore(data []byte) error {
	if err := oms.CheckTrustedRoot(data); err != nil {
		return fmt.Errorf("is no Sigstore trusted root: %w", err)
	}
	if s.sigstore != nil {
		return errors.New("is a second Sigstore trusted root, want one")
	}
	s.sigstore = bytes.Clone(data)
	return nil
}

// Empty reports whether there is neither root nor signer in the store.
func (s *TrustStore) Empty() bool {
	return s == nil || len(s.roots) == 0 && len(s.signers) == 0 && s.sigstore == nil && len(s.keepers) == 0
}

// Digest identifies what is trusted, whatever the files are called and however
// they are encoded: SHA-256 over the ASCII label "sworn.run/roots/v1", a NUL,
// and for each root, sorted by these bytes, the length of its role in one byte,
// the role, the length of its product in one byte, the product, and
// [SPKIDigest] of its certificate; a key of role model-signer counts like a root
// of its role, an authority of it like one of product "ca", and a Sigstore's trusted
// root like one of product "sigstore", with SHA-256 of the file; a key of role ledger like
// a root without a product, with SHA-256 of its text. A nil store is an empty one.
func (s *TrustStore) Digest() [32]byte {
	var entries [][]byte
	if s != nil {
		for i := range s.roots {
			entries = append(entries, digestEntry(s.roots[i].Role, s.roots[i].Product, SPKIDigest(s.roots[i].Certificate)))
		}
		for _, k := range s.signers {
			product := ""
			if k.Authority != nil {
				product = productAuthority
			}
			entries = append(entries, digestEntry(roleModelSigner, product, k.SPKI))
		}
	}
	for _, k := range s.LedgerKeys() {
		entries = append(entries, digestEntry(roleLedger, "", sha256.Sum256([]byte(k.String()))))
	}
	if sum := sha256.Sum256(s.SigstoreRoot()); s != nil && s.sigstore != nil {
		entries = append(entries, digestEntry(roleModelSigner, productSigstore, sum))
	}
	slices.SortFunc(entries, bytes.Compare)
	return sha256.Sum256(append([]byte(labelRoots), bytes.Join(entries, nil)...))
}

// digestEntry returns what the digest covers of one root.
func digestEntry(role, product string, spki [32]byte) []byte {
	e := append([]byte{byte(len(role))}, role...)
	e = append(e, byte(len(product)))
	e = append(e, product...)
	return append(e, spki[:]...)
}

// SPKIDigest returns the SHA-256 of the certificate's SubjectPublicKeyInfo, in
// the DER it came in: what pins and policies name a root by.
func SPKIDigest(cert *x509.Certificate) [32]byte {
	return sha256.Sum256(cert.RawSubjectPublicKeyInfo)
}
