package verifier

import (
	"bytes"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/limits"
)

// Bounds of a policy, beside the size of its file (SPEC, section 9).
const (
	maxPolicyName     = 256     // bytes
	maxReason         = 1024    // bytes
	maxAlternatives   = 64      // sets of formats
	maxSPKI           = 1024    // keys of one format
	maxComponents     = 1 << 16 // components; a log has no more events
	maxComponentName  = 4096    // bytes
	maxNameShown      = 100     // bytes, in messages
	maxDigests        = 64      // of one component
	maxComponentValue = 1 << 16 // bytes; an event holds no more
	maxDevices        = 64
	maxDeviceName     = 255 // bytes
	maxRegister       = 15  // PCRs 16 and 23 can be reset by software
)

// formatTPM is the name of the format of a TPM's quotes, package tpm's.
const formatTPM = "tpm"

// allDevices is what an isolation that keeps nothing away records as the job's
// devices; a policy that named it would accept every device.
const allDevices = "host"

// valid enforces every rule of a policy, also of one made by hand. The error
// wraps ErrPolicy.
func (p *Policy) valid() error {
	if p == nil {
		return fmt.Errorf("%w: none given", ErrPolicy)
	}
	if p.Type != PolicyType {
		return policyError("type", "is %q, want %q", p.Type, PolicyType)
	}
	if p.Name != "" {
		if err := checkLine(p.Name, maxPolicyName); err != nil {
			return policyError("name", "%w", err)
		}
	}
	for _, check := range []func() error{
		p.checkSlots, p.checkFormats, p.checkComponents, p.checkSigners, p.checkRecordSigners, p.checkChoices, p.checkLedger, p.checkLists, p.checkExit,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return checkWaivers(p.Waive)
}

// checkSlots checks the alternatives; each format in them must have its rules.
func (p *Policy) checkSlots() error {
	if n := len(p.Slots); n == 0 || n > maxAlternatives {
		return policyError("slots", `has %d sets, want 1 to %d, such as [["tpm"]]`, n, maxAlternatives)
	}
	for i, set := range p.Slots {
		at := fmt.Sprintf("slots[%d]", i)
		if n := len(set); n == 0 || n > attest.MaxSlots {
			return policyError(at, "has %d formats, want 1 to %d", n, attest.MaxSlots)
		}
		for j, f := range set {
			if slices.Contains(set[:j], f) {
				return policyError(at, "format %q stands twice", f)
			}
			if _, ok := p.Formats[f]; !ok {
				return policyError("formats", "has no member %q, which %s allows", f, at)
			}
		}
		for j, other := range p.Slots[:i] {
			if sameSet(set, other) {
				return policyError(at, "is the same set as slots[%d]", j)
			}
		}
	}
	return nil
}

// sameSet reports whether two lists without duplicates hold the same strings.
func sameSet(a, b []string) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(s string) bool { return !slices.Contains(b, s) })
}

// checkFormats checks the rules of every format, in the order of their names.
func (p *Policy) checkFormats() error {
	for _, name := range slices.Sorted(maps.Keys(p.Formats)) {
		d, ok := describe(name)
		if !ok {
			return policyError("formats", "has %.80q, this version appraises %s", name, formatNames())
		}
		f := p.Formats[name]
		if err := f.check("formats."+name, &d); err != nil {
			return err
		}
	}
	return nil
}

// checkKeyID checks the id of a key that is not among others.
func checkKeyID(member, id string, others []string) error {
	if slices.Contains(others, id) {
		return policyError(member, "stands twice")
	}
	if !strings.HasPrefix(id, cer.SchemeSHA256+":") || cer.CheckDigest(id) != nil {
		return policyError(member, "is %q, want sha256: and 64 lower-case hexadecimal digits", id)
	}
	return nil
}

// checkSigners checks who must have signed which weights.
func (p *Policy) checkSigners() error {
	if n := len(p.ModelSigners); n > maxSPKI {
		return policyError("model_signers", "has %d, limit %d", n, maxSPKI)
	}
	for i, m := range p.ModelSigners {
		at := fmt.Sprintf("model_signers[%d]", i)
		if slices.ContainsFunc(p.ModelSigners[:i], func(o ModelSigner) bool { return o.Weights == m.Weights }) {
			return policyError(at, "weights %q are listed twice", m.Weights)
		}
		if m.Weights == "" || len(m.Weights) > maxComponentName || !utf8.ValidString(m.Weights) {
			return policyError(at+".weights", "want the name of weights, such as default")
		}
		if err := m.check(at); err != nil {
			return err
		}
	}
	return nil
}

