package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"

	"github.com/sworn-run/sworn/cer/archive"
	"github.com/sworn-run/sworn/verifier"
	"github.com/sworn-run/sworn/verifier/htmlreport"
)

// archiveRecords is the most records of an archive that the page shows: each has a section
// of its own in the report.
const archiveRecords = 500

// collection is an archive as far as it was judged.
type collection struct {
	name    string
	session *verifier.Session
	sum     verifier.ArchiveReport
	json    bytes.Buffer
	all     []htmlreport.Record
}

// appraiseArchive judges the records of an archive one by one, and says of it what the
// command line does. The policies, roots and ledgers in it are not used. The error is a
// *mistake, or wraps one of package verifier's.
func appraiseArchive(f *file, in verifier.Input) (*answer, error) {
	c := &collection{name: path.Base(f.Path)}
	if in.Policy != nil && in.Policy.Series == verifier.SeriesCounter {
		return nil, &mistake{fmt.Sprintf("%s: the policy wants records held against each other, which is not done in an archive", shown(f.Path)), "take the records out first: sworn archive --extract DIR ARCHIVE"}
	}
	var err error
	if c.session, err = verifier.NewSession(in); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(f.Data)
	c.sum = verifier.ArchiveReport{File: c.name, SHA256: hex.EncodeToString(sum[:])}
	err = c.read(f.Data)
	switch {
	case errors.Is(err, archive.ErrForm):
		c.sum.End(err.Error())
	case err != nil:
		return nil, err
	default:
		c.sum.End("")
	}
	if err := c.sum.WriteJSON(&c.json); err != nil {
		return nil, err
	}
	return &answer{HTML: htmlreport.Render(c.all...), JSON: c.json.Bytes(), Trusted: c.sum.Trusted, Headline: c.sum.Headline()}, nil
}

// read judges an archive's records up to its end. The error wraps archive.ErrForm if it is
// no whole archive.
func (c *collection) read(data []byte) error {
	r, err := archive.Open(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return err
	}
	head := r.Head()
	c.sum.MadeBy = head.Verifier
	if head.Records > archiveRecords {
		return &mistake{fmt.Sprintf("%s has %d records, and this page shows at most %d", shown(c.name), head.Records, archiveRecords), "sworn verify reads it whole"}
	}
	for {
		s, err := r.Next()
		if errors.Is(err, io.EOF) {
			return r.Finish()
		}
		if err != nil {
			return err
		}
		for {
			block, err := s.Block(64 << 10)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return err
			}
			for l := range bytes.Lines(block) {
				if err := c.record(r, s, l); err != nil {
					return err
				}
			}
		}
	}
}

// record judges one record.
func (c *collection) record(r *archive.Reader, s *archive.Set, line []byte) error {
	rec, err := s.Parse(line)
	if err != nil {
		return err
	}
	shared, err := s.Shared()
	if err != nil {
		return err
	}
	report, err := c.session.VerifyShared(shared, rec.Record, rec.Inclusion)
	if err != nil {
		return err
	}
	if err := r.Accept(s, rec); err != nil {
		return err
	}
	c.sum.Count(s.Number, report)
	c.all = append(c.all, htmlreport.Record{File: rec.Name, Report: report})
	return report.WriteArchiveJSON(&c.json, c.name, rec.Name)
}
