package verifier

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
)

// Lint returns what a person should know before relying on the policy, one
// line each, in the order of the members: what weakens it, and what keeps any
// record from passing. A policy that is not valid gets the reason as its one
// line. Nil means that there is nothing to say.
func (p *Policy) Lint() []string {
	if err := p.valid(); err != nil {
		return []string{err.Error()}
	}
	l := linter{p: p}
	l.formats()
	l.components()
	l.signers()
	l.recordSigners()
	l.job()
	l.freshness()
	l.ledger()
	for _, w := range p.Waive {
		l.say("waive: %s need not pass, every verdict says so: %s", w.Check, w.Reason)
	}
	return l.lines
}

// linter collects the lines.
type linter struct {
	p     *Policy
	lines []string
}

func (l *linter) say(format string, args ...any) {
	l.lines = append(l.lines, fmt.Sprintf(format, args...))
}

// waived reports whether the policy waives a check.
func (l *linter) waived(check string) bool {
	return slices.ContainsFunc(l.p.Waive, func(w Waiver) bool { return w.Check == check })
}

// programs reports whether every set of evidence has some that says which program the
// launcher is.
func (l *linter) programs() bool {
	return !slices.ContainsFunc(l.p.Slots, func(set []string) bool {
		return !slices.ContainsFunc(set, func(name string) bool {
			d, ok := describe(name)
			return ok && d.Program
		})
	})
}

// formats looks at slots and formats.
func (l *linter) formats() {
	if n := len(l.p.Slots); n > 1 {
		l.say("slots: any one of %d sets of evidence suffices", n)
	}
	for _, name := range slices.Sorted(maps.Keys(l.p.Formats)) {
		d, ok := describe(name)
		if !ok {
			continue
		}
		f, at := l.p.Formats[name], "formats."+name
		if n := len(f.Identity.SPKI); n > 1 {
			l.say("%s.identity: any one of %d roots suffices", at, n)
		}
		if quotesPCRs(&d) && len(d.Measurements) == 0 {
			l.boot(at+".boot", &f.Boot)
			continue
		}
		l.launched(at, &f, &d)
		l.platform(at, &f, &d)
	}
}

// launched looks at the reference values of what a confidential VM launched.
func (l *linter) launched(at string, f *FormatPolicy, d *attest.Description) {
	if !f.namesImage(d) && f.Boot.empty() && !l.waived("slot.measurement") {
		l.say("%s: names no image, neither in images nor in measurements, so slot.measurement is not established and no record passes unless it is waived", at)
	}
	if len(f.Images) > 1 {
		l.say("%s.images: any one of %d images suffices", at, len(f.Images))
	}
	for _, name := range slices.Sorted(maps.Keys(f.Measurements)) {
		if n := len(f.Measurements[name]); n > 1 {
			l.say("%s.measurements.%s: any one of %d values suffices", at, name, n)
		}
	}
	if quotesPCRs(d) {
		l.boot(at+".boot", &f.Boot)
		return
	}
	if d.Program || l.waived("launcher.rooted") {
		return
	}
	if len(f.Images) == 0 {
		l.say("%s.images: is empty, so launcher.rooted is not established", at)
	}
	for i := range f.Images {
		if problem := f.Images[i].open(); problem != "" {
			l.say("%s.images[%d]: launcher.rooted is not established where it was launched: %s", at, i, problem)
		}
	}
}

// platform looks at how new a platform must be, and at what its firmware may allow.
func (l *linter) platform(at string, f *FormatPolicy, d *attest.Description) {
	if !d.VendorStatus && len(d.Versions) > 0 && len(f.TCB.Minimum) == 0 && !l.waived("slot.tcb") {
		l.say("%s.tcb.minimum: is empty, and the vendor publishes no status: slot.tcb is not established and no record passes unless it is waived", at)
	}
	for _, s := range f.TCB.Status {
		if s != StatusUpToDate {
			l.say("%s.tcb.status: accepts %s, of which the vendor says that it is not up to date", at, s)
		}
	}
	if n := len(f.TCB.AdvisoriesAllowed); n > 0 {
		l.say("%s.tcb.advisories_allowed: %d advisories of the vendor may apply", at, n)
	}
	for _, x := range d.Attributes {
		if v, ok := f.Attributes[x.Name]; ok && !x.Free && v != x.Default {
			l.say("%s.attributes.%s: wants %d, where %d is the safe value", at, x.Name, v, x.Default)
		}
	}
}

