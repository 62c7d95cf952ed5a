package nexart

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/cer/internal/canon"
)

// The bundle types beside [cer.BundleType].
const (
	resealType   = "signed-redacted-reseal"
	hashOnlyType = "hash-only-timestamp"
	projectType  = "cer.project.bundle.v1"
)

// hashText returns the hash of b in the form of certificateHash.
func hashText(b []byte) string { return cer.FormatHash(sha256.Sum256(b)) }

// pointer escapes a name for a JSON Pointer. RFC 6901, 3. What is longer than a
// note is cut.
func pointer(name string) string {
	name = cut(name, maxNoteText)
	if !strings.ContainsAny(name, "~/") {
		return name
	}
	return strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1")
}

// execution judges the integrity of a cer.ai.execution.v1 bundle.
func (c *check) execution() {
	snapshot := c.record.Get("snapshot")
	c.protocol = cer.Protocol120
	if v := snapshot.Get("protocolVersion"); v.Kind() == '"' {
		c.protocol = v.String()
	}
	c.claim(c.record.Get("certificateHash"))
	got, err := cer.VerifyIntegrity(c.record.Raw())
	if err != nil {
		c.integrityFailed(integrityCode(err), "%v", cause(err))
		if !knownProtocol(c.protocol) {
			c.code(CodeSchemaVersion)
		}
		return
	}
	c.CertificateHash = cer.FormatHash(got.CertificateHash)
	c.withhold(got.Withheld)
	c.confidential = got.Confidential
	c.withheld = c.withheld && !c.confidential // The node signs commitments as they are.
	c.uncovered(got.Uncovered...)
	c.supplemental = slices.ContainsFunc(got.Uncovered, c.supplements)
}

// supplements tells members that some release of the protocol hashes, and that
// this record's hash does not cover, so that they may have been put beside it
// later. A context that says nothing is none.
func (c *check) supplements(uncovered string) bool {
	name, _, within := strings.Cut(strings.TrimPrefix(uncovered, "/"), "/")
	if name != "context" && name != "contextSummary" && name != "policyEvaluation" {
		return false
	}
	v := c.record.Get(name)
	if name == "context" && !within && v.Kind() == '{' {
		empty := v.Len() == 0 || (v.Len() == 1 && string(v.Get("signals").Canonical()) == "[]")
		return !empty
	}
	return v.Kind() != 'n'
}

// cause is what an integrity error says without its code, which stands beside it.
func cause(err error) error {
	if ie, ok := errors.AsType[*cer.IntegrityError](err); ok {
		return ie.Err
	}
	return err
}

func knownProtocol(v string) bool {
	return v == cer.Protocol120 || v == cer.Protocol130 || v == cer.Protocol131
}

// withhold notes what is absent or replaced.
func (c *check) withhold(pointers []string) {
	for _, p := range pointers {
		c.withheld = true
		c.note(NoteWithheld, "%s", p)
	}
}

// uncovered notes members that the hash does not cover, less those that the other
// layers judge.
func (c *check) uncovered(pointers ...string) {
	for _, p := range pointers {
		switch p {
		case "/receipt", "/signature", "/verificationEnvelope", "/verificationEnvelopeSignature":
		default:
			c.note(NoteUncovered, "%s", p)
		}
	}
}

// reseal judges the type that NexArt's documents give to redacted reseals. No
// record of that type was published; the projection is that of the others.
func (c *check) reseal() {
	c.note(NoteLegacy, "bundleType %s stands in documents only; nodes give a reseal the type %s", resealType, cer.BundleType)
	c.protocol = cer.Protocol120
	snapshot := c.record.Get("snapshot")
	if v := snapshot.Get("protocolVersion"); v.Kind() == '"' {
		c.protocol = v.String()
	}
	switch {
	case !c.record.Get("version").Is(cer.BundleVersion) || c.record.Get("createdAt").IsEmpty() || snapshot.Kind() != '{':
		c.integrityFailed(CodeSchema, "version, createdAt or snapshot is missing or wrong")
		return
	case !snapshot.Get("type").Is(cer.SnapshotType) || !knownProtocol(c.protocol):
		c.integrityFailed(CodeSchema, "the snapshot is of another type or protocol")
		return
	}
	fields := []string{"bundleType", "createdAt", "snapshot", "version"}
	if !c.recompute(fields) {
		return
	}
	for _, name := range []string{"prompt", "input", "output"} {
		value, hash := snapshot.Get(name), snapshot.Get(name+"Hash")
		switch {
		case value.Kind() == 0:
			if _, err := cer.ParseHash(hash.String()); err != nil && name != "prompt" {
				c.integrityFailed(CodeInvalidFormat, "%sHash is not %q and 64 lower-case hex digits", name, "sha256:")
			}
			c.withhold([]string{"/snapshot/" + name})
		case name == "prompt":
		case value.Kind() == '"' && hash.Is(hashText(value.AppendString(nil))):
		case value.Kind() != '"' && hash.Is(hashText(value.Canonical())):
		case name == "input":
			c.integrityFailed(CodeInputHash, "inputHash is not the hash of input")
		default:
			c.integrityFailed(CodeOutputHash, "outputHash is not the hash of output")
		}
	}
	c.uncoveredBeside(fields)
}

