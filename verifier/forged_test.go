package verifier_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/verifier"
)

// deed is one thing that a producer, whose TPM and keys are trusted, does
// otherwise than it should, and the check that has to say so.
type deed struct {
	name  string
	check string
	x     forgery
}

// withEvents is a deed of the log.
func withEvents(name, check string, edit func(l *attest.Log)) deed {
	return deed{name, check, forgery{events: edit}}
}

// TestDeeds: everything in the record fits together, down to the hardware's
// signature, and one fact in it is not acceptable.
func TestDeeds(t *testing.T) {
	f := newForger(t)
	in := f.input(t, nil)
	in.InputFile, in.OutputFile = goldenFile(t, "page.input"), goldenFile(t, "page.output")
	for _, d := range slices.Concat(statementDeeds(f), logDeeds(t), launchDeeds(t), earlierDeeds(), recordDeeds(), quoteDeeds()) {
		t.Run(d.name, func(t *testing.T) {
			file := f.record(t, d.x)
			r := verify(t, file, in)
			wantRefused(t, r, d.check)
			if got := verify(t, file, goldenInput(t, "page")); got.Trusted {
				t.Error("trusted under roots that do not know the forger")
			}
			core := slices.ContainsFunc(blocking(r), func(id string) bool {
				class, _ := verifier.CheckClass(id)
				return class == verifier.ClassCore
			})
			if core != (r.Genuine() != nil) {
				t.Errorf("a core check stands in the way: %v; Genuine says %v", core, r.Genuine())
			}
		})
	}
}

// statementDeeds change the statement one field at a time; the launch key signs
// and the TPM quotes it.
func statementDeeds(f *forger) []deed {
	st := func(name, check string, edit func(s *attest.Statement)) deed {
		return deed{"statement " + name, check, forgery{statement: edit}}
	}
	return []deed{
		st("time", "runtime.claims", func(s *attest.Statement) { s.Time++ }),
		st("series", "statement.record", func(s *attest.Statement) { s.Series[0]++ }),
		st("launch", "statement.record", func(s *attest.Statement) { s.Launch[31]++ }),
		st("key id", "statement.record", func(s *attest.Statement) { s.KeyID[0]++ }),
		st("log size, one less", "log.replay", func(s *attest.Statement) { s.LogSize-- }),
		st("log size, one more", "log.replay", func(s *attest.Statement) { s.LogSize++ }),
		st("log size, largest", "log.replay", func(s *attest.Statement) { s.LogSize = math.MaxUint64 }),
		st("log root", "log.replay", func(s *attest.Statement) { s.LogRoot[0]++ }),
		st("tree root", "statement.inclusion", func(s *attest.Statement) { s.TreeRoot[0]++ }),
		st("nonce", "runtime.claims", func(s *attest.Statement) { s.Nonce = bytes.Repeat([]byte{7}, 16) }),
		st("no nonce", "runtime.claims", func(s *attest.Statement) { s.Nonce = nil }),
		st("second slot", "evidence.set", func(s *attest.Statement) {
			more := s.Manifest[0]
			more.Number = 1
			s.Manifest = append(s.Manifest, more)
		}),
		st("unknown format", "evidence.set", func(s *attest.Statement) { s.Manifest[0].Format = 2 }),
		st("mode", "slot.binding", func(s *attest.Statement) { s.Manifest[0].Mode = attest.ModeViaAK }),
		st("anchor", "slot.binding", func(s *attest.Statement) {
			s.Manifest[0].Anchor, s.Manifest[0].Register = attest.AnchorStatementOnly, nil
		}),
		st("slot key", "slot.binding", func(s *attest.Statement) { s.Manifest[0].KeyID[0]++ }),
		st("register index", "log.replay", func(s *attest.Statement) { s.Manifest[0].Register.Index = 12 }),
		st("register bank", "log.replay", func(s *attest.Statement) {
			s.Manifest[0].Register.Bank, s.Manifest[0].Register.Value = attest.SHA384, make([]byte, 48)
		}),
		st("register value", "log.replay", func(s *attest.Statement) { s.Manifest[0].Register.Value[0]++ }),
		{"statement, another's signature", "statement.signature", forgery{capsule: func(c *cer.Capsule) {
			other := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))
			c.Signature = ed25519.Sign(other, attest.SignedBytes(c.Statement))
		}}},
		{"statement, signed without its label", "statement.signature", forgery{capsule: func(c *cer.Capsule) {
			c.Signature = ed25519.Sign(f.launch, c.Statement)
		}}},
		{"inclusion index", "statement.inclusion", forgery{capsule: func(c *cer.Capsule) { c.Inclusion.Index = 1 }}},
		{"inclusion size", "statement.inclusion", forgery{capsule: func(c *cer.Capsule) { c.Inclusion.Size = 2 }}},
		{"inclusion path", "statement.inclusion", forgery{capsule: func(c *cer.Capsule) { c.Inclusion.Path = make([][32]byte, 1) }}},
		{"evidence twice", "evidence.set", forgery{capsule: func(c *cer.Capsule) { c.Evidence = append(c.Evidence, c.Evidence[0]) }}},
		{"no evidence", "evidence.set", forgery{capsule: func(c *cer.Capsule) { c.Evidence = nil }}},
		{"evidence of another slot", "evidence.set", forgery{capsule: func(c *cer.Capsule) { c.Evidence[0].Slot = 1 }}},
		{"evidence of another format", "evidence.set", forgery{capsule: func(c *cer.Capsule) { c.Evidence[0].Format = 2 }}},
		{"collateral that nothing uses", "evidence.set", forgery{capsule: func(c *cer.Capsule) {
			c.Collateral = []attest.Collateral{{Kind: "crl", Data: []byte{1}}}
		}}},
		signedThrice("one signature twice", "x", "x"),
		signedThrice("signatures in another order", "y", "x"),
	}
}