// boot looks at the reference values of what booted.
func (l *linter) boot(at string, b *BootPolicy) {
	if b.empty() {
		for _, check := range []string{"slot.measurement", "launcher.rooted"} {
			if !l.waived(check) {
				l.say("%s: is empty, so %s is not established and no record passes unless it is waived", at, check)
			}
		}
		return
	}
	if len(b.Images) > 1 {
		l.say("%s.images: any one of %d images suffices", at, len(b.Images))
	}
	for _, n := range slices.Sorted(maps.Keys(b.Registers)) {
		if m := len(b.Registers[n]); m > 1 {
			l.say("%s.registers: any one of %d values of PCR %s suffices", at, m, n)
		}
	}
	if l.waived("launcher.rooted") {
		return
	}
	if problem := openFirmware(b); problem != "" {
		l.say("%s.registers: launcher.rooted is not established: %s", at, problem)
	}
	if len(b.Images) == 0 {
		l.say("%s.images: is empty, so launcher.rooted is not established", at)
	}
	for i := range b.Images {
		x := &b.Images[i]
		switch problem := openKernel(x.Cmdline); {
		case x.Cmdline == "":
			l.say("%s.images[%d]: has no cmdline, so launcher.rooted is not established where it booted", at, i)
		case problem != "":
			l.say("%s.images[%d]: launcher.rooted is not established where it booted: %s", at, i, problem)
		case len(x.Launchers) == 0:
			l.say("%s.images[%d]: has no launcher in it, so launcher.rooted is not established where it booted", at, i)
		case b.SecureBoot == nil:
			l.say("%s.images[%d]: launcher.rooted is not established where it booted: no secure_boot is wanted, without which systemd in it takes options from a variable that nothing measures", at, i)
		case x.openInitrd() != "":
			l.say("%s.images[%d]: launcher.rooted is not established where it booted: %s", at, i, x.openInitrd())
		}
	}
}

// components looks at what must have run.
func (l *linter) components() {
	count := map[string]int{}
	for i := range l.p.Components {
		c := &l.p.Components[i]
		count[c.Role]++
		if n := alternatives(c.Digest); n > 1 {
			l.say("%s: any one of %d digests of one scheme suffices", componentMember(i, c), n)
		}
		if c.bindsNoNames() {
			l.say("%s: has no digest of scheme %s, so it binds no file names: each of its files must be listed as weights", componentMember(i, c), cer.SchemeList)
		}
		if c.Role == cer.RoleArgv && strings.Contains(string(c.Value), "{param:") {
			l.say("%s: holds {param:…}, for which any value suffices; verdicts show it", componentMember(i, c))
		}
	}
	refuse := l.p.Others == OthersRefuse
	for _, role := range []string{cer.RoleLauncher, cer.RoleBinary, cer.RoleArgv} {
		switch {
		case count[role] > 0 || role == cer.RoleBinary && count[cer.RoleImage] > 0 || role == cer.RoleLauncher && l.programs():
		case refuse:
			l.say("components: lists no %s, which every launch has, and others are refused: no record passes", role)
		default:
			l.say("components: lists no %s, so any suffices for components.match", role)
		}
	}
	if count[cer.RoleWeights] == 0 {
		if refuse {
			l.say("components: lists no weights, so a job that was given any is refused")
		} else {
			l.say("components: lists no weights, so any suffice for components.match")
		}
	}
	if !refuse {
		l.say("others: %q lets components.match pass whatever else was measured", OthersReport)
	}
}

