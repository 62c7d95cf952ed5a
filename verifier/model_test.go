package verifier_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/cer/oms"
	"github.com/sworn-run/sworn/verifier"
)

// weightsOf returns the components of a folder of weights "m".
func weightsOf(files map[string]string) []*cer.Component {
	var out []*cer.Component
	for name, content := range files {
		out = append(out, &cer.Component{
			Role: cer.RoleWeights, Name: "m/" + name, Path: "/model/m/" + name, Protection: cer.ProtectionSealed,
			Digest: []string{cer.SHA256Digest(sha256.Sum256([]byte(content)))}, Size: fmt.Sprint(len(content)),
		})
	}
	slices.SortFunc(out, func(a, b *cer.Component) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// manifestOf returns the manifest of weights "m".
func manifestOf(tb testing.TB, weights []*cer.Component) *cer.Component {
	tb.Helper()
	digests, err := oms.Digests(weights, "m")
	if err != nil {
		tb.Fatal(err)
	}
	return &cer.Component{Role: cer.RoleManifest, Name: "m", Path: "/model/m", Digest: digests, Size: "0"}
}

// measured adds components to the record's own launch.
func measured(tb testing.TB, more ...*cer.Component) func(l *attest.Log) {
	tb.Helper()
	return func(l *attest.Log) {
		i := lastOf(l, attest.EventComponent) + 1
		for _, c := range more {
			b, err := c.Encode()
			if err != nil {
				tb.Fatal(err)
			}
			l.Events = slices.Insert(l.Events, i, attest.NewEvent(0, attest.EventComponent, l.Events[i-1].Launch, [32]byte{5}, b))
			i++
		}
	}
}

// wanted adds components to a policy that reports others.
func wanted(more ...map[string]any) func(p map[string]any) {
	return func(p map[string]any) {
		p["others"] = "report"
		for _, c := range more {
			p["components"] = append(list(p, "components"), c)
		}
		p["waive"] = append(list(p, "waive"), map[string]any{"check": "components.closed", "reason": "others are reported"})
	}
}

// checkOf returns a check of a report.
func checkOf(tb testing.TB, r *verifier.Report, id string) verifier.Check {
	tb.Helper()
	i := slices.IndexFunc(r.Checks, func(c verifier.Check) bool { return c.ID == id })
	if i < 0 {
		tb.Fatalf("no check %s", id)
	}
	return r.Checks[i]
}

// TestManifestNames: a policy that lists a manifest accepts no file by another
// name, also where it does not list the files.
func TestManifestNames(t *testing.T) {
	f := newForger(t)
	good := weightsOf(map[string]string{"a": "one", "b": "two", ".gitignore": "three"})
	golden := manifestOf(t, good)
	renamed := weightsOf(map[string]string{"a": "one", "c": "two", ".gitignore": "three"})
	hidden := weightsOf(map[string]string{"a": "one", "b": "two", ".gitattributes": "three"})
	for _, w := range [][]*cer.Component{renamed, hidden} {
		if manifestOf(t, w).Digest[0] != golden.Digest[0] {
			t.Fatal("the names change the root digest: this tests nothing")
		}
	}
	manifest := func(digests ...string) map[string]any {
		return map[string]any{"role": "manifest", "name": "m", "digest": digests}
	}
	files := []map[string]any{}
	for _, c := range good {
		files = append(files, map[string]any{"role": c.Role, "name": c.Name, "digest": c.Digest})
	}
	for name, x := range map[string]struct {
		weights []*cer.Component
		policy  []map[string]any
		trusted bool
	}{
		"both digests":                      {good, []map[string]any{manifest(golden.Digest...)}, true},
		"the list's digest":                 {good, []map[string]any{manifest(golden.Digest[1])}, true},
		"the root digest":                   {good, []map[string]any{manifest(golden.Digest[0])}, false},
		"the root digest, some files":       {good, append(slices.Clone(files[:2]), manifest(golden.Digest[0])), false},
		"the root digest, and the files":    {good, append(slices.Clone(files), manifest(golden.Digest[0])), true},
		"renamed, both digests":             {renamed, []map[string]any{manifest(golden.Digest...)}, false},
		"renamed, the root digest":          {renamed, []map[string]any{manifest(golden.Digest[0])}, false},
		"renamed, the root digest, a file":  {renamed, append(slices.Clone(files[:2]), manifest(golden.Digest[0])), false},
		"a file left out renamed":           {hidden, []map[string]any{manifest(golden.Digest...)}, false},
		"a file left out renamed, root":     {hidden, []map[string]any{manifest(golden.Digest[0])}, false},
		"a file left out renamed, no files": {hidden, append(slices.Clone(files[1:]), manifest(golden.Digest[0])), false},
	} {
		t.Run(name, func(t *testing.T) {
			file := f.record(t, forgery{events: measured(t, append(slices.Clone(x.weights), manifestOf(t, x.weights))...)})
			in := f.input(t, wanted(x.policy...))
			r := verify(t, file, in)
			if r.Trusted != x.trusted {
				t.Fatal(r.Headline)
			}
			if c := checkOf(t, r, "components.match"); !x.trusted && c.Status != "failed" {
				t.Errorf("components.match is %s: %s", c.Status, c.Detail)
			}
			said := slices.ContainsFunc(in.Policy.Lint(), func(s string) bool { return strings.Contains(s, "binds no file names") })
			digests, _ := x.policy[len(x.policy)-1]["digest"].([]string)
			if said == slices.Contains(digests, golden.Digest[1]) {
				t.Errorf("lint says %q", in.Policy.Lint())
			}
		})
	}
}

// TestWrongManifest: a manifest that is not that of its files is refused,
// whatever the policy lists.
func TestWrongManifest(t *testing.T) {
	f := newForger(t)
	weights := weightsOf(map[string]string{"a": "one", "b": "two"})
	right := manifestOf(t, weights)
	for name, change := range map[string]func(c *cer.Component){
		"the root digest only":   func(c *cer.Component) { c.Digest = c.Digest[:1] },
		"the list's digest only": func(c *cer.Component) { c.Digest = c.Digest[1:] },
		"in another order":       func(c *cer.Component) { slices.Reverse(c.Digest) },
		"of other names": func(c *cer.Component) {
			c.Digest[1] = manifestOf(t, weightsOf(map[string]string{"a": "one", "c": "two"})).Digest[1]
		},
		"of other files": func(c *cer.Component) {
			c.Digest[0] = manifestOf(t, weightsOf(map[string]string{"a": "one"})).Digest[0]
		},
		"of no files": func(c *cer.Component) { c.Name = "n" },
	} {
		wrong := *right
		wrong.Digest = slices.Clone(right.Digest)
		change(&wrong)
		file := f.record(t, forgery{events: measured(t, append(slices.Clone(weights), &wrong)...)})
		r := verify(t, file, f.input(t, wanted()))
		if c := checkOf(t, r, "components.match"); c.Status != "failed" || !strings.Contains(c.Detail, "manifest") {
			t.Errorf("%s: %s: %s", name, c.Status, c.Detail)
		}
	}
}

// TestUncovered: files that a model signature does not cover make the check fail,
// unless the policy lists each.
func TestUncovered(t *testing.T) {
	f := newForger(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	signed := []oms.File{{Path: "a", SHA256: sha256.Sum256([]byte("one"))}}
	manifest, err := oms.NewManifest(signed, oms.Options{Ignore: append(oms.GitPaths(), "cache")})
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := oms.Sign(rand.Reader, manifest, key)
	if err != nil {
		t.Fatal(err)
	}
	signature := &cer.Component{
		Role: cer.RoleModelSignature, Name: "m", Size: fmt.Sprint(len(bundle)), Digest: []string{cer.SHA256Digest(sha256.Sum256(bundle))},
	}
	store, err := verifier.NewTrustStore([]verifier.RootFile{
		{Path: "tpm-ak/forged.der", Data: f.root.cert.Raw},
		{Path: "model-signer/publisher.der", Data: spki},
	})
	if err != nil {
		t.Fatal(err)
	}
	const covered = "a"
	for name, x := range map[string]struct {
		beside, listed []string
		words          string
		trusted        bool
	}{
		"none":              {nil, nil, "", true},
		"git's":             {[]string{".gitattributes"}, nil, `does not cover "m/.gitattributes", and the policy`, false},
		"below git's":       {[]string{".git/hooks/x"}, nil, `"m/.git/hooks/x"`, false},
		"ignored":           {[]string{"cache/x"}, nil, `"m/cache/x"`, false},
		"listed":            {[]string{"cache/x"}, []string{"cache/x"}, `listed by the policy: "m/cache/x"`, true},
		"one of two listed": {[]string{"cache/x", "cache/y"}, []string{"cache/x"}, `does not cover "m/cache/y",`, false},
		"many":              {[]string{"cache/1", "cache/2", "cache/3", "cache/4", "cache/5"}, nil, `"m/cache/3" and 2 more`, false},
	} {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{covered: "one"}
			for _, b := range x.beside {
				files[b] = "code of somebody's"
			}
			components := append(weightsOf(files), signature)
			file := f.record(t, forgery{events: measured(t, components...), capsule: func(c *cer.Capsule) {
				c.Collateral = []attest.Collateral{{Kind: verifier.CollateralModelSignature, Data: bundle}}
			}})
			var policy []map[string]any
			for _, c := range components {
				if slices.Contains(x.listed, strings.TrimPrefix(c.Name, "m/")) {
					policy = append(policy, map[string]any{"role": c.Role, "name": c.Name, "digest": c.Digest})
				}
			}
			in := f.input(t, wanted(policy...))
			in.Roots = store
			r := verify(t, file, in)
			if c := checkOf(t, r, "model.signature"); r.Trusted != x.trusted || x.trusted != (c.Status == "passed") || !strings.Contains(c.Detail, x.words) {
				t.Errorf("%s; %s: %s", r.Headline, c.Status, c.Detail)
			}
			in.Policy = nil
			want := "passed"
			if len(x.beside) > 0 {
				want = "not established"
			}
			if c := checkOf(t, verify(t, file, in), "model.signature"); c.Status != want {
				t.Errorf("without a policy: %s: %s", c.Status, c.Detail)
			}
		})
	}
}

// TestSignatureReadOnce: what a model signature costs does not grow with the
// components that name it.
func TestSignatureReadOnce(t *testing.T) {
	f := newForger(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var files []oms.File
	for i := range 1000 {
		files = append(files, oms.File{Path: fmt.Sprint(i)})
	}
	manifest, err := oms.NewManifest(files, oms.Options{})
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := oms.Sign(rand.Reader, manifest, key)
	if err != nil {
		t.Fatal(err)
	}
	cost := func(n int) uint64 {
		var components []*cer.Component
		for i := range n {
			components = append(components, &cer.Component{
				Role: cer.RoleModelSignature, Name: fmt.Sprint(i), Size: "1", Digest: []string{cer.SHA256Digest(sha256.Sum256(bundle))},
			})
		}
		file := f.record(t, forgery{events: measured(t, components...), capsule: func(c *cer.Capsule) {
			c.Collateral = []attest.Collateral{{Kind: verifier.CollateralModelSignature, Data: bundle}}
		}})
		in := f.input(t, wanted())
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		verify(t, file, in)
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	const many = 400
	one, all := cost(1), cost(many)
	if all > one+many*uint64(len(bundle))/4 {
		t.Errorf("one component costs %d bytes, %d cost %d, of a signature of %d", one, many, all, len(bundle))
	}
}