// signedThrice has two signatures, x and y, over three weights, x over the first
// and the last, and carries what is given.
func signedThrice(name string, carried ...string) deed {
	return deed{name, "evidence.set", forgery{events: func(l *attest.Log) {
		for i, s := range []string{"x", "y", "x"} {
			c := &cer.Component{Role: cer.RoleModelSignature, Name: string(rune('a' + i)), Digest: []string{cer.SHA256Digest(sha256.Sum256([]byte(s)))}, Size: "1"}
			data, err := c.Encode()
			if err != nil {
				panic(err)
			}
			at := lastOf(l, attest.EventComponent) + 1
			l.Events = slices.Insert(l.Events, at, attest.NewEvent(0, attest.EventComponent, l.Events[at-1].Launch, [32]byte{8}, data))
		}
	}, capsule: func(c *cer.Capsule) {
		c.Collateral = nil
		for _, s := range carried {
			c.Collateral = append(c.Collateral, attest.Collateral{Kind: verifier.CollateralModelSignature, Data: []byte(s)})
		}
	}}}
}

// logDeeds change the log's grammar; everything after is made to fit.
func logDeeds(t *testing.T) []deed {
	own := func(l *attest.Log) [32]byte { return l.Events[len(l.Events)-1].Launch }
	event := func(l *attest.Log, typ attest.EventType, data string) attest.Event {
		return attest.NewEvent(0, typ, own(l), [32]byte{3}, []byte(data))
	}
	commit := make([]byte, 32)
	return []deed{
		{"a second commit", "log.commit", forgery{events: func(l *attest.Log) {
			l.Events = append(l.Events, event(l, attest.EventCommit, string(commit)))
		}}},
		{"an end after the commit", "log.replay", forgery{tail: func(l *attest.Log) {
			l.Events = append(l.Events, event(l, attest.EventEnd, attest.EndCompleted))
		}}},
		{"a commit of something else", "log.commit", forgery{tail: func(l *attest.Log) { setData(l, len(l.Events)-1, commit) }}},
		{"the commit withheld", "log.commit", forgery{tail: func(l *attest.Log) {
			l.Events[len(l.Events)-1] = l.Events[len(l.Events)-1].Withhold()
		}}},
		{"a commit with a tail", "log.commit", forgery{tail: func(l *attest.Log) {
			e := l.Events[len(l.Events)-1]
			setData(l, len(l.Events)-1, append(bytes.Clone(e.Data), 0))
		}}},
		withEvents("the key withheld", "statement.signature", func(l *attest.Log) {
			i := lastOf(l, attest.EventKey)
			l.Events[i] = l.Events[i].Withhold()
		}),
		withEvents("the key with a tail", "statement.signature", func(l *attest.Log) {
			i := lastOf(l, attest.EventKey)
			setData(l, i, append(bytes.Clone(l.Events[i].Data), 0))
		}),
		withEvents("the key not a key", "statement.signature", func(l *attest.Log) { setData(l, lastOf(l, attest.EventKey), []byte("key")) }),
		withEvents("a separator with data", "log.launch", func(l *attest.Log) { setData(l, lastOf(l, attest.EventSeparator), []byte{1}) }),
		withEvents("the separator withheld", "log.launch", func(l *attest.Log) {
			i := lastOf(l, attest.EventSeparator)
			l.Events[i] = l.Events[i].Withhold()
		}),
		withEvents("the launch-begin withheld", "log.launch", func(l *attest.Log) {
			i := lastOf(l, attest.EventLaunchBegin)
			l.Events[i] = l.Events[i].Withhold()
		}),
		withEvents("the launch-begin of another series", "log.launch", func(l *attest.Log) {
			i := lastOf(l, attest.EventLaunchBegin)
			setData(l, i, bytes.Replace(l.Events[i].Data, []byte(`"series":"`), []byte(`"series":"0`), 1)[:len(l.Events[i].Data)])
		}),
		withEvents("a launch-begin with a member more", "log.launch", func(l *attest.Log) {
			i := lastOf(l, attest.EventLaunchBegin)
			setData(l, i, bytes.Replace(l.Events[i].Data, []byte(`"v":1`), []byte(`"v":1,"w":1`), 1))
		}),
		withEvents("the origin withheld", "slot.counters", func(l *attest.Log) { l.Events[0] = l.Events[0].Withhold() }),
		withEvents("the origin unreadable", "log.launch", func(l *attest.Log) { setData(l, 0, []byte("{}")) }),
		withEvents("a register that was not zero", "log.origin", func(l *attest.Log) {
			setData(l, 0, bytes.Replace(l.Events[0].Data, []byte(`"value":"0`), []byte(`"value":"1`), 1))
		}),
		withEvents("a register that was not zero in the other bank", "log.origin", func(l *attest.Log) {
			i := bytes.LastIndex(l.Events[0].Data, []byte(`"value":"0`))
			b := bytes.Clone(l.Events[0].Data)
			b[i+len(`"value":"`)] = '1'
			setData(l, 0, b)
		}),
		withEvents("the origin of another TPM reset", "slot.counters", func(l *attest.Log) {
			setData(l, 0, bytes.Replace(l.Events[0].Data, []byte(`"resetCount":"2"`), []byte(`"resetCount":"1"`), 1))
		}),
		withEvents("the origin of another restart", "slot.counters", func(l *attest.Log) {
			setData(l, 0, bytes.Replace(l.Events[0].Data, []byte(`"restartCount":"0"`), []byte(`"restartCount":"1"`), 1))
		}),
		withEvents("a component withheld", "log.launch", func(l *attest.Log) {
			i := lastOf(l, attest.EventComponent)
			l.Events[i] = l.Events[i].Withhold()
		}),
		withEvents("a component unreadable", "log.launch", func(l *attest.Log) { setData(l, lastOf(l, attest.EventComponent), []byte("[]")) }),
		withEvents("a component twice", "log.launch", func(l *attest.Log) {
			i := lastOf(l, attest.EventComponent)
			l.Events = slices.Insert(l.Events, i, l.Events[i])
		}),
		withEvents("an environment withheld", "log.launch", func(l *attest.Log) {
			i := lastOf(l, attest.EventEnvironment)
			l.Events[i] = l.Events[i].Withhold()
		}),
		withEvents("an environment twice", "log.launch", func(l *attest.Log) {
			i := lastOf(l, attest.EventEnvironment)
			l.Events = slices.Insert(l.Events, i, l.Events[i])
		}),
		withEvents("the host left out", "log.launch", func(l *attest.Log) { dropEnvironment(l, cer.KindHost) }),
		withEvents("the memory left out", "log.launch", func(l *attest.Log) { dropEnvironment(l, cer.KindMemory) }),
		withEvents("the limits left out", "log.launch", func(l *attest.Log) { dropEnvironment(l, cer.KindLimits) }),
		withEvents("the isolation left out", "log.launch", func(l *attest.Log) { dropEnvironment(l, cer.KindIsolation) }),
		withEvents("the parameters left out", "log.launch", func(l *attest.Log) { dropEnvironment(l, cer.KindParameters) }),
		withEvents("the nonce left out", "runtime.claims", func(l *attest.Log) { dropEnvironment(l, cer.KindNonce) }),
		withEvents("another nonce", "runtime.claims", func(l *attest.Log) {
			editEnvironment(t, l, cer.KindNonce, setFact("nonce", strings.Repeat("07", 16)))
		}),
		withEvents("a nonce and something else", "runtime.claims", func(l *attest.Log) {
			editEnvironment(t, l, cer.KindNonce, setFact("other", "1"))
		}),
	}
}

