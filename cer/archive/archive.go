// Package archive packs capsules into one file that stores what they share once
// (docs/SPEC.md, section 11), and reads such a file as a stream, in memory that does not
// grow with the number of capsules.
//
// The file is a tar archive of POSIX.1-1988 (ustar). Every byte of it is determined by
// what it holds: a reader makes each header again and compares, knows before it reads a
// member which one has to stand there, and refuses whatever differs. So nothing can
// stand in an archive that no reader looks at.
//
// Nothing in an archive is trusted for being there. Its policies, roots and ledger are
// what its maker used, kept for whoever wants to look.
//
// The package has no clock, no files and no network, and builds for js/wasm.
package archive

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/limits"
)

// Every error of this package wraps one of these, or is one of what it reads or
// writes from and to.
var (
	// ErrForm: the bytes are no archive of the one form, or were changed.
	ErrForm = errors.New("not an archive of capsules")

	// ErrAdd: what was to be packed cannot be: a name that no archive has, a name
	// twice, a file that is no capsule, more than an archive holds.
	ErrAdd = errors.New("cannot be archived")
)

// Type is the type and version of an archive.
const Type = "sworn.archive/v1"

// The names of an archive's members.
const (
	nameHead = "sworn-archive.json"
	dirBlobs = "blobs/sha256/"
	dirSets  = "sets/"
)

// The folders of the files that an archive carries beside its capsules.
const (
	// DirPolicies holds policies.
	DirPolicies = "policies/"
	// DirRoots holds the files of a folder of roots, at their paths below it.
	DirRoots = "roots/"
	// DirLedger holds ledgers.
	DirLedger = "ledger/"
)

// Is reports whether a file that begins with these bytes is meant to be an archive: its
// first member is the head of one. 512 bytes are enough to tell.
func Is(begin []byte) bool {
	return len(begin) >= blockSize && strings.HasPrefix(string(begin), nameHead+"\x00") && string(begin[257:262]) == "ustar"
}

// File is a file that an archive carries beside its capsules.
type File struct {
	// Path begins with DirPolicies, DirRoots or DirLedger.
	Path string
	// Data is its content.
	Data []byte
}

// The wire forms of the JSON in an archive (SPEC, section 11).
type (
	wireHead struct {
		Blobs    string     `json:"blobs"`
		Files    []wireFile `json:"files"`
		Records  string     `json:"records"`
		Sets     string     `json:"sets"`
		Type     string     `json:"type"`
		Verifier string     `json:"verifier"`
	}
	wireFile struct {
		Path   string `json:"path"`
		SHA256 string `json:"sha256"`
		Size   string `json:"size"`
	}
	wireSet struct {
		Collateral []wireItem  `json:"collateral"`
		Evidence   []string    `json:"evidence"`
		Log        string      `json:"log"`
		Records    wireRecords `json:"records"`
		Signature  string      `json:"signature"`
		Statement  string      `json:"statement"`
		Tokens     []string    `json:"tokens"`
	}
	wireItem struct {
		Kind   string `json:"kind"`
		SHA256 string `json:"sha256"`
	}
	wireRecords struct {
		Count  string `json:"count"`
		SHA256 string `json:"sha256"`
		Size   string `json:"size"`
	}
	wireCut struct {
		At     string `json:"at"`
		SHA256 string `json:"sha256"`
	}
)

// digest is SHA-256 of a blob.
type digest = [32]byte

// text spells a digest.
func text(d digest) string { return cer.SHA256Digest(d) }

// parseDigest reads a digest; the error wraps ErrForm.
func parseDigest(s string) (digest, error) {
	d, err := cer.ParseHash(s)
	if err != nil {
		return digest{}, fmt.Errorf("digest %q: %w", s, ErrForm)
	}
	return d, nil
}

// parseCount reads a decimal number of at most limit; the error wraps ErrForm.
func parseCount(what, s string, limit uint64) (uint64, error) {
	n, err := cer.ParseUint(s)
	if err != nil || n > limit {
		return 0, fmt.Errorf("%s is %q, want a number of at most %d: %w", what, s, limit, ErrForm)
	}
	return n, nil
}