// check checks who may have signed.
func (m *ModelSigner) check(at string) error {
	if n := len(m.SPKI); n > maxSPKI || n == 0 && len(m.Identities) == 0 {
		return policyError(at+".spki", "has %d keys, want 1 to %d, or identities", n, maxSPKI)
	}
	for j, s := range m.SPKI {
		if err := checkKeyID(fmt.Sprintf("%s.spki[%d]", at, j), s, m.SPKI[:j]); err != nil {
			return err
		}
	}
	if n := len(m.Identities); n > maxSPKI {
		return policyError(at+".identities", "has %d, limit %d", n, maxSPKI)
	}
	for j, id := range m.Identities {
		member := fmt.Sprintf("%s.identities[%d]", at, j)
		if err := id.Check(); err != nil {
			return policyError(member, "%w", err)
		}
		if slices.Contains(m.Identities[:j], id) {
			return policyError(member, "stands twice")
		}
	}
	return nil
}

// bankAccepted reports whether a policy may name the bank.
func bankAccepted(name string) bool {
	a, err := attest.ParseAlg(name)
	return err == nil && a.Accepted()
}

// checkComponents checks every component and that none is listed twice.
func (p *Policy) checkComponents() error {
	if n := len(p.Components); n > maxComponents {
		return policyError("components", "has %d, limit %d", n, maxComponents)
	}
	type key struct{ role, name string }
	seen := make(map[key]int, len(p.Components))
	for i := range p.Components {
		c := &p.Components[i]
		at := componentMember(i, c)
		if err := c.check(at); err != nil {
			return err
		}
		k := key{c.Role, c.Name}
		if j, ok := seen[k]; ok {
			return policyError(at, "is listed twice, also as components[%d]", j)
		}
		seen[k] = i
	}
	return nil
}

// componentMember names a component in errors.
func componentMember(i int, c *PolicyComponent) string {
	short := cer.Component{Role: c.Role, Name: c.Name}
	if len(short.Name) > maxNameShown {
		short.Name = short.Name[:maxNameShown] + "…"
	}
	return fmt.Sprintf("components[%d] (%s)", i, short.Key())
}

// check checks one component.
func (c *PolicyComponent) check(at string) error {
	if len(c.Name) > maxComponentName || !utf8.ValidString(c.Name) {
		return policyError(at, "name: want at most %d bytes of UTF-8", maxComponentName)
	}
	if file := (&cer.Component{Role: c.Role}).IsFile(); c.Path != "" && (!file || len(c.Path) > maxComponentName ||
		!utf8.ValidString(c.Path) || !path.IsAbs(c.Path) || path.Clean(c.Path) != c.Path) {
		return policyError(at, "path: want a clean absolute path of at most %d bytes, of a file in the job's root", maxComponentName)
	}
	switch c.Role {
	case cer.RoleLauncher, cer.RoleBinary, cer.RoleInterpreter, cer.RoleScriptInterpreter,
		cer.RoleLibrary, cer.RoleWeights, cer.RoleConfig, cer.RoleFile,
		cer.RoleManifest, cer.RoleModelSignature, cer.RoleImage:
		if c.Value != nil {
			return policyError(at, "has a value, want digests")
		}
		if c.Name == "" {
			return policyError(at, "has no name")
		}
		return c.checkDigests(at)
	case cer.RoleArgv, cer.RoleEnv, cer.RoleLimit:
		if c.Digest != nil {
			return policyError(at, "has digests, want a value")
		}
		return c.checkValue(at)
	default:
		return policyError(at, "role %q is unknown", c.Role)
	}
}

// checkDigests checks the digests of a component that has bytes.
func (c *PolicyComponent) checkDigests(at string) error {
	if n := len(c.Digest); n == 0 || n > maxDigests {
		return policyError(at, "has %d digests, want 1 to %d", n, maxDigests)
	}
	for i, d := range c.Digest {
		if err := cer.CheckComponentDigest(d); err != nil {
			return policyError(at, "%w", err)
		}
		if slices.Contains(c.Digest[:i], d) {
			return policyError(at, "digest %q stands twice", d)
		}
	}
	return nil
}

