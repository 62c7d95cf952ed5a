package verifier

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/sworn-run/sworn/cer"
)

// factYes is the value of an isolation fact that holds.
const factYes = "yes"

// noLaunch is the outcome of every component check without a readable launch.
func (a *appraisal) noLaunch() (outcome, bool) {
	switch {
	case a.own == nil || a.launchErr != nil:
		return unknown("the launch cannot be read"), true
	case a.in.Policy == nil:
		return unknown("no policy given"), true
	default:
		return outcome{}, false
	}
}

// componentID names a component: no two of a launch, or of a policy, have one.
type componentID struct{ role, name string }

// listed returns the components that the policy lists.
func (a *appraisal) listed() map[componentID]bool {
	if a.policyLists != nil {
		return a.policyLists
	}
	a.policyLists = map[componentID]bool{}
	for i := range a.in.Policy.Components {
		a.policyLists[componentID{a.in.Policy.Components[i].Role, a.in.Policy.Components[i].Name}] = true
	}
	return a.policyLists
}

// unlisted returns the first component that the policy does not list; nil if it
// lists all. A launcher that is the very program that the evidence is of need not be
// listed: which program that may be, slot.measurement says.
func (a *appraisal) unlisted() *cer.Component {
	listed := a.listed()
	for _, c := range a.components {
		if listed[componentID{c.Role, c.Name}] {
			continue
		}
		if c.Role != cer.RoleLauncher || !slices.ContainsFunc(a.slots, func(s slotResult) bool { return s.measured(c) }) {
			return c
		}
	}
	return nil
}

func checkComponentsMatch(a *appraisal) outcome {
	if o, no := a.noLaunch(); no {
		return o
	}
	measured := map[string]*cer.Component{}
	for _, c := range a.components {
		measured[c.Key()] = c
	}
	for i := range a.in.Policy.Components {
		p := &a.in.Policy.Components[i]
		key := p.key()
		found := measured[key]
		if found == nil {
			return failed(key+" was not measured").with(strings.Join(p.Digest, " or ")+string(p.Value), "")
		}
		if p.Value != nil {
			if string(found.Value) != string(p.Value) {
				return failed(fmt.Sprintf("%s is %s, policy wants %s", key, found.Value, p.Value)).with(string(p.Value), string(found.Value))
			}
			continue
		}
		if !cer.MatchDigests(found.Digest, p.Digest) {
			got, want := differing(found.Digest, p.Digest)
			return failed(fmt.Sprintf("%s is %s, policy wants %s", key, shortDigest(got), shortDigest(want))).
				with(strings.Join(p.Digest, " or "), strings.Join(found.Digest, " or "))
		}
		if p.Path != "" && found.Path != p.Path {
			return failed(fmt.Sprintf("%s stood at %q, policy wants it at %q", key, found.Path, p.Path)).with(p.Path, found.Path)
		}
	}
	if problem := a.wrongManifest(); problem != "" {
		return failed(problem)
	}
	if problem := a.unnamed(); problem != "" {
		return failed(problem)
	}
	if a.in.Policy.Others != OthersReport {
		if c := a.unlisted(); c != nil {
			return failed(c.Key()+" was measured, and the policy does not list it").with("", strings.Join(c.Digest, " or ")+string(c.Value))
		}
	}
	return passed(fmt.Sprintf("%d components as the policy lists them", len(a.in.Policy.Components)))
}

// differing picks those of two lists of digests that say best how they differ: of
// the flat scheme if both have it, else of one that both have, else all.
func differing(got, want []string) (g, w []string) {
	of := func(list []string, scheme string) []string {
		return slices.DeleteFunc(slices.Clone(list), func(d string) bool { return cer.DigestScheme(d) != scheme })
	}
	for _, d := range append([]string{cer.SchemeSHA256 + ":"}, got...) {
		scheme := cer.DigestScheme(d)
		g, w = of(got, scheme), of(want, scheme)
		if len(g) > 0 && len(w) > 0 && !slices.Contains(w, g[0]) {
			return g, w
		}
	}
	return got, want
}

