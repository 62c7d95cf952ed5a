package nexart

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sworn-run/sworn/cer/internal/canon"
)

// The constants of a verification envelope v2, as nodes issue it.
const (
	envelopeV2   = "nexart.verification.envelope.v2"
	envelopeV1   = "nexart.verification.envelope.v1"
	envelopeSpec = "v0.16.1"
)

// inMeta are the members that an envelope may have in meta, where releases before
// packages put it, and at the top: the legacy form signs the bundle without them.
var inMeta = [...]string{
	"verificationEnvelope", "verificationEnvelopeSignature", "verificationEnvelopeType", "verificationEnvelopeVerification",
}

// signedAttestation are the members of an envelope's attestation.
var signedAttestation = [...]string{"attestationId", "attestedAt", "kid", "nodeRuntimeHash", "protocolVersion"}

// maxNames is the largest number of names in a list of signed fields.
const maxNames = 64

// A refusal is what is wrong with an envelope.
type refusal struct {
	code Code
	text string
}

func refuse(code Code, format string, args ...any) *refusal {
	return &refusal{code, fmt.Sprintf(format, args...)}
}

// envelopes judges every envelope that is there.
func (c *check) envelopes() {
	c.eachEnvelope()
	// What was taken out is no excuse where another envelope signs what is left.
	if c.elsewhere && c.Envelope == StatusPass {
		c.envelopeFailed(refuse(CodeInvalidSignature, "one signs the record as it is, and another does not"))
	}
}

func (c *check) eachEnvelope() {
	meta := c.record.Get("meta")
	if c.Package {
		for _, name := range inMeta {
			if meta.Get(name).Kind() != 0 {
				c.envelopeFailed(refuse(CodeSchema, "meta.%s was put into the record of a package", name))
			}
		}
		c.envelope(c.outer)
		c.envelope(c.record)
		return
	}
	c.envelope(c.record)
	c.envelope(meta)
}

func (c *check) envelopeFailed(e *refusal) {
	c.Envelope = StatusFail
	c.fail(e.code, "envelope: %s", e.text)
}

// envelope judges the envelope that stands in an object.
func (c *check) envelope(in canon.Value) {
	env, signature := in.Get("verificationEnvelope"), in.Get("verificationEnvelopeSignature")
	switch {
	case env.Kind() == 0 && signature.Kind() == 0:
		return
	case env.Kind() != '{':
		c.envelopeFailed(refuse(CodeAttestationMissing, "a signature without the envelope that it signs"))
		return
	case signature.Kind() != '"':
		c.envelopeFailed(refuse(CodeSignatureMissing, "no signature"))
		return
	}
	kind, beside := env.Get("envelopeType"), in.Get("verificationEnvelopeType")
	var e *refusal
	switch {
	case kind.Kind() != 0 && beside.Kind() != 0 && kind.String() != beside.String():
		e = refuse(CodeSchema, "envelopeType %q, and beside it %q", shown(kind), shown(beside))
	case kind.Kind() == 0:
		kind = beside
	}
	switch {
	case e != nil:
	case kind.Is(envelopeV2) && env.Get("scope").Is("whitelist"):
		e = c.envelopeV2(env, signature)
	case kind.Is(envelopeV2):
		e = c.envelopeFull(env, signature)
	case kind.Kind() == 0 || kind.Is(envelopeV1):
		e = c.envelopeV1(env, signature)
	default:
		e = refuse(CodeSchemaVersion, "envelopeType %q is not known", shown(kind))
	}
	switch {
	case e == nil:
		if c.Envelope != StatusFail {
			c.Envelope = StatusPass
		}
	case e.code == CodeInvalidSignature && c.withheld:
		// The node signed the record before its values were taken out.
		c.elsewhere = true
		c.note(NoteRedacted, "envelope: it does not sign what is left of the record, and what was taken out is not here")
	default:
		c.envelopeFailed(e)
	}
}

