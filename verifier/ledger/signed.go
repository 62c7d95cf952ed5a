package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/limits"
)

// Ledger is a document that was signed by a key which the caller named, or is part of this
// package. It does not change, and is safe for concurrent use. The zero Ledger, and a nil
// one, is none: its name is empty and it matches nothing, so check [Ledger.Name].
type Ledger struct {
	doc    Document
	digest [32]byte
	signer string
}

// Key is a public key that may sign ledgers.
type Key struct {
	text string
	note note.Verifier
}

// ParseKey parses a verifier key of the notes' format, "NAME+HASH+KEY": name of the key,
// 8 hexadecimal digits, and base64 of the byte 1 and 32 bytes of an Ed25519 public key;
// with at most one line feed after it. The hash is over name and key, so that neither can
// be exchanged. The error wraps [ErrForm].
func ParseKey(text string) (*Key, error) {
	text = strings.TrimSuffix(text, "\n")
	v, err := note.NewVerifier(text)
	if err != nil || !isName(v.Name()) {
		return nil, fmt.Errorf("want NAME+HASH+KEY, an Ed25519 verifier key of a note: %w", ErrForm)
	}
	_, key, _ := strings.Cut(strings.TrimPrefix(text, v.Name()+"+"), "+")
	raw, err := base64.StdEncoding.Strict().DecodeString(key)
	if err != nil || fmt.Sprintf("%s+%08x+%s", v.Name(), v.KeyHash(), base64.StdEncoding.EncodeToString(raw)) != text {
		return nil, fmt.Errorf("a verifier key that is not in its only form: %w", ErrForm)
	}
	return &Key{text: text, note: v}, nil
}

// Name is the key's name.
func (k *Key) Name() string { return k.note.Name() }

// String returns the text that [ParseKey] reads, without a line feed.
func (k *Key) String() string { return k.text }

// GenerateKey makes a key for signing with randomness from r, and the text of its public
// half. Whoever has the private text can sign ledgers in that name. The error wraps
// [ErrForm] for a name that is none, or is that of r.
func GenerateKey(r io.Reader, name string) (private string, public *Key, err error) {
	if !isName(name) {
		return "", nil, fmt.Errorf("name %.160q, want 1 to %d characters of printable ASCII without blank or +: %w", name, maxName, ErrForm)
	}
	private, text, err := note.GenerateKey(r, name)
	if err != nil {
		return "", nil, fmt.Errorf("making a key: %w", err)
	}
	public, err = ParseKey(text)
	return private, public, err
}

// Sign returns the file of a document, signed with a private key as [GenerateKey] makes it
// (a line feed after it may be there). The error wraps [ErrForm].
func Sign(d *Document, private string) ([]byte, error) {
	text, err := d.Encode()
	if err != nil {
		return nil, err
	}
	s, err := note.NewSigner(strings.TrimSuffix(private, "\n"))
	if err != nil || !isName(s.Name()) {
		return nil, fmt.Errorf("the private key is none of a note: %w", ErrForm)
	}
	file, err := note.Sign(&note.Note{Text: string(text) + "\n"}, s)
	if err != nil {
		return nil, fmt.Errorf("signing: %w: %w", ErrForm, err)
	}
	return file, nil
}

// Open parses a ledger's file: exactly one line of JSON in its RFC 8785 form, an empty
// line, and one signature, by one of the keys. The error wraps [ErrForm] or
// [ErrSignature].
func Open(file []byte, keys []*Key) (*Ledger, error) {
	d, n, err := open(file, keys)
	if err != nil {
		return nil, err
	}
	if len(n.Sigs) != 1 {
		return nil, fmt.Errorf("signed as %s, which is no key given: %w", signer(n.UnverifiedSigs[0]), ErrSignature)
	}
	return &Ledger{doc: *d, digest: sha256.Sum256(file), signer: signer(n.Sigs[0])}, nil
}

// InspectUnsafe parses a ledger's file without a key to verify it with: what it says, and
// the key in whose name it is signed, which is anybody's word. Nothing that judges takes
// the result. The error wraps [ErrForm].
func InspectUnsafe(file []byte) (*Document, string, error) {
	d, n, err := open(file, nil)
	if err != nil {
		return nil, "", err
	}
	return d, signer(n.UnverifiedSigs[0]), nil
}

