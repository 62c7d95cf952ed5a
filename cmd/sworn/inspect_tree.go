package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/verifier"
)

func treeStatement(t *treeWriter, raw []byte) {
	t.head("statement", fmt.Sprintf("v1, %d bytes, sha256:%x", len(raw), sha256.Sum256(raw)))
	st, err := attest.ParseStatement(raw)
	if err != nil {
		t.row(1, "cannot be read", err.Error())
		return
	}
	ms := int64(st.Time)
	t.rows([][2]string{
		{"type", fmt.Sprintf("%d, %v", st.Type, st.Type)},
		{"clock", fmt.Sprintf("%d, the host's", st.Clock)},
		{"claimed time", fmt.Sprintf("%d ms, %s", st.Time, time.UnixMilli(ms).UTC().Format(cer.TimeLayout))},
		{"series", hex.EncodeToString(st.Series[:])},
		{"launch", hex.EncodeToString(st.Launch[:])},
		{"key id", hex.EncodeToString(st.KeyID[:])},
		{"sequence", fmt.Sprint(st.Sequence)},
		{"previous", hex.EncodeToString(st.Previous[:])},
		{"log", fmt.Sprintf("%d events, root %x", st.LogSize, st.LogRoot)},
		{"records", fmt.Sprintf("%d from number %d, root %x", st.RecordCount, st.FirstRecord, st.TreeRoot)},
		{"nonce", hexOrNone(st.Nonce)},
		{"body", hexOrNone(st.Body)},
	})
	if c := st.Counter(); c != nil {
		t.row(2, "counter", fmt.Sprintf("%d of NV index with Name %x", c.Value, c.Name))
		t.row(2, "certified over", hex.EncodeToString(attest.QuotedCounter(raw)))
	}
	for i := range st.Manifest {
		treeSlot(t, &st.Manifest[i], raw)
	}
}

// hexOrNone returns b in hexadecimal with its length, or "none".
func hexOrNone(b []byte) string {
	if len(b) == 0 {
		return "none"
	}
	return fmt.Sprintf("%x (%d bytes)", b, len(b))
}

// treeSlot shows one slot of a manifest.
func treeSlot(t *treeWriter, s *attest.Slot, statement []byte) {
	name, wants := "unknown", ""
	for _, scheme := range verifier.Schemes() {
		if d := scheme.Describe(); d.Format == s.Format {
			name = d.Name
			wants = fmt.Sprintf("%x", attest.Quoted(d.QuotedHash, s.Number, s.Format, statement))
		}
	}
	modes := map[attest.Mode]string{attest.ModeDirect: "direct", attest.ModeViaAK: "via-ak", attest.ModeSVSM: "svsm"}
	anchors := map[attest.AnchorKind]string{attest.AnchorRegister: "register", attest.AnchorStatementOnly: "statement-only"}
	t.row(1, fmt.Sprintf("slot %d", s.Number), fmt.Sprintf("format %d (%s), mode %d (%s), anchor %d (%s)",
		s.Format, name, s.Mode, modes[s.Mode], s.Anchor, anchors[s.Anchor]))
	t.row(2, "key id", fmt.Sprintf("%x (SHA-256 of the AK's Name for a TPM)", s.KeyID))
	if r := s.Register; r != nil {
		t.row(2, "register", fmt.Sprintf("%d (%v), before the commit %x", r.Index, r.Bank, r.Value))
	}
	if wants != "" {
		t.row(2, "quote must carry", wants)
	}
}

func treeLog(t *treeWriter, raw []byte) {
	l, err := attest.ParseLog(raw)
	if err != nil {
		t.head("log", "cannot be read: "+err.Error())
		return
	}
	t.head("log", fmt.Sprintf("TCG CEL-TLV, register %d, banks %v, %d events, %d bytes", l.Register, l.Banks, len(l.Events), len(raw)))
	tag := [32]byte{}
	for i := range l.Events {
		e := &l.Events[i]
		if e.Launch != tag {
			tag = e.Launch
			t.row(1, "launch tag", hex.EncodeToString(tag[:]))
		}
		t.row(1, fmt.Sprintf("%d %v", e.Index, e.Type), eventText(e))
		treeFacts(t, e)
	}
}

// eventText shows an event's data as people read it.
func eventText(e *attest.Event) string {
	if !e.Disclosed {
		return "withheld, SHA-256 of salt and data " + hex.EncodeToString(e.DataHash[:])
	}
	switch e.Type {
	case attest.EventComponent:
		if c, err := cer.ParseComponent(e.Data); err == nil {
			return componentText(c)
		}
	case attest.EventEnvironment:
		if env, err := cer.ParseEnvironment(e.Data); err == nil {
			return fmt.Sprintf("%s, %d facts", env.Kind, len(env.Facts))
		}
	case attest.EventKey:
		return hex.EncodeToString(e.Data) + " (SubjectPublicKeyInfo of the launch key)"
	case attest.EventCommit:
		return hex.EncodeToString(e.Data) + " (SHA-256 of the statement)"
	case attest.EventSeparator:
		return hexOrNone(e.Data)
	case attest.EventOrigin, attest.EventLaunchBegin, attest.EventEnd:
		return string(e.Data)
	}
	return hexOrNone(e.Data)
}

// componentText shows a component on one line.
func componentText(c *cer.Component) string {
	words := []string{c.Role}
	for _, s := range []string{c.Name, string(c.Value), strings.Join(c.Digest, " or ")} {
		if s != "" {
			words = append(words, s)
		}
	}
	text := strings.Join(words, " ")
	if c.Size != "" {
		text += ", " + c.Size + " bytes"
	}
	if c.Protection != "" {
		text += ", " + c.Protection
	}
	if c.Path != "" && c.Path != c.Name {
		text += ", at " + c.Path
	}
	return text
}

// treeFacts shows the facts of an environment event, and what weights say of
// themselves, each on a line.
func treeFacts(t *treeWriter, e *attest.Event) {
	if e.Disclosed && e.Type == attest.EventComponent {
		if c, err := cer.ParseComponent(e.Data); err == nil && len(c.Described) > 0 {
			t.row(2, "describes itself", "the file's own word, checked by nobody")
			for _, f := range c.Described {
				t.row(3, f.Name, f.Value)
			}
		}
	}
	if !e.Disclosed || e.Type != attest.EventEnvironment {
		return
	}
	env, err := cer.ParseEnvironment(e.Data)
	if err != nil {
		t.row(2, "cannot be read", err.Error())
		return
	}
	for _, f := range env.Facts {
		t.row(2, f.Name, f.Value+factUnit(env.Kind, f.Name))
	}
}

// factUnit names the unit of a fact that is a number.
func factUnit(kind, name string) string {
	if kind != cer.KindLimits {
		return ""
	}
	switch name {
	case "address_space", "file_size":
		return " bytes (0: no limit)"
	case "cpu_seconds":
		return " s (0: no limit)"
	case "timeout_ms":
		return " ms"
	case "open_files", "processes":
		return " (0: no limit)"
	default:
		return ""
	}
}