// envelopeV2 judges the form of v0.16.1: the envelope lists what it signs. What
// it must sign does not depend on the list.
func (c *check) envelopeV2(env, signature canon.Value) *refusal {
	if e := envelopeConstants(env, map[string]string{
		"algorithm": "Ed25519", "canonicalization": "jcs", "envelopeType": envelopeV2, "scope": "whitelist", "specVersion": envelopeSpec,
	}, "attestation", "kid", "signedFields"); e != nil {
		return e
	}
	fields := env.Get("signedFields")
	if fields.Kind() != '{' || fields.Len() != 2 {
		return refuse(CodeSchema, "signedFields is not two lists")
	}
	attested, e := names(fields.Get("attestation"), signedAttestation[:], env.Get("attestation"))
	if e != nil {
		return e
	}
	if env.Get("attestation").Len() != len(attested) {
		return refuse(CodeSchema, "attestation holds more than is signed")
	}
	bundle, e := names(fields.Get("bundle"), c.mustSign(), c.record)
	if e != nil {
		return e
	}
	b := pick([]byte(`{"attestation":`), env.Get("attestation"), listed(attested))
	b = pick(append(b, `,"bundle":`...), c.record, listed(bundle))
	if e := c.attested(env, signature, append(b, '}'), env.Get("kid"), false); e != nil {
		return e
	}
	for i := 0; i < c.record.Len() && !c.full(); i++ {
		name := string(c.record.MemberName(i))
		uncovered := slices.Contains(c.Notes, Note{NoteUncovered, "/" + pointer(name)})
		if !slices.Contains(bundle, name) && c.Integrity == StatusPass && !uncovered && !outside(name) {
			c.note(NoteUnsigned, "/%s", pointer(name))
		}
	}
	return nil
}

// outside tells the members that no envelope signs: they hold the signatures, or
// no layer covers them, which is noted elsewhere.
func outside(name string) bool {
	switch name {
	case "certificateHash", "meta", "receipt", "signature", "verificationEnvelope", "verificationEnvelopeSignature":
		return true
	}
	return false
}

// mustSign are the members that an envelope must list whatever it says: those
// that identify and make up the record.
func (c *check) mustSign() []string {
	if f := familyOf(c.record.Get("bundleType")); f != nil {
		return append(slices.Clone(f.fields), "protectedSet")
	}
	least := []string{"bundleType", "version", "createdAt", "snapshot"}
	if c.BundleType == hashOnlyType {
		least = append(least, "certificateHash") // Nothing else stands for it.
	}
	return least
}

// envelopeConstants wants members of one value, and others that are there; and no
// more.
func envelopeConstants(env canon.Value, constants map[string]string, others ...string) *refusal {
	for i := range env.Len() {
		name, v := env.Member(i)
		want, ok := constants[name]
		switch {
		case !ok && !slices.Contains(others, name):
			return refuse(CodeSchema, "member %q is not known", name)
		case ok && !v.Is(want) && name == "specVersion":
			return refuse(CodeSchemaVersion, "specVersion is not %q", want)
		case ok && !v.Is(want):
			return refuse(CodeSchema, "%s is not %q", name, want)
		}
	}
	if env.Len() != len(constants)+len(others) {
		return refuse(CodeSchema, "a member is missing")
	}
	return nil
}

// names reads a list of names: unique, all of them members of the object, none of
// the least missing.
func names(list canon.Value, least []string, of canon.Value) ([]string, *refusal) {
	elements := list.Elements(maxNames, 1)
	if elements == nil || of.Kind() != '{' {
		return nil, refuse(CodeSchema, "signedFields is not a list of names of members")
	}
	var out []string
	for _, e := range elements {
		name := e.String()
		switch {
		case e.Kind() != '"':
			return nil, refuse(CodeSchema, "signedFields holds what is no name")
		case slices.Contains(out, name):
			return nil, refuse(CodeSchema, "signedFields names %q twice", name)
		case of.Get(name).Kind() == 0:
			return nil, refuse(CodeSchema, "signedFields names %q, which is not there", name)
		}
		out = append(out, name)
	}
	for _, name := range least {
		if !slices.Contains(out, name) {
			return nil, refuse(CodeSchema, "%s is not among what it signs", name)
		}
	}
	return out, nil
}

// listed accepts the names of a list.
func listed(names []string) func(string) bool {
	return func(name string) bool { return slices.Contains(names, name) }
}

// pick appends the canonical form of an object with only the members that want
// accepts.
func pick(dst []byte, of canon.Value, want func(string) bool) []byte {
	separator := byte('{')
	for i := range of.Len() {
		if want(string(of.MemberName(i))) {
			dst = of.AppendMember(append(dst, separator), i)
			separator = ','
		}
	}
	if separator == '{' {
		dst = append(dst, '{')
	}
	return append(dst, '}')
}