// shortDigest shortens digests for one line.
func shortDigest(ds []string) string {
	var out []string
	for _, d := range ds {
		if i := strings.LastIndexByte(d, ':'); i >= 0 && len(d) > i+13 {
			d = d[:i+13] + "…"
		}
		out = append(out, d)
	}
	return strings.Join(out, " or ")
}

func checkComponentsClosed(a *appraisal) outcome {
	if o, no := a.noLaunch(); no {
		return o
	}
	iso := a.environments[cer.KindIsolation]
	for _, name := range []string{"closed_root", "read_only_root"} {
		if v, _ := iso.Get(name); v != factYes {
			return unknown(fmt.Sprintf("the job's root was not closed: %s is %q", name, v))
		}
	}
	if c := a.unlisted(); c != nil {
		return failed(c.Key() + " was measured, and the policy does not list it")
	}
	return passed(fmt.Sprintf("%d files, read-only, nothing else", a.countFiles()))
}

func (a *appraisal) countFiles() int {
	n := 0
	for _, c := range a.components {
		if c.IsFile() {
			n++
		}
	}
	return n
}

func checkProtectionStorage(a *appraisal) outcome {
	if o, no := a.noLaunch(); no {
		return o
	}
	for _, c := range a.components {
		if c.Protected() && !slices.Contains(a.in.Policy.Protection, protectionClass(c.Protection)) {
			return failed(fmt.Sprintf("%s has protection %q", c.Key(), c.Protection)).with(strings.Join(a.in.Policy.Protection, " or "), c.Protection)
		}
	}
	return passed(protections(a.components))
}

// protectionClass returns the policy's word for a protection.
func protectionClass(p string) string {
	if p == cer.ProtectionFSVerity || p == cer.ProtectionDMVerity {
		return ProtectionVerity
	}
	return p
}

// protections says in one line how the files were kept.
func protections(components []*cer.Component) string {
	var sealed, verity int
	image := ""
	for _, c := range components {
		switch {
		case c.Role == cer.RoleImage && c.Protected():
			image = "the image and "
		case !c.IsFile():
		case protectionClass(c.Protection) == ProtectionVerity:
			verity++
		default:
			sealed++
		}
	}
	if verity == 0 && image == "" {
		return "every file in a private copy that was hashed while it was made"
	}
	return fmt.Sprintf("%s%d file(s) checked by the kernel at every read (verity), %d in private copies hashed while they were made", image, verity, sealed)
}

func checkProtectionMemory(a *appraisal) outcome {
	if a.own == nil || a.launchErr != nil {
		return unknown("the launch cannot be read")
	}
	if a.runtime == nil {
		return unknown("the record cannot be read")
	}
	iso := a.environments[cer.KindIsolation]
	if iso.Inside() && a.program() {
		return passed("the job ran in the enclave, whose memory the processor keeps")
	}
	for _, name := range []string{"no_core", "launcher_non_dumpable", "init_non_dumpable"} {
		if v, _ := iso.Get(name); v != factYes {
			return failed(fmt.Sprintf("%s is %q", name, v)).with(factYes, v)
		}
	}
	if o, bad := memoryLeaves(a.environments[cer.KindMemory], ""); bad {
		return o
	}
	after := cer.NewEnvironment(cer.KindMemory, a.runtime.After)
	if o, bad := memoryLeaves(after, " after the job's end"); bad {
		return o
	}
	for _, name := range hostState() {
		before, _ := a.environments[cer.KindHost].Get(name)
		if got, _ := after.Get(name); got != before {
			return failed(fmt.Sprintf("%s changed during the job, from %q to %q", name, before, got)).with(before, got)
		}
	}
	return passed("no swap, no hibernation, no core dumps, before the job and after it")
}

// hostState are the facts of the host environment that are read again after the
// job.
func hostState() []string {
	return []string{"lockdown", "module_sig_enforce", "modules_disabled", "yama_ptrace_scope"}
}