// dropEnvironment takes the last environment of a kind out of the log.
func dropEnvironment(l *attest.Log, kind string) {
	for i, v := range slices.Backward(l.Events) {
		if env, err := cer.ParseEnvironment(v.Data); err == nil && env.Kind == kind {
			l.Events = slices.Delete(l.Events, i, i+1)
			return
		}
	}
}

// launchDeeds change what was measured.
func launchDeeds(t *testing.T) []deed {
	other := cer.SHA256Digest(sha256.Sum256([]byte("another file")))
	var out []deed
	for _, role := range []string{cer.RoleLauncher, cer.RoleBinary, cer.RoleInterpreter, cer.RoleLibrary, cer.RoleWeights} {
		out = append(out, withEvents(role+" changed", "components.match", func(l *attest.Log) {
			editComponent(t, l, role, func(c *cer.Component) { c.Digest = []string{other} })
		}), withEvents(role+" renamed", "components.match", func(l *attest.Log) {
			editComponent(t, l, role, func(c *cer.Component) { c.Name += "x" })
		}))
	}
	facts := func(kind, name, value, check string) deed {
		return withEvents(kind+" "+name+" "+value, check, func(l *attest.Log) { editEnvironment(t, l, kind, setFact(name, value)) })
	}
	withDevice := func(name, number string) deed {
		return withEvents("device "+name, "compute.inside", func(l *attest.Log) {
			editEnvironment(t, l, cer.KindIsolation, setFact("devices", "null urandom "+name))
			editEnvironment(t, l, cer.KindIsolation, setFact("device_numbers", number))
		})
	}
	// exclusive are the facts that both log.sole and launcher.exclusive rest on.
	for _, name := range []string{"mount_ns", "pid_ns", "ipc_ns", "net_ns", "no_new_privs", "caps_dropped", "closed_root"} {
		for _, value := range []string{"no", "", "YES", "yes "} {
			out = append(out, facts(cer.KindIsolation, name, value, "launcher.exclusive"))
		}
	}
	return append(out,
		withEvents("own uid and user namespace", "launcher.exclusive", func(l *attest.Log) {
			editEnvironment(t, l, cer.KindIsolation, setFact("own_uid", "no"))
		}),
		facts(cer.KindIsolation, "init_non_dumpable", "no", "launcher.exclusive"),
		facts(cer.KindIsolation, "launcher_non_dumpable", "no", "launcher.exclusive"),
		facts(cer.KindIsolation, "read_only_root", "no", "components.closed"),
		facts(cer.KindIsolation, "no_core", "no", "protection.memory"),
		facts(cer.KindIsolation, "network", "host", "compute.inside"),
		withDevice("nvidia0", "c195:0"),
		facts(cer.KindIsolation, "devices", "host", "launcher.exclusive"),
		facts(cer.KindIsolation, "devices", "null urandom null\u00a0urandom", "launcher.exclusive"),
		facts(cer.KindIsolation, "devices", "null urandom tpmrm0", "launcher.exclusive"),
		facts(cer.KindMemory, "swap", "/dev/vda2", "protection.memory"),
		facts(cer.KindMemory, "hibernation", "resume=/dev/vda2", "protection.memory"),
		facts(cer.KindMemory, "kexec_loaded", "yes", "protection.memory"),
		facts(cer.KindMemory, "kexec_loaded", "unknown", "protection.memory"),
		facts(cer.KindParameters, "seed", "8", "runtime.claims"),
		facts(cer.KindParameters, "more", "1", "runtime.claims"),
		withEvents("devices not recorded", "launcher.exclusive", func(l *attest.Log) {
			editEnvironment(t, l, cer.KindIsolation, func(f []cer.Fact) []cer.Fact {
				return slices.DeleteFunc(f, func(x cer.Fact) bool { return x.Name == "devices" })
			})
		}),
		withEvents("the network not recorded", "compute.inside", func(l *attest.Log) {
			editEnvironment(t, l, cer.KindIsolation, func(f []cer.Fact) []cer.Fact {
				return slices.DeleteFunc(f, func(x cer.Fact) bool { return x.Name == "network" })
			})
		}),
		withDevice("dri/renderD128", "c226:128"),
		withEvents("a protection that the policy does not list", "protection.storage", func(l *attest.Log) {
			editComponent(t, l, cer.RoleWeights, func(c *cer.Component) { c.Protection = cer.ProtectionFSVerity })
		}),
		withEvents("one digest of two", "components.match", func(l *attest.Log) {
			editComponent(t, l, cer.RoleWeights, func(c *cer.Component) { c.Digest[1] = other })
		}),
		withEvents("the other digest of two", "components.match", func(l *attest.Log) {
			editComponent(t, l, cer.RoleWeights, func(c *cer.Component) { c.Digest[0] = cer.FSVerityDigest([32]byte{1}) })
		}),
		withEvents("a manifest of no files", "components.match", func(l *attest.Log) {
			addComponent(t, l, &cer.Component{Role: cer.RoleManifest, Name: "default", Path: "/model/default/x", Digest: []string{cer.OMSDigest([32]byte{1})}, Size: "1"})
		}),
		withEvents("a signature that is not carried", "components.match", func(l *attest.Log) {
			addComponent(t, l, &cer.Component{Role: cer.RoleModelSignature, Name: "default", Digest: []string{other}, Size: "1"})
		}),
		withEvents("a file without protection", "protection.storage", func(l *attest.Log) {
			editComponent(t, l, cer.RoleWeights, func(c *cer.Component) { c.Protection = cer.ProtectionNone })
		}),
		withEvents("another command", "components.match", func(l *attest.Log) {
			editComponent(t, l, cer.RoleArgv, func(c *cer.Component) { c.Value = []byte(`["cat","-"]`) })
		}),
		withEvents("another value of a variable", "components.match", func(l *attest.Log) {
			editComponent(t, l, cer.RoleEnv, func(c *cer.Component) { c.Value = []byte(`"fancy"`) })
		}),
		withEvents("a variable more", "components.match", func(l *attest.Log) {
			addComponent(t, l, &cer.Component{Role: cer.RoleEnv, Name: "LD_PRELOAD", Value: []byte(`"/x"`)})
		}),
		withEvents("a file more", "components.match", func(l *attest.Log) {
			addComponent(t, l, &cer.Component{
				Role: cer.RoleFile, Name: "/etc/x", Path: "/etc/x", Digest: []string{other}, Size: "1", Protection: cer.ProtectionSealed,
			})
		}),
		withEvents("the weights left out", "components.match", func(l *attest.Log) {
			l.Events = slices.DeleteFunc(l.Events, func(e attest.Event) bool {
				c, err := cer.ParseComponent(e.Data)
				return err == nil && c.Role == cer.RoleWeights
			})
		}),
	)
}

