package main

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/cer/archive"
	"github.com/sworn-run/sworn/verifier"
	"github.com/sworn-run/sworn/verifier/htmlreport"
	"github.com/sworn-run/sworn/verifier/ledger"
)

// version is that of the command line.
const version = "v0.1.0"

// file is one file that was dropped.
type file struct {
	// Path is its name, with the folders that it was dropped in, by slashes.
	Path string
	// Role is the role that the user chose for a root in no role's folder.
	Role string
	Data []byte
}

// request is what the page asks.
type request struct {
	Files []file
	Nonce string
	Now   time.Time
}

// answer is what it shows.
type answer struct {
	HTML, JSON []byte
	// Trusted tells that every record is.
	Trusted bool
	// Headline is that of the only record, or counts them.
	Headline string
}

// mistake is one of the user's own, with what to do about it.
type mistake struct{ text, hint string }

// Error returns what is wrong.
func (m *mistake) Error() string { return m.text }

// kind is what a file is.
type kind struct {
	// name is "record", "policy", "root", or "root without a role".
	name string
	// role is that of a root, as a path in a roots folder begins.
	role string
}

const (
	kindRecord  = "record"
	kindPolicy  = "policy"
	kindLedger  = "ledger"
	kindOpening = "opening"
	kindRoot    = "root"
	kindNoRole  = "root without a role"
	kindArchive = "archive"
	kindZip     = "zip file"
)

// kind tells what a file is, by its content, and a root's role by the folders it was
// dropped in. What is nothing else is taken for a record, whose verdict then says so.
func (f *file) kind() kind {
	text := bytes.TrimLeft(f.Data, " \t\r\n")
	if role := f.rolePath(); role != "" {
		return kind{kindRoot, role}
	}
	switch {
	case archive.Is(f.Data):
		return kind{name: kindArchive}
	case bytes.HasPrefix(text, []byte("PK\x03\x04")):
		return kind{name: kindZip}
	case bytes.HasPrefix(text, []byte("-----BEGIN ")), len(text) > 2 && text[0] == 0x30 && text[1] >= 0x80:
		if f.Role != "" {
			return kind{kindRoot, f.Role + "/" + path.Base(f.Path)}
		}
		return kind{name: kindNoRole}
	case bytes.HasPrefix(text, []byte("{")) && bytes.Contains(text[:min(len(text), 4096)], []byte(`"`+verifier.PolicyType+`"`)):
		return kind{name: kindPolicy}
	case bytes.HasPrefix(text, []byte(`{"entries":`)) && bytes.Contains(text, []byte(`"type":"`+ledger.Type+`"`)):
		return kind{name: kindLedger}
	case bytes.HasPrefix(text, []byte(`{"certificateHash":`)) && bytes.Contains(text, []byte(`"type":"`+cer.OpeningType+`"`)):
		return kind{name: kindOpening}
	default:
		return kind{name: kindRecord}
	}
}

// rolePath returns a root's path in a roots folder, if a folder above the file is that of
// a role; the innermost counts.
func (f *file) rolePath() string {
	parts := strings.Split(strings.TrimPrefix(f.Path, "/"), "/")
	for i := len(parts) - 2; i >= 0; i-- {
		if slices.ContainsFunc(verifier.RootFolders(), func(r string) bool { return r == parts[i] || strings.HasPrefix(r, parts[i]+"/") }) {
			return strings.Join(parts[i:], "/")
		}
	}
	return ""
}

// sorted are a request's files by what they are.
type sorted struct {
	records []file
	archive *file
	policy  *file
	opening *file
	ledgers []file
	roots   []verifier.RootFile
}

func (r *request) sort() (*sorted, error) {
	s := &sorted{}
	for i := range r.Files {
		f := &r.Files[i]
		switch k := f.kind(); k.name {
		case kindPolicy:
			if s.policy != nil {
				return nil, &mistake{fmt.Sprintf("%s and %s are both policies", shown(s.policy.Path), shown(f.Path)), "keep one of them"}
			}
			s.policy = f
		case kindLedger:
			s.ledgers = append(s.ledgers, *f)
		case kindOpening:
			if s.opening != nil {
				return nil, &mistake{fmt.Sprintf("%s and %s are both openings", shown(s.opening.Path), shown(f.Path)), "keep the one of the record"}
			}
			s.opening = f
		case kindRoot:
			s.roots = append(s.roots, verifier.RootFile{Path: k.role, Data: f.Data})
		case kindNoRole:
			return nil, &mistake{fmt.Sprintf("%s is a certificate or key, and nothing says for what it is trusted", shown(f.Path)), "choose its role, or drop the roots folder as a whole"}
		case kindZip:
			return nil, &mistake{fmt.Sprintf("%s is a zip file, which this page does not read", shown(f.Path)), "take out what is in it first"}
		case kindArchive:
			if s.archive != nil {
				return nil, &mistake{fmt.Sprintf("%s and %s are both archives", shown(s.archive.Path), shown(f.Path)), "keep one of them"}
			}
			s.archive = f
		default:
			s.records = append(s.records, *f)
		}
	}
	switch {
	case s.archive != nil && len(s.records) > 0:
		return nil, &mistake{fmt.Sprintf("%s is an archive, and %s stands beside it", shown(s.archive.Path), shown(s.records[0].Path)), "keep the archive, or the records"}
	case s.archive == nil && len(s.records) == 0:
		return nil, &mistake{"no record is there", "drop a file such as job.cer.json, or an archive of records"}
	}
	return s, nil
}