// recompute compares certificateHash with the hash over those members.
func (c *check) recompute(fields []string) bool {
	hash := c.record.Get("certificateHash")
	if hash.Kind() != '"' {
		c.integrityFailed(CodeSchema, "certificateHash is not a string")
		return false
	}
	if !c.claim(hash) {
		c.integrityFailed(CodeInvalidFormat, "certificateHash is not %q and 64 lower-case hex digits", "sha256:")
		return false
	}
	got := hashText(pick(nil, c.record, listed(fields)))
	if got != c.claimed {
		c.integrityFailed(CodeCertificateHash, "certificateHash is not that of %s, %s", strings.Join(fields, ", "), got)
		return false
	}
	c.CertificateHash = got
	return true
}

// uncoveredBeside notes the members that are not among those.
func (c *check) uncoveredBeside(fields []string) {
	for i := 0; i < c.record.Len() && !c.full(); i++ {
		if name := string(c.record.MemberName(i)); name != "certificateHash" && !slices.Contains(fields, name) {
			c.uncovered("/" + pointer(name))
		}
	}
}

// hashOnly judges a record that is nothing but a hash: there is nothing to
// recompute, so a receipt alone can make it good.
func (c *check) hashOnly() {
	c.Integrity = StatusSkipped
	c.protocol = c.record.Get("protocolVersion").String()
	hash := c.record.Get("certificateHash")
	if k := c.record.Get("snapshot").Kind(); k != 0 && k != 'n' {
		c.integrityFailed(CodeSchema, "a hash-only record with a snapshot")
		return
	}
	if !c.claim(hash) {
		c.integrityFailed(CodeInvalidFormat, "certificateHash is not %q and 64 lower-case hex digits", "sha256:")
		return
	}
	c.CertificateHash = c.claimed
	c.withhold([]string{"/snapshot"})
	c.uncoveredBeside(nil)
}

// A family is a governed type: it says itself which members are protected, and we
// say which must be.
type family struct {
	bundleType, version, protectedSetID string
	fields                              []string
}

// familyOf returns the governed family of a bundleType, or nil.
func familyOf(bundleType canon.Value) *family {
	switch {
	case bundleType.Is("cer.governed.execution.v1"):
		return &family{
			"cer.governed.execution.v1", "0.1", "nexart.governed.execution.v1.protected-set.v1",
			[]string{"bundleType", "createdAt", "version", "profile", "evidence"},
		}
	case bundleType.Is("cer.governed.execution.step.v1"):
		return &family{
			"cer.governed.execution.step.v1", "1", "nexart.governed.execution.step.v1.protected-set.v1",
			[]string{"bundleType", "version", "schema", "bundleId", "threadId", "step"},
		}
	}
	return nil
}

