package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"strconv"
	"unicode/utf16"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer/signer"
	"github.com/sworn-run/sworn/internal/bootlog"
	"github.com/sworn-run/sworn/internal/bootlog/ima"
	"github.com/sworn-run/sworn/verifier"
)

// isBootLog reports whether a file begins as a firmware's event log (TCG PC Client
// Platform Firmware Profile, 10.4.5.1): an event of register 0, or 1 in confidential VMs,
// of type EV_NO_ACTION, that names the format.
func isBootLog(file []byte) bool {
	return len(file) > 8 && file[0] <= 1 && bytes.Equal(file[1:8], []byte{0, 0, 0, 3, 0, 0, 0}) && bytes.Contains(file[:min(64, len(file))], []byte("Spec ID Event0"))
}

// isFileList reports whether a file begins as the kernel's list of measured files:
// register 10, a template digest of 20 bytes, the length and the name of a template.
func isFileList(file []byte) bool {
	return bytes.HasPrefix(file, []byte{ima.Register, 0, 0, 0}) && len(file) > 32 && bytes.HasPrefix(file[28:], []byte("ima-"))
}

// isFileText tells the same list as text: register, digest, template.
func isFileText(file []byte) bool {
	words := bytes.Fields(file[:min(len(file), 512)])
	return len(words) > 3 && string(words[0]) == strconv.Itoa(ima.Register) && bytes.HasPrefix(words[2], []byte("ima-"))
}

// showBootLog shows a firmware's event log: of a TPM's registers, or those of a
// confidential VM, of which there are few, and one bank.
func showBootLog(t *treeWriter, raw []byte) error {
	l, err := bootlog.Parse(raw, bootlog.PCRs)
	if err != nil {
		return err
	}
	if len(l.Algs) == 1 && l.Algs[0].Alg == attest.SHA384 {
		if ccel, err := bootlog.Parse(raw, bootlog.MRs); err == nil {
			l = ccel
		}
	}
	return treeBootLog(t, l, len(raw))
}

// showCCEL shows the firmware's log of a confidential VM.
func showCCEL(t *treeWriter, raw []byte) error {
	l, err := bootlog.Parse(raw, bootlog.MRs)
	if err != nil {
		return err
	}
	return treeBootLog(t, l, len(raw))
}

// registerName names a register of a firmware's log: PCRs count from 0, and the index 1
// of a confidential VM is RTMR0 of a TD (UEFI 2.10, 38.4.1).
func registerName(l *bootlog.Log, index uint32) string {
	switch {
	case l.Registers != bootlog.MRs:
		return fmt.Sprintf("PCR %d", index)
	case index == 0:
		return "MRTD"
	default:
		return fmt.Sprintf("RTMR%d", index-1)
	}
}

// treeBootLog shows the events of a firmware's log, and what their replay gives.
func treeBootLog(t *treeWriter, l *bootlog.Log, size int) error {
	bank := attest.SHA1
	for _, a := range l.Algs {
		if a.Alg.Accepted() {
			bank = a.Alg
			break
		}
	}
	whose := ""
	if l.Registers == bootlog.MRs {
		whose = "of a confidential VM (CCEL), "
	}
	t.head("firmware's event log", fmt.Sprintf("%s%d events, %d bytes; digests of bank %v. Nothing signs a log: a quote confirms it or not", whose, len(l.Events), size, bank))
	for i := range l.Events {
		e := &l.Events[i]
		name := fmt.Sprintf("event %d", i)
		if !e.Extends() {
			t.row(1, name, fmt.Sprintf("not extended, %d bytes", len(e.Data)))
			continue
		}
		t.row(1, name, fmt.Sprintf("%s, %v:%x, called type %#x", registerName(l, e.Index), bank, e.Digest(bank), e.Type))
		coverage, covered := e.Covered(bank)
		if text := coveredText(covered); text != "" {
			t.row(2, "its digest covers", text)
		} else {
			t.row(2, "its digest covers", fmt.Sprintf("%v, %d of %d bytes", coverage, len(covered), len(e.Data)))
		}
	}
	values, err := l.Replay(bank, nil)
	if err != nil {
		return err
	}
	for _, v := range values {
		t.row(1, "replay of "+registerName(l, v.Index), fmt.Sprintf("%x", v.Value))
	}
	return nil
}