// appraise judges all records of a request. The error is a *mistake, or wraps one of
// package verifier's.
func appraise(r *request) (*answer, error) {
	s, err := r.sort()
	if err != nil {
		return nil, err
	}
	in, err := s.input(r)
	if err != nil {
		return nil, err
	}
	if s.archive != nil {
		return appraiseArchive(s.archive, in)
	}
	reports, err := judge(s.records, in)
	if err != nil {
		return nil, err
	}
	return show(s.records, reports)
}

// input is what the records are judged by.
func (s *sorted) input(r *request) (in verifier.Input, err error) {
	in = verifier.Input{Now: r.Now, Version: version}
	if in.Nonce, err = nonce(r.Nonce); err != nil {
		return in, err
	}
	if len(s.roots) > 0 {
		if in.Roots, err = verifier.NewTrustStore(s.roots); err != nil {
			return in, fmt.Errorf("the roots: %w", err)
		}
	}
	for i := range s.ledgers {
		f := &s.ledgers[i]
		l, err := ledger.Open(f.Data, in.Roots.LedgerKeys())
		if errors.Is(err, ledger.ErrSignature) {
			return in, &mistake{fmt.Sprintf("%s: %v", shown(f.Path), err), "its signer's key stands in ledger/ of the folder of roots, if you trust it"}
		}
		if err != nil {
			return in, fmt.Errorf("%s: %w", shown(f.Path), err)
		}
		in.Ledgers = append(in.Ledgers, l)
	}
	if s.policy != nil {
		if in.Policy, err = verifier.ParsePolicy(s.policy.Data); err != nil {
			return in, fmt.Errorf("%s: %w", shown(s.policy.Path), err)
		}
	}
	if s.opening != nil {
		if s.archive != nil || len(s.records) > 1 {
			return in, &mistake{fmt.Sprintf("%s opens one record", shown(s.opening.Path)), "give the record that it is of alone"}
		}
		in.Opening = s.opening.Data
	}
	return in, nil
}

// judge verifies records one by one, or together where the policy holds them against each
// other.
func judge(records []file, in verifier.Input) ([]*verifier.Report, error) {
	if in.Policy != nil && in.Policy.Series == verifier.SeriesCounter {
		capsules := make([][]byte, len(records))
		for i := range records {
			capsules[i] = records[i].Data
		}
		return verifier.VerifySeries(capsules, in)
	}
	out := make([]*verifier.Report, len(records))
	for i := range records {
		var err error
		if out[i], err = verifier.Verify(records[i].Data, in); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// show writes reports as the command line does.
func show(records []file, reports []*verifier.Report) (*answer, error) {
	a := &answer{Trusted: true}
	var all []htmlreport.Record
	var text bytes.Buffer
	trusted := 0
	for i, r := range reports {
		name := path.Base(records[i].Path)
		all = append(all, htmlreport.Record{File: name, Report: r})
		if err := r.WriteJSON(&text, name, len(reports) == 1); err != nil {
			return nil, err
		}
		if r.Trusted {
			trusted++
		}
	}
	a.Trusted = trusted == len(reports)
	a.Headline = fmt.Sprintf("%d of %d records are trusted", trusted, len(reports))
	if len(reports) == 1 {
		a.Headline = reports[0].Headline
	}
	a.HTML, a.JSON = htmlreport.Render(all...), text.Bytes()
	return a, nil
}

// nonce parses the nonce that the user typed; nil for none.
func nonce(s string) ([]byte, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return nil, nil
	}
	b, err := hex.DecodeString(s)
	if err != nil || len(b) < 8 || len(b) > 64 {
		return nil, &mistake{"the nonce is not 8 to 64 bytes in hexadecimal", "give the one that you chose for the run, or leave the field empty"}
	}
	return b, nil
}

// shown makes a file's name one printable line.
func shown(name string) string {
	s := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(path.Base(name), "?"))
	return strings.ToValidUTF8(s[:min(len(s), 200)], "")
}