// governed judges a record of a governed family. The node hashes every member
// there is but certificateHash; where others were added later, what protectedSet
// lists, and protectedSet itself.
func (c *check) governed(f *family) {
	c.protocol = f.version
	set := c.record.Get("protectedSet")
	switch {
	case !c.record.Get("version").Is(f.version):
		c.integrityFailed(CodeSchema, "version is not %q", f.version)
		c.code(CodeSchemaVersion)
		return
	case set.Kind() != '{' || set.Len() != 3:
		c.integrityFailed(CodeSchema, "protectedSet is not an object of three members")
		return
	case !set.Get("stabilitySchemeId").Is("jcs-v1"):
		c.integrityFailed(CodeSchemaVersion, "stabilitySchemeId is not %q", "jcs-v1")
		return
	case !set.Get("protectedSetId").Is(f.protectedSetID):
		c.integrityFailed(CodeSchemaVersion, "protectedSetId is not %q", f.protectedSetID)
		return
	}
	fields, e := names(set.Get("protectedFields"), f.fields, c.record)
	if e != nil {
		c.integrityFailed(CodeSchema, "protectedFields: %s", e.text)
		return
	}
	for _, name := range fields {
		if k := c.record.Get(name).Kind(); k == 'n' || name == "certificateHash" {
			c.integrityFailed(CodeSchema, "%s cannot be protected", name)
			return
		}
	}
	fields = append(fields, "protectedSet")
	all := func(name string) bool { return name != "certificateHash" }
	if hash := c.record.Get("certificateHash"); c.claim(hash) && hash.Is(hashText(pick(nil, c.record, all))) {
		c.CertificateHash = c.claimed
		return
	}
	if c.recompute(fields) {
		c.uncoveredBeside(fields)
	}
}

// redaction notes what a record says of its own redaction.
func (c *check) redaction() {
	meta := c.record.Get("meta")
	provenance := firstOf(c.record, "provenance")
	if provenance.Kind() == 0 {
		provenance = meta.Get("provenance")
	}
	marked := c.record.Get("redacted_reseal").Kind() == 't' || meta.Get("redacted_reseal").Kind() == 't' ||
		c.record.Get("bundleType").Is(resealType) || provenance.Get("kind").Is("redacted_reseal") ||
		meta.Get("attestation").Get("mode").Is("redacted_reseal")
	if !marked {
		return
	}
	if original := provenance.Get("originalCertificateHash"); original.Kind() == '"' {
		c.note(NoteRedacted, "it says to be a redacted copy of %q, which no hash covers", shown(original))
		return
	}
	c.note(NoteRedacted, "it says to be a redacted copy of another record, which no hash covers")
}

// packageRecord refuses a package that is another record itself: whoever reads its
// own members would read what nothing of this report is about. What a node's
// answer repeats of the record must be the record's.
func (c *check) packageRecord() {
	if !c.Package {
		return
	}
	for _, name := range [...]string{
		"bundleId", "bundleType", "certificateHash", "context", "contextSummary", "createdAt", "embeddedBundles", "evidence",
		"policyEvaluation", "profile", "projectBundleId", "projectTitle", "protectedSet", "schema", "snapshot", "step",
		"stepRegistry", "threadId", "version",
	} {
		outer := c.outer.Get(name)
		if outer.Kind() != 0 && !bytes.Equal(outer.Canonical(), c.record.Get(name).Canonical()) {
			c.integrityFailed(CodeSchema, "the package has a %s of its own, which is not the record's", name)
		}
	}
}

// packageMembers notes what stands in a package beside the record and what the
// layers judged.
func (c *check) packageMembers() {
	if !c.Package {
		return
	}
	for i := 0; i < c.outer.Len() && !c.full(); i++ {
		switch name := string(c.outer.MemberName(i)); name {
		case "cer", "receipt", "signature", "verificationEnvelope", "verificationEnvelopeSignature":
		default:
			c.note(NoteUncovered, "/%s, in the package", pointer(name))
		}
	}
}

// embeddedKeys notes keys that come with the record.
func (c *check) embeddedKeys() {
	for i := 0; i < c.outer.Len() && !c.full(); i++ {
		name, v := c.outer.Member(i)
		if !c.Package && c.Integrity == StatusPass && (name == "snapshot" || name == "evidence" || name == "step") {
			continue // What the execution was about.
		}
		if name == "cer" && c.Package {
			v = c.record.Get("meta")
		}
		c.keysIn(name, v, 1)
	}
}

func (c *check) keysIn(name string, v canon.Value, level int) {
	switch name {
	case "publicKey", "publicKeyJwk", "publicKeySpkiB64", "jwk", "manifestKey":
		c.note(NoteEmbeddedKey, "%s comes with the record and was not used: whoever makes a record can bring a key", name)
		return
	}
	if level >= keepLevels {
		return
	}
	for i := 0; i < v.Len() && !c.full(); i++ {
		inner, value := v.Member(i)
		c.keysIn(inner, value, level+1)
	}
}