// memoryLeaves says by which of the facts memory can leave the machine, and
// whether it can.
func memoryLeaves(mem *cer.Environment, when string) (outcome, bool) {
	if v, _ := mem.Get("swap"); v != "none" && v != "zram" {
		return failed(fmt.Sprintf("swap is %q%s", v, when)).with("none or zram", v), true
	}
	for _, f := range []struct{ name, want string }{{"hibernation", "none"}, {"kexec_loaded", "no"}} {
		if v, _ := mem.Get(f.name); v != f.want {
			return failed(fmt.Sprintf("%s is %q%s", f.name, v, when)).with(f.want, v), true
		}
	}
	if v, ok := mem.Get("core_pattern"); !ok || strings.HasPrefix(v, "@") {
		return failed(fmt.Sprintf("core_pattern %q%s sends memory to a socket, or is not known", v, when)), true
	}
	return outcome{}, false
}

func checkComputeInside(a *appraisal) outcome {
	if o, no := a.noLaunch(); no {
		return o
	}
	iso := a.environments[cer.KindIsolation]
	if a.program() && !iso.Inside() {
		return failed("the job ran in a process of its own, outside of the enclave that the evidence is of")
	}
	if v, _ := iso.Get("network"); v != "none" && !a.in.Policy.Network {
		return unknown(fmt.Sprintf("the job had a network (%q)", v)).with("none", v)
	}
	devices, ok := iso.Get("devices")
	if !ok {
		return unknown("the job's devices are not recorded")
	}
	for _, d := range cer.Devices(devices) {
		switch {
		case d == "null" || d == "urandom":
		case !slices.Contains(a.in.Policy.Devices, d):
			return failed(fmt.Sprintf("the job could open device %q", d)).with(strings.Join(a.in.Policy.Devices, " "), devices)
		case accelerator(d):
			return failed(fmt.Sprintf("device %q is an accelerator, and no evidence in the record speaks for it", d)).with("", devices)
		}
	}
	numbers, _ := iso.Get("device_numbers")
	named, err := cer.NamedDevices(devices, numbers)
	if err != nil {
		return failed(err.Error()).with("", numbers)
	}
	seen := []string{"null urandom"}
	if iso.Inside() {
		seen = []string{"none"}
	}
	for _, d := range named {
		if acceleratorNumber(&d) {
			return failed(fmt.Sprintf("device %q is an accelerator by its number %s, and no evidence in the record speaks for it", d.Name, d.Number())).with("", numbers)
		}
		seen = append(seen, fmt.Sprintf("%s (%s)", d.Name, d.Number()))
	}
	network, _ := iso.Get("network")
	return passed(fmt.Sprintf("network %s, devices %s", network, strings.Join(seen, ", ")))
}

func askedNonceQuote(a *appraisal) bool {
	return a.in.Nonce != nil || a.in.Policy != nil && a.in.Policy.Nonce.Quote
}

// askedNonceExecution: the policy asks for it, or a nonce was given and no
// policy says that the quote's is enough.
func askedNonceExecution(a *appraisal) bool {
	p := a.in.Policy
	if p != nil && (p.Nonce.Execution || p.Nonce.Quote) {
		return p.Nonce.Execution
	}
	return a.in.Nonce != nil
}

func checkNonceQuote(a *appraisal) outcome {
	switch {
	case !askedNonceQuote(a):
		return notApplicable("no nonce was asked for")
	case a.in.Nonce == nil:
		return unknown("the policy asks for a nonce, and none was given to compare with")
	case a.statement == nil:
		return unknown("the statement cannot be read")
	case len(a.statement.Nonce) == 0:
		return failed("the quote holds no nonce").with(hex.EncodeToString(a.in.Nonce), "")
	case !slices.Equal(a.statement.Nonce, a.in.Nonce):
		return failed("the quote holds another nonce").with(hex.EncodeToString(a.in.Nonce), hex.EncodeToString(a.statement.Nonce))
	}
	return passed("your nonce is in the quote")
}