// job looks at what the job may do and how it may end.
func (l *linter) job() {
	p := l.p
	if len(p.Protection) == 0 && !l.waived("protection.storage") {
		l.say("protection: is empty, so protection.storage cannot pass")
	}
	devices := strings.Join(p.Devices, ", ")
	switch {
	case slices.ContainsFunc(p.Devices, accelerator) && !l.waived("compute.inside"):
		l.say("devices: with an accelerator among %s, compute.inside cannot pass", devices)
	case len(p.Devices) > 0:
		l.say("devices: the job may open %s, where nothing is attested", devices)
	}
	if p.Network {
		l.say("network: the job may have had one, so what it computed may have come from elsewhere")
	}
	for _, code := range p.Exit {
		if code != 0 {
			l.say("exit: accepts %d, by which programs report failure", code)
		}
	}
}

// freshness looks at nonces, time and earlier launches.
func (l *linter) freshness() {
	p := l.p
	switch {
	case !p.Nonce.Quote && !p.Nonce.Execution:
		l.say("nonce: none is asked for, so an old record passes for a new one")
	case !p.Nonce.Execution:
		l.say("nonce: asked for in the quote only, so the quote is fresh and the job may be older")
	case !p.Nonce.Quote:
		l.say("nonce: asked for in the record only, not in the quote")
	}
	if !p.Time.Token {
		l.say("time: no time stamp is asked for, so no verdict holds as of the record's time")
	}
	if p.PriorLaunches == PriorAny {
		l.say("prior_launches: %q lets any program have used the register before", PriorAny)
	}
	if p.Series == SeriesCounter {
		l.say("series: %q shows no launch before the first and after the last record given, and whoever owns the TPM can count without a launch, which looks like one that is not shown", SeriesCounter)
	}
	if p.AllowAt {
		l.say("allow_at: the verdict at a time chosen by whoever verifies may decide")
	}
}

// alternatives returns how many digests of one scheme are acceptable, at the most.
func alternatives(digests []string) int {
	most, schemes := 0, map[string]int{}
	for _, d := range digests {
		schemes[cer.DigestScheme(d)]++
		most = max(most, schemes[cer.DigestScheme(d)])
	}
	return most
}

// signers looks at who may sign models.
func (l *linter) signers() {
	for i := range l.p.ModelSigners {
		m := &l.p.ModelSigners[i]
		at := fmt.Sprintf("model_signers[%d] (%s)", i, oneLine(m.Weights))
		if n := len(m.SPKI); n > 1 {
			l.say("%s.spki: any one of %d keys suffices", at, n)
		}
		if n := len(m.Identities); n > 1 {
			l.say("%s.identities: any one of %d suffices", at, n)
		}
		if len(m.SPKI) > 0 && len(m.Identities) > 0 {
			l.say("%s: a signature is by a key or by an identity, never by both: either suffices, and spki does not say whose key an identity signs with", at)
		}
		l.identities(at, m)
		if l.p.Others == OthersRefuse && !slices.ContainsFunc(l.p.Components, func(c PolicyComponent) bool {
			return c.Role == cer.RoleModelSignature && c.Name == m.Weights
		}) {
			l.say("%s: components lists no %s of that name, and others are refused: no record passes", at, cer.RoleModelSignature)
		}
	}
	if len(l.p.ModelSigners) > 0 && l.waived("model.signature") {
		l.say("model_signers: names signers, and model.signature is waived: anybody may have signed, or nobody")
	}
}

// identities looks at identities that are not what Sigstore's certificates have.
func (l *linter) identities(at string, m *ModelSigner) {
	for j, id := range m.Identities {
		at := fmt.Sprintf("%s.identities[%d]", at, j)
		if !strings.HasPrefix(id.Issuer, "https://") {
			l.say("%s.issuer: %q is no https address, as issuers are: it is compared as it stands", at, id.Issuer)
		}
		if strings.ContainsAny(id.Subject, "*^$\\") || strings.TrimSpace(id.Subject) != id.Subject {
			l.say("%s.subject: %q looks like a pattern, or has blanks around it: it is compared as it stands", at, id.Subject)
		}
	}
}
