package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/cer/archive"
	"github.com/sworn-run/sworn/verifier"
)

// kindArchive is what an archive of records is called.
const kindArchive = "archive of records"

// showArchive shows the head of an archive that is small enough to be in memory; what
// inspect does for one on disk is inspectArchive.
func showArchive(t *treeWriter, file []byte) error {
	r, err := archive.Open(strings.NewReader(string(file)), int64(len(file)))
	if err != nil {
		return err
	}
	treeArchive(t, r.Head(), int64(len(file)))
	return nil
}

// treeArchive shows what an archive says of itself.
func treeArchive(t *treeWriter, h *archive.Head, size int64) {
	t.head("archive", fmt.Sprintf("%s, %d bytes", archive.Type, size))
	t.rows([][2]string{
		{"made by", h.Verifier + " (as it says)"},
		{"records", fmt.Sprint(h.Records)},
		{"sets", fmt.Sprintf("%d statements with their evidence", h.Sets)},
		{"shared blobs", fmt.Sprint(h.Blobs)},
	})
	for _, f := range h.Files {
		t.row(1, f.Path, fmt.Sprintf("%d bytes, sha256:%x, chosen by whoever made the archive", f.Size, f.SHA256))
	}
}

// inspectArchive shows an archive as it is read: its head, then each set with its
// records. A program is given an object a line.
func (a *app) inspectArchive(name string, asJSON bool) error {
	f, r, err := openArchive(name)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	w := bufio.NewWriter(a.stdout)
	show := func(make func(*treeWriter)) error {
		t := &treeWriter{}
		make(t)
		if asJSON {
			return t.writeLine(w, kindArchive)
		}
		return t.writeText(w)
	}
	err = show(func(t *treeWriter) { treeArchive(t, r.Head(), st.Size()) })
	var last *archive.Set
	if err == nil {
		err = eachRecord(r, func(s *archive.Set, rec *archive.Record) error {
			shared, err := s.Shared()
			if err != nil {
				return err
			}
			if s != last {
				last = s
				if err := show(func(t *treeWriter) { treeSet(t, s, shared.Empty()) }); err != nil {
					return err
				}
			}
			c, err := shared.Capsule(rec.Record, rec.Inclusion)
			if err != nil {
				return fmt.Errorf("%w: %s: %w", archive.ErrForm, rec.Name, err)
			}
			if !asJSON {
				_, err := fmt.Fprintf(w, "  %-22s %s\n", line(rec.Name), line(recordLine(c)))
				return err
			}
			return show(func(t *treeWriter) {
				t.head("record", rec.Name)
				t.row(1, "set", fmt.Sprint(s.Number))
				t.row(1, "certificateHash", recordLine(c))
			})
		})
	}
	if err = errors.Join(err, w.Flush()); err != nil {
		return archiveError(name, err)
	}
	return nil
}

// recordLine identifies a record.
func recordLine(c *cer.Capsule) string {
	b, err := cer.ParseBundle(c.CER)
	if err != nil {
		return "a record that cannot be read: " + err.Error()
	}
	return fmt.Sprintf("%s, leaf %d of %d", b.CertificateHash, c.Inclusion.Index, c.Inclusion.Size)
}

// treeSet shows what the capsules of a set share.
func treeSet(t *treeWriter, s *archive.Set, c *cer.Capsule) {
	t.head(fmt.Sprintf("set %d", s.Number), fmt.Sprintf("%d records, statement sha256:%x", s.Records, sha256.Sum256(c.Statement)))
	if st, err := attest.ParseStatement(c.Statement); err == nil {
		ms := int64(st.Time)
		t.row(1, "claimed time", time.UnixMilli(ms).UTC().Format(cer.TimeLayout))
	}
	var formats []string
	for _, e := range c.Evidence {
		name := fmt.Sprintf("format %d", e.Format)
		for _, scheme := range verifier.Schemes() {
			if d := scheme.Describe(); d.Format == e.Format {
				name = d.Name
			}
		}
		formats = append(formats, name)
	}
	t.row(1, "evidence", listOrNone(formats))
	t.row(1, "log", fmt.Sprintf("%d bytes", len(c.Log)))
	t.row(1, "collateral", fmt.Sprintf("%d items", len(c.Collateral)))
	t.row(1, "tokens", fmt.Sprint(len(c.Tokens)))
	t.row(1, "evidence digest", fmt.Sprintf("%x", c.EvidenceDigest()))
}

// writeLine writes the tree for programs on one line.
func (t *treeWriter) writeLine(w io.Writer, kind string) error {
	enc := json.NewEncoder(verifier.PrintableJSON(w))
	enc.SetEscapeHTML(false)
	return enc.Encode(inspectJSON{inspectType, kind, t.sections})
}
