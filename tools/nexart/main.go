// Command nexart judges records that bundles.mjs made, with NexArt's own package
// and by the documented rules, and what became of them by change: it wants every
// record verified as it was made, in the layers that it has, every changed one
// refused, and nothing accepted that NexArt's verifier refuses. Exit 1 where that
// is not so, and where nothing of a kind was there to judge.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/cer/nexart"
)

func main() {
	os.Exit(run(os.Stdin, os.Stdout, os.Stderr))
}

// bundle is one line of bundles.mjs.
type bundle struct {
	// What was done to it. Up to the colon, if there is one, this is one of kinds,
	// or "keys": the text is the node's key document.
	What string `json:"what"`
	// At says how to make it again.
	At string `json:"at"`
	// Text is the record's text.
	Text string `json:"text"`
	// Accepted tells whether NexArt's verifier accepts it; nil where that is of a
	// release that did not know the like.
	Accepted *bool `json:"accepted"`
	// Layers are integrity, receipt and envelope as they must come out, or empty.
	Layers string `json:"layers"`
}

// kinds are what may have been done to a record.
var kinds = [...]string{"made", "changed", "sealed again", "swapped", "flipped"}

// judge holds the keys of the node, and counts.
type judge struct {
	keys  *nexart.Keys
	count map[string]int
	// stricter counts what NexArt accepts and this project refuses.
	stricter int
}

// run judges the records on stdin and returns the exit status.
func run(stdin io.Reader, stdout, stderr io.Writer) int {
	j := judge{count: map[string]int{}}
	in := json.NewDecoder(bufio.NewReaderSize(stdin, 1<<20))
	for {
		var b bundle
		err := in.Decode(&b)
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = j.judge(b)
		}
		if err != nil {
			_, _ = fmt.Fprintf(stderr, "error: %s: %v\n%s\n", b.At, err, b.Text)
			return 1
		}
	}
	for _, kind := range kinds {
		if j.count[kind] == 0 {
			_, _ = fmt.Fprintf(stderr, "error: none %s to judge: %v\n", kind, j.count)
			return 1
		}
	}
	_, err := fmt.Fprintf(stdout, "%d records verified as made; refused: %d changed, %d sealed again, %d swapped; "+
		"of %d with one bit flipped none accepted that NexArt refuses, %d refused that NexArt accepts\n",
		j.count["made"], j.count["changed"], j.count["sealed again"], j.count["swapped"], j.count["flipped"], j.stricter)
	if err != nil {
		return 1
	}
	return 0
}

// judge verifies one record and counts it; the error says what is not as it must
// be.
func (j *judge) judge(b bundle) error {
	kind, _, _ := strings.Cut(b.What, ":")
	if kind == "keys" {
		var err error
		j.keys, err = nexart.ParseKeys([]byte(b.Text))
		return err
	}
	j.count[kind]++
	r := nexart.Verify([]byte(b.Text), j.keys)
	layers := fmt.Sprint(r.Integrity, " ", r.Receipt, " ", r.Envelope)
	if b.Layers != "" && layers != b.Layers {
		return fmt.Errorf("%s: %v, %s, not %s: %v", b.What, r.Verdict, layers, b.Layers, r.Notes)
	}
	if b.Accepted != nil {
		if err := j.compare(b, r); err != nil {
			return fmt.Errorf("%s: %w", b.What, err)
		}
	}
	switch kind {
	case "made":
		if !r.Verdict.Verified() || b.Layers == "" || !strings.Contains(b.Text, r.CertificateHash) {
			return fmt.Errorf("%s: %v, %s, hash %q: %v", b.What, r.Verdict, layers, r.CertificateHash, r.Notes)
		}
	case "changed", "sealed again", "swapped":
		if r.Verdict.Verified() {
			return fmt.Errorf("%s: %v, %s: %v", b.What, r.Verdict, layers, r.Notes)
		}
	case "flipped":
	default:
		return fmt.Errorf("unknown kind %q", b.What)
	}
	return nil
}

// compare compares the verdict with that of NexArt's verifier, and with this
// project's own on a bundle alone.
func (j *judge) compare(b bundle, r *nexart.Report) error {
	got, err := cer.VerifyIntegrity([]byte(b.Text))
	switch {
	case (err == nil) != (r.Integrity == nexart.StatusPass):
		return fmt.Errorf("integrity %v, and alone %w", r.Integrity, err)
	case err == nil && cer.FormatHash(got.CertificateHash) != r.CertificateHash:
		return fmt.Errorf("hash %s, and alone %x", r.CertificateHash, got.CertificateHash)
	case err == nil && !*b.Accepted:
		return errors.New("accepted, though NexArt refuses it")
	case err != nil && *b.Accepted:
		j.stricter++
	}
	return nil
}