// coveredText returns what a digest covers as text, where it is one: plain, or UTF-16
// as loaders write command lines.
func coveredText(b []byte) string {
	if len(b) >= 4 && len(b)%2 == 0 && len(b) <= 8192 && b[len(b)-1] == 0 && b[len(b)-2] == 0 {
		var units []uint16
		for i := 0; i+1 < len(b)-2; i += 2 {
			units = append(units, uint16(b[i])|uint16(b[i+1])<<8)
		}
		if text := string(utf16.Decode(units)); plain(text) {
			return fmt.Sprintf("%q", text)
		}
	}
	if text := string(bytes.TrimRight(b, "\x00")); plain(text) {
		return fmt.Sprintf("%q", text)
	}
	return ""
}

// plain reports whether a text is of at least two printable ASCII characters.
func plain(s string) bool {
	for _, r := range s {
		if r < ' ' || r > '~' {
			return false
		}
	}
	return len(s) > 1
}

// showFileList shows the kernel's list of measured files.
func showFileList(t *treeWriter, raw []byte) error {
	l, err := ima.Parse(raw)
	if err != nil {
		return err
	}
	treeFileList(t, l, len(raw))
	return nil
}

// showFileText shows the kernel's list of measured files as text, which has to be
// read back before anything can be recomputed from it.
func showFileText(t *treeWriter, raw []byte) error {
	l, err := ima.ParseASCII(raw)
	if err != nil {
		return err
	}
	treeFileList(t, l, len(raw))
	return nil
}

// treeFileList shows the entries, and what their replay gives.
func treeFileList(t *treeWriter, l *ima.List, size int) {
	t.head("kernel's list of measured files", fmt.Sprintf("%d entries, %d bytes. Nothing signs a list: a quote confirms it or not", len(l.Entries), size))
	value := make([]byte, sha256.Size)
	for i := range l.Entries {
		e := &l.Entries[i]
		if e.Index == ima.Register {
			value = attest.SHA256.Sum(value, e.Extended())
		}
		what := fmt.Sprintf("%s:%x %q", e.Alg, e.Digest, e.Path)
		if e.Violation {
			what = fmt.Sprintf("violation: %q was written to meanwhile", e.Path)
		}
		t.row(1, fmt.Sprintf("entry %d", i), fmt.Sprintf("PCR %d, %s, %s", e.Index, e.Template, what))
	}
	t.row(1, fmt.Sprintf("replay of PCR %d", ima.Register), fmt.Sprintf("%x (sha256)", value))
}

// treeCollateral shows what accompanies the evidence.
func treeCollateral(t *treeWriter, items []attest.Collateral) {
	for _, item := range items {
		t.head("collateral", fmt.Sprintf("%s, %d bytes, sha256:%x", item.Kind, len(item.Data), sha256.Sum256(item.Data)))
		var err error
		switch item.Kind {
		case verifier.CollateralEventLog:
			err = showBootLog(t, item.Data)
		case verifier.CollateralIMA:
			err = showFileList(t, item.Data)
		case attest.CollateralCertificate:
			err = showCertificate(t, item.Data)
		case attest.CollateralCRL:
			err = showCRL(t, item.Data)
		case attest.CollateralTCBInfo, attest.CollateralQEIdentity:
			err = treeDocument(t, &item)
		case attest.CollateralCCEL:
			err = showCCEL(t, item.Data)
		case signer.KindSSH, signer.KindX509:
			err = treeSignature(t, &item)
		}
		if err != nil {
			t.row(1, "refused", err.Error())
		}
	}
}