// after sets a fact that was read again after the job.
func after(name, value string) func(*cer.Runtime) {
	return func(r *cer.Runtime) { r.After = cer.NewEnvironment(cer.KindHost, setFact(name, value)(r.After)).Facts }
}

// earlierDeeds change the launch before this one.
func earlierDeeds() []deed {
	first := func(l *attest.Log, typ attest.EventType) int {
		return slices.IndexFunc(l.Events, func(e attest.Event) bool { return e.Type == typ })
	}
	launcher := func(l *attest.Log) int {
		return slices.IndexFunc(l.Events, func(e attest.Event) bool {
			c, err := cer.ParseComponent(e.Data)
			return err == nil && c.Role == cer.RoleLauncher
		})
	}
	isolation := func(l *attest.Log) int {
		return slices.IndexFunc(l.Events, func(e attest.Event) bool {
			v, err := cer.ParseEnvironment(e.Data)
			return err == nil && v.Kind == cer.KindIsolation
		})
	}
	withhold := func(find func(l *attest.Log) int) func(l *attest.Log) {
		return func(l *attest.Log) { l.Events[find(l)] = l.Events[find(l)].Withhold() }
	}
	return []deed{
		withEvents("earlier launch without its end", "log.sole", func(l *attest.Log) {
			i := first(l, attest.EventEnd)
			l.Events = slices.Delete(l.Events, i, i+1)
		}),
		withEvents("earlier launch cut short", "log.sole", func(l *attest.Log) {
			i, j := first(l, attest.EventEnvironment), first(l, attest.EventEnd)
			l.Events = slices.Delete(l.Events, i, j+1)
		}),
		withEvents("earlier launch-begin withheld", "log.sole", withhold(func(l *attest.Log) int { return first(l, attest.EventLaunchBegin) })),
		withEvents("earlier launch-begin unreadable", "log.sole", func(l *attest.Log) { setData(l, first(l, attest.EventLaunchBegin), []byte("{}")) }),
		withEvents("earlier separator withheld", "log.sole", withhold(func(l *attest.Log) int { return first(l, attest.EventSeparator) })),
		withEvents("earlier launcher withheld", "log.sole", withhold(launcher)),
		withEvents("earlier launcher another", "log.sole", func(l *attest.Log) {
			i := launcher(l)
			setData(l, i, bytes.Replace(l.Events[i].Data, []byte(`"sha256:`), []byte(`"sha256:0`), 1))
			b := bytes.Clone(l.Events[i].Data)
			cut := bytes.Index(b, []byte(`"],"name"`))
			setData(l, i, append(b[:cut-1], b[cut:]...))
		}),
		withEvents("earlier isolation withheld", "log.sole", withhold(isolation)),
		withEvents("earlier isolation let the job extend", "log.sole", func(l *attest.Log) {
			i := isolation(l)
			setData(l, i, bytes.Replace(l.Events[i].Data, []byte(`"caps_dropped","value":"yes"`), []byte(`"caps_dropped","value":"no"`), 1))
		}),
		withEvents("earlier job had the TPM", "log.sole", func(l *attest.Log) {
			i := isolation(l)
			setData(l, i, bytes.Replace(l.Events[i].Data, []byte(`"value":"null urandom"`), []byte(`"value":"null urandom tpmrm0"`), 1))
		}),
		withEvents("earlier job had a device with two names in one", "log.sole", func(l *attest.Log) {
			i := isolation(l)
			setData(l, i, bytes.Replace(l.Events[i].Data, []byte(`"value":"null urandom"`), []byte("\"value\":\"null urandom null\u00a0urandom\""), 1))
		}),
		withEvents("earlier isolation twice", "log.sole", func(l *attest.Log) {
			i := isolation(l)
			l.Events = slices.Insert(l.Events, i, l.Events[i])
		}),
	}
}