func checkNonceExecution(a *appraisal) outcome {
	switch {
	case !askedNonceExecution(a):
		return notApplicable("no nonce was asked for")
	case a.in.Nonce == nil:
		return unknown("the policy asks for a nonce, and none was given to compare with")
	case a.runtime == nil || a.own == nil || a.launchErr != nil:
		return unknown("record or launch cannot be read")
	}
	want := hex.EncodeToString(a.in.Nonce)
	logged, _ := a.environments[cer.KindNonce].Get("nonce")
	if got := a.recordNonce(); got != want || logged != want {
		return failed("record or log hold another nonce").with(want, got)
	}
	return passed("your nonce is in the record and was measured before the job")
}

func checkJobExit(a *appraisal) outcome {
	switch {
	case a.runtime == nil:
		return unknown("the record cannot be read")
	case a.in.Policy == nil:
		return unknown("no policy given")
	}
	e := a.runtime.Exit
	switch {
	case e.Timeout:
		return failed("the job was ended at its time limit")
	case e.Signal != nil:
		return failed("the job was ended by " + *e.Signal)
	case !slices.Contains(a.in.Policy.Exit, e.Code):
		return failed(fmt.Sprintf("the job ended with exit code %d", e.Code)).with(fmt.Sprint(a.in.Policy.Exit), fmt.Sprint(e.Code))
	case !a.runtime.Output.Complete:
		return failed("the output was cut short")
	}
	return passed(fmt.Sprintf("exit code %d", e.Code))
}

// digests names the file's digests as components do.
func (f *File) digests() []string {
	out := []string{cer.SHA256Digest(f.SHA256)}
	if f.FSVerity != nil {
		out = append(out, cer.FSVerityDigest(*f.FSVerity))
	}
	return out
}

// checkFile holds a file against a stream of the record.
func (a *appraisal) checkFile(f *File, field string, s func(*cer.Runtime) cer.Stream) outcome {
	switch {
	case f == nil:
		return notApplicable("no file was given to compare with")
	case a.runtime == nil:
		return unknown("the record cannot be read")
	}
	got, ok := a.shown(field, s(a.runtime))
	if !ok {
		return unknown("the record commits to its " + field + ", and no opening shows what it is")
	}
	want := cer.NewStream(f.SHA256, f.Size, got.Complete)
	if got.SHA256 != want.SHA256 || got.Size != want.Size {
		return failed("the record is about another file than "+f.Label).with(want.SHA256, got.SHA256)
	}
	if !got.Complete {
		return unknown(f.Label + " is what the record counts, but the stream was cut short")
	}
	return passed(f.Label + " is the file")
}

func checkInputFile(a *appraisal) outcome {
	return a.checkFile(a.in.InputFile, cer.FieldInput, func(r *cer.Runtime) cer.Stream { return r.Input })
}

func checkOutputFile(a *appraisal) outcome {
	return a.checkFile(a.in.OutputFile, cer.FieldOutput, func(r *cer.Runtime) cer.Stream { return r.Output })
}

func checkComponentFile(a *appraisal) outcome {
	if len(a.in.Weights) == 0 {
		return notApplicable("no file was given to compare with")
	}
	if a.own == nil || a.launchErr != nil {
		return unknown("the launch cannot be read")
	}
	for _, f := range a.in.Weights {
		i := slices.IndexFunc(a.components, func(c *cer.Component) bool { return c.Role == cer.RoleWeights && c.Name == f.Name })
		if i < 0 {
			return failed(fmt.Sprintf("no weights %q were measured", f.Name))
		}
		want, got := f.digests(), a.components[i].Digest
		comparable := slices.ContainsFunc(got, func(d string) bool {
			return slices.ContainsFunc(want, func(w string) bool { return cer.DigestScheme(w) == cer.DigestScheme(d) })
		})
		switch {
		case !comparable:
			return unknown(fmt.Sprintf("weights %q were measured as %s, which a file by itself does not have", f.Name, shortDigest(got)))
		case !cer.MatchDigests(got, want):
			return failed(fmt.Sprintf("weights %q are another file than %s", f.Name, f.Label)).with(strings.Join(want, " or "), strings.Join(got, " or "))
		}
	}
	return passed(fmt.Sprintf("%d file(s) are those measured", len(a.in.Weights)))
}