// checkValue checks the name and the value of argv, env and limit.
func (c *PolicyComponent) checkValue(at string) error {
	if c.Value == nil {
		return policyError(at, "has neither digest nor value, want a value")
	}
	if len(c.Value) > maxComponentValue {
		return policyError(at, "value has %d bytes, limit %d", len(c.Value), maxComponentValue)
	}
	switch {
	case c.Role == cer.RoleArgv && c.Name != "":
		return policyError(at, "has a name, want none: a launch has one command")
	case c.Role != cer.RoleArgv && (c.Name == "" || strings.ContainsAny(c.Name, "=\x00")):
		return policyError(at, "name: want that of an environment variable or a limit")
	}
	var text string
	var words []string
	switch {
	case c.Role != cer.RoleArgv && cer.UnmarshalStrict(c.Value, limits.CapsuleDepth, &text) != nil:
		return policyError(at, "value: want a string: %w", cer.ErrSchema)
	case c.Role == cer.RoleArgv && (cer.UnmarshalStrict(c.Value, limits.CapsuleDepth, &words) != nil || len(words) == 0):
		return policyError(at, "value: want an array of at least one string: %w", cer.ErrSchema)
	}
	canonical := c.Value.Clone()
	if err := canonical.Canonicalize(); err != nil || !bytes.Equal(canonical, c.Value) {
		return policyError(at, "value is not in RFC 8785 form")
	}
	return nil
}

// checkChoices checks the members that are one word of a few.
func (p *Policy) checkChoices() error {
	switch p.Others {
	case OthersRefuse, OthersReport:
	default:
		return policyError("others", "is %q, want %q or %q", p.Others, OthersRefuse, OthersReport)
	}
	switch p.PriorLaunches {
	case PriorNone, PriorSameLauncher, PriorAny:
	default:
		return policyError("prior_launches", "is %q, want %q, %q or %q", p.PriorLaunches, PriorNone, PriorSameLauncher, PriorAny)
	}
	switch p.Series {
	case SeriesNone, SeriesCounter:
	default:
		return policyError("series", "is %q, want %q or %q", p.Series, SeriesNone, SeriesCounter)
	}
	return nil
}

// checkLists checks protections, disclosures and devices.
func (p *Policy) checkLists() error {
	for i, s := range p.Protection {
		at := fmt.Sprintf("protection[%d]", i)
		switch {
		case s == cer.ProtectionNone:
			return policyError(at, "is %q, which is never acceptable: waive protection.storage instead", s)
		case s != cer.ProtectionSealed && s != ProtectionVerity:
			return policyError(at, "is %q, want %q or %q", s, cer.ProtectionSealed, ProtectionVerity)
		case slices.Contains(p.Protection[:i], s):
			return policyError(at, "%q stands twice", s)
		}
	}
	for i, s := range p.Disclosure {
		at := fmt.Sprintf("disclosure[%d]", i)
		switch {
		case s != cer.DiscloseFull && s != cer.DiscloseHash && s != cer.DiscloseCommit:
			return policyError(at, "is %q, want %q, %q or %q", s, cer.DiscloseFull, cer.DiscloseHash, cer.DiscloseCommit)
		case slices.Contains(p.Disclosure[:i], s):
			return policyError(at, "%q stands twice", s)
		}
	}
	if n := len(p.Devices); n > maxDevices {
		return policyError("devices", "has %d, limit %d", n, maxDevices)
	}
	for i, d := range p.Devices {
		at := fmt.Sprintf("devices[%d]", i)
		switch {
		case !deviceName(d):
			return policyError(at, "is %.100q, want a path below /dev without blanks, such as nvidia0", d)
		case d == allDevices:
			return policyError(at, "is %q, which would be every device: waive compute.inside instead", d)
		case slices.Contains(p.Devices[:i], d):
			return policyError(at, "%q stands twice", d)
		}
	}
	return nil
}

// deviceName reports whether d is a clean path below /dev, relative to it and
// in printable ASCII without blanks.
func deviceName(d string) bool {
	if d == "" || len(d) > maxDeviceName || path.IsAbs(d) || path.Clean(d) != d || d == "." || d == ".." || strings.HasPrefix(d, "../") {
		return false
	}
	return cer.PlainDevice(d)
}

// checkExit checks the exit codes.
func (p *Policy) checkExit() error {
	if len(p.Exit) == 0 {
		return policyError("exit", "is missing or empty, want the acceptable exit codes, such as [0]")
	}
	for i, code := range p.Exit {
		at := fmt.Sprintf("exit[%d]", i)
		if code < 0 || code > 255 {
			return policyError(at, "is %d, want 0 to 255", code)
		}
		if slices.Contains(p.Exit[:i], code) {
			return policyError(at, "%d stands twice", code)
		}
	}
	return nil
}

// checkLine checks text that reports print for people.
func checkLine(s string, size int) error {
	switch {
	case len(s) > size:
		return fmt.Errorf("has %d bytes, limit %d", len(s), size)
	case !utf8.ValidString(s):
		return fmt.Errorf("is %q, want UTF-8", s)
	case strings.TrimSpace(s) == "":
		return fmt.Errorf("is %q, want text", s)
	case strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }):
		return fmt.Errorf("is %q, want one printable line", s)
	default:
		return nil
	}
}