// recordDeeds change claims of the record; hashes, tree, statement and quote are
// made to fit.
func recordDeeds() []deed {
	rt := func(name, check string, edit func(r *cer.Runtime)) deed {
		return deed{"runtime " + name, check, forgery{runtime: edit}}
	}
	snap := func(name, check string, edit func(s *cer.Snapshot)) deed {
		return deed{"snapshot " + name, check, forgery{snapshot: edit}}
	}
	signal, nonce, text := "SIGKILL", strings.Repeat("07", 16), "1"
	return []deed{
		rt("version", "cer.runtime", func(r *cer.Runtime) { r.V = 2 }),
		rt("series", "statement.record", func(r *cer.Runtime) { r.Series = strings.Repeat("0", 64) }),
		rt("launch", "statement.record", func(r *cer.Runtime) { r.Launch = "sha256:" + strings.Repeat("0", 64) }),
		rt("key", "statement.record", func(r *cer.Runtime) { r.Key = "sha256:" + strings.Repeat("0", 64) }),
		rt("number", "statement.record", func(r *cer.Runtime) { r.Record = "1" }),
		rt("nonce", "runtime.claims", func(r *cer.Runtime) { r.Nonce = &nonce }),
		rt("no nonce", "runtime.claims", func(r *cer.Runtime) { r.Nonce = nil }),
		rt("input cut", "input.file", func(r *cer.Runtime) { r.Input.Complete = false }),
		rt("output cut", "job.exit", func(r *cer.Runtime) { r.Output.Complete = false }),
		rt("exit code", "job.exit", func(r *cer.Runtime) { r.Exit.Code = 1 }),
		rt("signal", "job.exit", func(r *cer.Runtime) { r.Exit = cer.Exit{Code: -1, Signal: &signal} }),
		rt("timeout", "job.exit", func(r *cer.Runtime) { r.Exit.Timeout = true }),
		rt("disclosure", "cer.runtime", func(r *cer.Runtime) { r.Disclosure = "commit" }),
		rt("isolation", "runtime.claims", func(r *cer.Runtime) {
			r.Isolation = slices.Clone(r.Isolation)
			r.Isolation[0].Value = "no"
		}),
		rt("isolation left out", "runtime.claims", func(r *cer.Runtime) { r.Isolation = r.Isolation[1:] }),
		rt("parameter", "runtime.claims", func(r *cer.Runtime) { r.Parameters[0].Value = "x" }),
		rt("parameter applied", "runtime.claims", func(r *cer.Runtime) { r.Parameters[0].Applied = true }),
		rt("parameters left out", "runtime.claims", func(r *cer.Runtime) { r.Parameters = []cer.Parameter{} }),
		rt("notApplicable", "runtime.claims", func(r *cer.Runtime) { r.NotApplicable = []string{"prompt"} }),
		rt("notApplicable in one piece", "runtime.claims", func(r *cer.Runtime) {
			r.NotApplicable = []string{strings.Join(r.NotApplicable, " ")}
		}),
		rt("swap switched on during the job", "protection.memory", after("swap", "/dev/vda2")),
		rt("a kernel loaded during the job", "protection.memory", after("kexec_loaded", "yes")),
		rt("memory to a socket after the job", "protection.memory", after("core_pattern", "@dump")),
		rt("lockdown lifted during the job", "protection.memory", after("lockdown", "[none] integrity")),
		rt("signatures of modules not wanted any more", "protection.memory", after("module_sig_enforce", "N")),
		rt("nothing read after the job", "protection.memory", func(r *cer.Runtime) { r.After = []cer.Fact{} }),
		rt("content of stderr that is another", "cer.runtime", func(r *cer.Runtime) { r.Stderr.Content = []byte(`"x"`) }),
		snap("executionId", "runtime.claims", func(s *cer.Snapshot) { s.ExecutionID += "1" }),
		snap("timestamp", "runtime.claims", func(s *cer.Snapshot) { s.Timestamp = "2099-01-01T00:00:00.000Z" }),
		snap("provider", "runtime.claims", func(s *cer.Snapshot) { s.Provider = "openai" }),
		snap("model", "runtime.claims", func(s *cer.Snapshot) { s.Model = "gpt" }),
		snap("modelVersion", "runtime.claims", func(s *cer.Snapshot) { s.ModelVersion = &text }),
		snap("prompt", "runtime.claims", func(s *cer.Snapshot) { s.Prompt = "ignore all that" }),
		snap("parameters", "runtime.claims", func(s *cer.Snapshot) { s.Parameters.Temperature = 1 }),
		snap("seed", "runtime.claims", func(s *cer.Snapshot) { s.Parameters.Seed = nil }),
		snap("appId", "runtime.claims", func(s *cer.Snapshot) { s.AppID = &text }),
		snap("sdkVersion", "runtime.claims", func(s *cer.Snapshot) { s.SDKVersion = nil }),
		snap("input as text", "runtime.claims", func(s *cer.Snapshot) { s.Input, _ = cer.TextValue("the page\n") }),
		snap("output as text", "runtime.claims", func(s *cer.Snapshot) { s.Output, _ = cer.TextValue("x") }),
		snap("another input", "runtime.claims", func(s *cer.Snapshot) { s.Input = s.Output }),
		snap("input is another object", "runtime.claims", func(s *cer.Snapshot) { s.Input, _ = cer.ObjectValue([]byte(`{"a":1}`)) }),
		snap("no runtime", "cer.runtime", func(s *cer.Snapshot) { s.Runtime = nil }),
		snap("runtime with a member more", "cer.runtime", func(s *cer.Snapshot) {
			s.Runtime = append(s.Runtime[:len(s.Runtime)-1:len(s.Runtime)-1], `,"w":1}`...)
		}),
		{"createdAt", "runtime.claims", forgery{created: "2026-11-22T00:00:00.000Z"}},
	}
}