// references are the digests that a set names, in the order in which its blobs stand.
func (w *wireSet) references() []string {
	out := append([]string{w.Statement, w.Signature}, w.Evidence...)
	out = append(out, w.Log)
	for _, c := range w.Collateral {
		out = append(out, c.SHA256)
	}
	return append(out, w.Tokens...)
}

// setName and recordsName name a set's members; sets are numbered from 1.
func setName(n uint64) string     { return fmt.Sprintf("%s%08d.json", dirSets, n) }
func recordsName(n uint64) string { return fmt.Sprintf("%s%08d.records", dirSets, n) }

// blobName names a blob.
func blobName(d digest) string { return fmt.Sprintf("%s%x", dirBlobs, d) }

// CheckName reports whether a capsule, or a file beside them, can have this name in an
// archive, so that it can be written on any system: 1 to 90 printable ASCII characters
// but / \ : * ? " < > |, not beginning with a full stop, a space or a hyphen, and not
// ending with a full stop or a space. The error wraps ErrAdd.
func CheckName(name string) error {
	if err := checkName(name); err != nil {
		return fmt.Errorf("%w: %w", ErrAdd, err)
	}
	return nil
}

// errName is a name that no archive has.
var errName = errors.New("name that an archive cannot have")

func checkName(name string) error {
	bad := len(name) < 1 || len(name) > limits.ArchiveName || strings.ContainsAny(name[:1], ". -") || strings.ContainsAny(name[len(name)-1:], ". ")
	for i := 0; !bad && i < len(name); i++ {
		bad = name[i] < ' ' || name[i] > '~' || strings.IndexByte(`/\:*?"<>|`, name[i]) >= 0
	}
	if bad {
		return fmt.Errorf("%.100q: %w", name, errName)
	}
	return nil
}

// checkPath wants the path of a file beside the capsules: its folder and a name, for
// roots a role and perhaps a product between.
func checkPath(path string) error {
	parts := strings.Split(path, "/")
	most := 2
	if parts[0]+"/" == DirRoots {
		most = 4
	}
	known := len(path) <= nameSize && (parts[0]+"/" == DirPolicies || parts[0]+"/" == DirRoots || parts[0]+"/" == DirLedger)
	if !known || len(parts) < 2 || len(parts) > most {
		return fmt.Errorf("path %.120q: %w", path, errName)
	}
	for _, p := range parts[1:] {
		if err := checkName(p); err != nil {
			return err
		}
	}
	return nil
}

// fold is a name as systems see it that do not tell capitals from small letters. Names
// are in ascending order of it, and none stands twice.
func fold(name string) string { return strings.ToLower(name) }

// splice puts contents in the places of a record where they were cut out.
func splice(record []byte, cuts []cut, content func(digest) ([]byte, error)) ([]byte, error) {
	out := make([]byte, 0, len(record))
	at := 0
	for _, c := range cuts {
		if c.at < at || c.at >= len(record) || record[c.at] != placeholder {
			return nil, fmt.Errorf("a cut at %d of a record of %d bytes: %w", c.at, len(record), ErrForm)
		}
		b, err := content(c.digest)
		if err != nil {
			return nil, err
		}
		if len(out)+len(b)+len(record) > limits.CapsuleFile {
			return nil, fmt.Errorf("record of more than %d bytes: %w", limits.CapsuleFile, ErrForm)
		}
		out = append(append(out, record[at:c.at]...), b...)
		at = c.at + 1
	}
	return append(out, record[at:]...), nil
}

// placeholder stands in a record for a content that was cut out of it.
const placeholder = '0'

// cut is a place of a record from which a content was cut out.
type cut struct {
	at     int
	digest digest
}

// readAll reads n bytes at an offset and wants them to have a digest.
func readAll(r io.ReaderAt, at, n int64, want digest) ([]byte, error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(io.NewSectionReader(r, at, n), b); err != nil {
		return nil, fmt.Errorf("reading a blob: %w", err)
	}
	if sha256.Sum256(b) != want {
		return nil, fmt.Errorf("a blob is not what its name says: %w", ErrForm)
	}
	return b, nil
}