// attested checks the signature, and what the envelope says of the attestation.
func (c *check) attested(env, signature canon.Value, signed []byte, kid canon.Value, allowECDSA bool) *refusal {
	a := env.Get("attestation")
	if v := a.Get("kid"); v.Kind() != 0 && v.String() != kid.String() {
		return refuse(CodeSchema, "it is signed by key %q, and said to be by %q", shown(v), shown(kid))
	}
	if v := a.Get("protocolVersion"); v.Kind() != 0 && c.protocol != "" && !v.Is(c.protocol) {
		return refuse(CodeSchemaVersion, "protocolVersion %q is not the record's, %q", shown(v), c.protocol)
	}
	k, code, why := c.verifySignature(kid, signature, signed, allowECDSA)
	if k == nil {
		return refuse(code, "%s", why)
	}
	c.aboutKey("envelope", k, firstOf(a, "attestedAt"))
	return nil
}

// envelopeFull judges the form before v0.16.1, which signs the whole bundle but
// the envelope itself.
func (c *check) envelopeFull(env, signature canon.Value) *refusal {
	c.note(NoteLegacy, "envelope: of the form before v0.16.1, of which no signature was published")
	if v := env.Get("scope"); v.Kind() != 0 && !v.Is("full_bundle") {
		return refuse(CodeSchema, "scope %q is not known", shown(v))
	}
	if v := env.Get("signedFields"); v.Kind() != 0 && !v.Is("*") {
		return refuse(CodeSchema, `signedFields is not "*"`)
	}
	if v := env.Get("excludedFields"); v.Kind() != 0 {
		list := v.Elements(maxNames, 1)
		if list == nil {
			return refuse(CodeSchema, "excludedFields is not a list")
		}
		for _, e := range list {
			if !slices.Contains(inMeta[:], strings.TrimPrefix(e.String(), "meta.")) {
				return refuse(CodeSchema, "it leaves out %q", shown(e))
			}
		}
	}
	a := env.Get("attestation")
	if a.Kind() != '{' || a.Get("kid").Kind() != '"' {
		return refuse(CodeSchema, "attestation is missing, or names no key")
	}
	for i := range a.Len() {
		if !slices.Contains(signedAttestation[:], string(a.MemberName(i))) {
			return refuse(CodeSchema, "attestation holds more than is signed")
		}
	}
	b := pick([]byte(`{"attestation":`), a, listed(signedAttestation[:]))
	b = c.cleaned(append(b, `,"bundle":`...))
	b = append(b, `,"envelopeType":"`+envelopeV2+`"}`...)
	kid := firstOf(env, "kid")
	if kid.Kind() == 0 {
		kid = a.Get("kid")
	}
	return c.attested(env, signature, b, kid, false)
}

// cleaned appends the record without its envelope, and without a meta that held
// nothing else.
func (c *check) cleaned(dst []byte) []byte {
	separator := byte('{')
	for i := range c.record.Len() {
		name, v := c.record.Member(i)
		if slices.Contains(inMeta[:], name) {
			continue
		}
		if name != "meta" || v.Kind() != '{' {
			dst = c.record.AppendMember(append(dst, separator), i)
			separator = ','
			continue
		}
		stays := func(inner string) bool { return !slices.Contains(inMeta[:], inner) }
		empty := true
		for j := range v.Len() {
			empty = empty && !stays(string(v.MemberName(j)))
		}
		if !empty {
			dst = pick(append(append(dst, separator), `"meta":`...), v, stays)
			separator = ','
		}
	}
	return append(dst, '}')
}

// envelopeV1 judges the oldest form, which signs itself. It binds a record only
// if it names its hash, and is an envelope only if what is signed says so: a
// receipt names the hash too.
func (c *check) envelopeV1(env, signature canon.Value) *refusal {
	c.note(NoteLegacy, "envelope: of the first form, of which no signature was published")
	if bound := env.Get("certificateHash"); c.claimed == "" || !bound.Is(c.claimed) {
		return refuse(CodeReceiptHash, "it does not name this record")
	}
	if !env.Get("envelopeType").Is(envelopeV1) || env.Get("receiptVersion").Kind() != 0 {
		return refuse(CodeSchemaVersion, "what it signs does not say that it is an envelope")
	}
	kid := firstOf(env, "kid")
	if kid.Kind() == 0 {
		kid = firstOf(c.record.Get("meta").Get("attestation"), "attestorKeyId", "kid")
	}
	k, code, why := c.verifySignature(kid, signature, env.Canonical(), true)
	if k == nil {
		return refuse(code, "%s", why)
	}
	c.aboutKey("envelope", k, env.Get("attestedAt"))
	return nil
}