// quoteDeeds change what the TPM signs.
func quoteDeeds() []deed {
	q := func(name, check string, edit func(q *quoted)) deed {
		return deed{"quote " + name, check, forgery{quote: edit}}
	}
	return []deed{
		q("over other data", "slot.binding", func(q *quoted) { q.extraData[0]++ }),
		q("over no data", "slot.binding", func(q *quoted) { q.extraData = nil }),
		q("over less data", "slot.binding", func(q *quoted) { q.extraData = q.extraData[:31] }),
		q("reset count", "slot.counters", func(q *quoted) { q.reset++ }),
		q("restart count", "slot.counters", func(q *quoted) { q.restart++ }),
		q("firmware", "slot.counters", func(q *quoted) { q.firmware++ }),
		q("clock before the launch", "slot.counters", func(q *quoted) { q.clock = 0 }),
		q("register", "log.replay", func(q *quoted) { q.registers[attest.SHA256][13][0]++ }),
		q("register in the other bank", "log.replay", func(q *quoted) { q.registers[attest.SHA384][13][0]++ }),
		q("without the bank", "log.replay", func(q *quoted) { q.banks = []attest.Alg{attest.SHA384} }),
		q("without the register", "log.replay", func(q *quoted) {
			r := q.registers[attest.SHA256]
			r[12] = r[13]
			delete(r, 13)
		}),
		q("a bank that the log does not cover", "log.replay", func(q *quoted) {
			q.banks = append(slices.Clone(q.banks), attest.SHA512)
			q.registers[attest.SHA512] = map[uint32][]byte{13: make([]byte, 64)}
		}),
		q("no certificate", "slot.identity", func(q *quoted) { q.certificates = nil }),
		q("the certificate twice", "slot.identity", func(q *quoted) { q.certificates = append(q.certificates, q.certificates[0]) }),
	}
}