// open parses a file; its one signature is verified if a key is known for it.
func open(file []byte, keys []*Key) (*Document, *note.Note, error) {
	if len(file) > limits.LedgerFile+limits.LedgerSignature {
		return nil, nil, fmt.Errorf("%d bytes, limit %d: %w", len(file), limits.LedgerFile+limits.LedgerSignature, ErrForm)
	}
	known := make([]note.Verifier, 0, len(keys))
	for _, k := range keys {
		if k != nil && k.note != nil {
			known = append(known, k.note)
		}
	}
	n, err := note.Open(file, note.VerifierList(known...))
	var unverified *note.UnverifiedNoteError
	var invalid *note.InvalidSignatureError
	switch {
	case errors.As(err, &unverified):
		n = unverified.Note
	case errors.As(err, &invalid):
		return nil, nil, fmt.Errorf("the signature as %s+%08x does not verify: %w", invalid.Name, invalid.Hash, ErrSignature)
	case err != nil && bytes.HasPrefix(bytes.TrimLeft(file, " \t\r\n"), []byte("{")):
		return nil, nil, fmt.Errorf("a document without a signature, or with one that cannot be read: %w", ErrSignature)
	case err != nil:
		return nil, nil, fmt.Errorf("no signed ledger: %w: %w", ErrForm, err)
	}
	all := append(n.Sigs, n.UnverifiedSigs...)
	if len(all) != 1 {
		return nil, nil, fmt.Errorf("%d signatures, want one: %w", len(all), ErrForm)
	}
	// Base64 has more than one spelling, and the package passes over repeated lines.
	raw, err := base64.StdEncoding.Strict().DecodeString(all[0].Base64)
	if err != nil || !isName(all[0].Name) ||
		n.Text+"\n— "+all[0].Name+" "+base64.StdEncoding.EncodeToString(raw)+"\n" != string(file) {
		return nil, nil, fmt.Errorf("a signature that is not in its only form: %w", ErrForm)
	}
	text := []byte(strings.TrimSuffix(n.Text, "\n"))
	d := new(Document)
	if len(text) > limits.LedgerFile {
		return nil, nil, fmt.Errorf("%d bytes, limit %d: %w", len(text), limits.LedgerFile, ErrForm)
	}
	if err := cer.UnmarshalCanonical(text, depth, d); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrForm, err)
	}
	return d, n, d.check()
}

// signer names a key as notes do, without its public half.
func signer(s note.Signature) string { return fmt.Sprintf("%s+%08x", s.Name, s.Hash) }

// Name says whose ledger it is; empty if it is none.
func (l *Ledger) Name() string {
	if l == nil {
		return ""
	}
	return l.doc.Name
}

// Version is at least 1, or 0 if it is none.
func (l *Ledger) Version() uint64 {
	if l == nil {
		return 0
	}
	return l.doc.number()
}

// Issued is the day on which this version was made.
func (l *Ledger) Issued() time.Time {
	if l == nil {
		return time.Time{}
	}
	t, err := day(l.doc.Issued)
	if err != nil {
		return time.Time{}
	}
	return t
}

// Digest is SHA-256 of the file; of the built-in ledger, of its RFC 8785 form.
func (l *Ledger) Digest() [32]byte {
	if l == nil {
		return [32]byte{}
	}
	return l.digest
}

// Signer names the key that signed it, "NAME+HASH"; empty for the built-in ledger.
func (l *Ledger) Signer() string {
	if l == nil {
		return ""
	}
	return l.signer
}

// Document returns a copy of what it says.
func (l *Ledger) Document() Document {
	if l == nil {
		return Document{}
	}
	return l.doc.clone()
}

// String names the ledger in one line, such as "sworn.run/ledger version 1 of 2026-11-29".
func (l *Ledger) String() string {
	if l == nil || l.doc.Name == "" {
		return "no ledger"
	}
	return l.doc.Name + " version " + l.doc.Version + " of " + l.doc.Issued
}

// Newer returns an error that wraps [ErrRollback] if l is of the same name as known and of
// a lower version, or of the same version and says something else.
func (l *Ledger) Newer(known *Ledger) error {
	if l.Name() == "" || l.Name() != known.Name() {
		return nil
	}
	if l.Version() < known.Version() {
		return fmt.Errorf("%s, and %s is known: %w", l, known, ErrRollback)
	}
	if l.Version() == known.Version() && l.textDigest() != known.textDigest() {
		return fmt.Errorf("%s is not what is known by this name and version: %w", l, ErrRollback)
	}
	return nil
}

// textDigest is SHA-256 of the document's RFC 8785 form, in hexadecimal, whoever signed it.
func (l *Ledger) textDigest() string {
	b, err := l.doc.Encode()
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Match is an entry that is about some evidence and which no time stamp excuses.
type Match struct {
	// Entry is a copy of it.
	Entry Entry
	// Ledger is where it stands.
	Ledger *Ledger
}

// Matches returns the entries that are about the subject and that a time stamp of that
// time does not excuse, in the order of the ledger; zero stands for no time stamp.
func (l *Ledger) Matches(x *Subject, stamped time.Time) []Match {
	if l == nil {
		return nil
	}
	var out []Match
	for i := range l.doc.Entries {
		e := &l.doc.Entries[i]
		if e.applies(stamped) && e.Match.Matches(x) {
			m := *e
			m.Match = e.Match.clone()
			m.References = append([]string(nil), e.References...)
			out = append(out, Match{Entry: m, Ledger: l})
		}
	}
	return out
}
