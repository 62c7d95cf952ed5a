// Command nexart judges bundles that NexArt's own package made, and what became
// of them by change, with this project's verifier: it reads what bundles.mjs
// prints and wants every bundle accepted as it was made, every changed one
// refused, and nothing accepted that NexArt's verifier refuses. Exit 1 where the
// two disagree, and where nothing of a kind was there to judge.
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
)

func main() {
	os.Exit(run(os.Stdin, os.Stdout, os.Stderr))
}

// bundle is one line of bundles.mjs.
type bundle struct {
	// What was done to it: "made", "changed: PLACE", or "flipped", one bit.
	What string `json:"what"`
	// Text is the bundle's text.
	Text string `json:"text"`
	// Accepted tells whether NexArt's verifier accepts it.
	Accepted bool `json:"accepted"`
}

// counts are what was judged.
type counts struct{ made, changed, flipped, stricter int }

// run judges the bundles on stdin and returns the exit status.
func run(stdin io.Reader, stdout, stderr io.Writer) int {
	var n counts
	in := json.NewDecoder(bufio.NewReader(stdin))
	for {
		var b bundle
		err := in.Decode(&b)
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = n.judge(b)
		}
		if err != nil {
			_, _ = fmt.Fprintln(stderr, "error:", err)
			return 1
		}
	}
	if n.made == 0 || n.changed == 0 || n.flipped == 0 {
		_, _ = fmt.Fprintf(stderr, "error: nothing to judge: %+v\n", n)
		return 1
	}
	_, err := fmt.Fprintf(stdout, "%d bundles accepted, %d changed ones refused; of %d with one bit flipped none accepted that NexArt refuses, %d refused that NexArt accepts\n",
		n.made, n.changed, n.flipped, n.stricter)
	if err != nil {
		return 1
	}
	return 0
}

// judge verifies one bundle and counts it; the error says how the two disagree.
func (n *counts) judge(b bundle) error {
	got, err := cer.VerifyIntegrity([]byte(b.Text))
	switch {
	case b.What == "made":
		n.made++
		if err != nil {
			return fmt.Errorf("a bundle of NexArt's is refused: %w\n%s", err, b.Text)
		}
		if !strings.Contains(b.Text, cer.FormatHash(got.CertificateHash)) {
			return fmt.Errorf("a bundle got another hash, %x\n%s", got.CertificateHash, b.Text)
		}
	case strings.HasPrefix(b.What, "changed: "):
		n.changed++
		if err == nil {
			return fmt.Errorf("a bundle is accepted with %s\n%s", b.What, b.Text)
		}
	case b.What == "flipped":
		n.flipped++
		if err == nil && !b.Accepted {
			return fmt.Errorf("a bundle is accepted that NexArt refuses\n%s", b.Text)
		}
		if err != nil && b.Accepted {
			n.stricter++
		}
	default:
		return fmt.Errorf("unknown kind %q", b.What)
	}
	return nil
}
