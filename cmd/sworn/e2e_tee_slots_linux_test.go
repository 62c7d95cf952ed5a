package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/verifier"
)

// On Azure the paravisor's TPM quotes, and the hardware says whose it is.
func TestConfidentialVMOnAzure(t *testing.T) {
	t.Parallel()
	for kind, root := range map[string]string{teeAzureSNP: "ARK-Milan SIMULATED", teeAzureTDX: "Intel SGX Root CA SIMULATED"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			g := newConfidential(t, kind)
			g.launch(t, "golden", goldenNonce, nil)
			p := g.policyOf(t, "golden", "launcher.rooted")
			if d := g.launch(t, "second", testNonce, nil); !strings.Contains(d.err, "into PCR 13 (sha256") || strings.Contains(d.err, "level=WARN") {
				t.Errorf("the launcher says %s", d.err)
			}
			r := g.judge(t, "second", p)
			g.assumes(t, r, root, "launcher.rooted")
			if r.Summary.EarlierLaunches != 1 {
				t.Errorf("%d earlier launches", r.Summary.EarlierLaunches)
			}
			if got := statusOf(r, "composite.same-machine"); got != "passed" {
				t.Errorf("composite.same-machine is %s", got)
			}
			notTrusted(t, "no roots", g.judge(t, "second", p, "--roots-only", g.emptyRoots(t)), "slot.identity", "not established")
			// The one kind is not taken for the other.
			other := map[string]string{teeAzureSNP: teeAzureTDX, teeAzureTDX: teeAzureSNP}[kind]
			d := g.do(t, g.launchArgs(t, "taken", testNonce, nil, "--tee", other)...)
			g.noRecord(t, "taken", d, "this machine is "+kind)
			g.launch(t, "image", testNonce, []string{"--guest", "other"})
			notTrusted(t, "another paravisor", g.judge(t, "image", p), "slot.measurement", "failed")
		})
	}
}

// statusOf returns the status of a check in a report.
func statusOf(r *verifier.Report, id string) string {
	for i := range r.Checks {
		if r.Checks[i].ID == id {
			return r.Checks[i].Status
		}
	}
	return "absent"
}

// Two free slots of which nothing shows that they are of one machine.
func TestConfidentialVMBesideTPM(t *testing.T) {
	t.Parallel()
	for _, k := range confidentialKinds() {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			g := newConfidential(t, k.name)
			m := newMachine(t)
			roots := g.path("roots")
			for _, from := range []string{m.roots, g.maker.roots()} {
				if err := os.CopyFS(roots, os.DirFS(from)); err != nil {
					t.Fatal(err)
				}
			}
			g.roots = roots
			flags := []string{"--tpm", m.addr, "--tee", k.name, "--tee", teeTPM}
			if d := g.launch(t, "golden", goldenNonce, nil, flags...); !strings.Contains(d.err, "into PCR 13 (sha256") {
				t.Errorf("the launcher says %s", d.err)
			}
			args := []string{
				"policy", "from-record", g.path("golden.cer.json"), "--roots", roots, "--waive", swapWaiver,
				"--waive", "slot.measurement=simulated", "--waive", "launcher.rooted=simulated", "-o", g.path("free.json"),
			}
			checkRefused(t, g.do(t, args...), "composite.same-machine")
			p := g.policyOf(t, "golden", "slot.measurement", "launcher.rooted", "composite.same-machine")
			strict := g.unwaived(t, p, "composite.same-machine")
			if k.name == teeTDX {
				// Another TD: its register is at zero, and the TPM's is not.
				d := g.do(t, g.launchArgs(t, "second", testNonce, nil, flags...)...)
				g.noRecord(t, "second", d, "register 3 (sha384) holds events that the log of this launch does not have")
				g.nextTD(t, m, p, strict, flags)
				return
			}
			g.launch(t, "second", testNonce, nil, flags...)
			g.both(t, p, strict, k.root)
		})
	}
}

// nextTD launches beside a TPM that was reset together with the TD.
func (g *confidential) nextTD(t *testing.T, m *machine, policy, strict string, flags []string) {
	t.Helper()
	if err := m.tpm.Close(); err != nil {
		t.Fatal(err)
	}
	m.start(t)
	g.launch(t, "second", testNonce, nil, flags...)
	g.both(t, policy, strict, "Intel SGX Root CA SIMULATED")
}

// both judges a record with two slots.
func (g *confidential) both(t *testing.T, policy, strict, root string) {
	t.Helper()
	r := g.judge(t, "second", policy)
	if !r.Trusted || !strings.Contains(r.Headline, `"SIMULATED TPM maker"`) || !strings.Contains(r.Headline, `"`+root+`"`) || !strings.Contains(r.Headline, "composite.same-machine") {
		t.Errorf("%s %v", r.Headline, blocking(r))
	}
	if got := statusOf(r, "log.replay"); got != "passed" {
		t.Errorf("log.replay is %s: %s", got, detail(r, "log.replay"))
	}
	refused(t, "without the waiver", g.judge(t, "second", strict), "composite.same-machine")
}

// unwaived writes a policy without a waiver, and returns its path.
func (g *confidential) unwaived(t *testing.T, policy, id string) string {
	t.Helper()
	return g.change(t, policy, "strict.json", func(p map[string]any) {
		list, _ := p["waive"].([]any)
		var kept []any
		for _, w := range list {
			if m, _ := w.(map[string]any); m["check"] != id {
				kept = append(kept, w)
			}
		}
		if len(kept) != len(list)-1 {
			t.Fatalf("no waiver of %s in %v", id, list)
		}
		p["waive"] = kept
	})
}

// change writes another policy, and returns its path.
func (g *confidential) change(t *testing.T, policy, name string, edit func(map[string]any)) string {
	t.Helper()
	b, err := os.ReadFile(policy)
	var p map[string]any
	if err == nil {
		err = json.Unmarshal(b, &p)
	}
	if err != nil {
		t.Fatal(err)
	}
	edit(p)
	if b, err = json.Marshal(p); err != nil {
		t.Fatal(err)
	}
	return g.write(t, name, string(b))
}

// Within one life of a TD the log goes on; what somebody else put into the register is
// not hidden.
func TestLivesOfTD(t *testing.T) {
	t.Parallel()
	g := newConfidential(t, teeTDX)
	launch := func(name, nonce string) string {
		args := append([]string{g.sworn, "run", "--tee", teeTDX, "--state", g.state, "--record", g.path(name + ".cer.json"), "--nonce", nonce}, g.collateral()...)
		return strings.Join(append(args, "--", job(t), "say", "hello"), " ")
	}
	shell := func(script ...string) done {
		d := g.do(t, g.in(nil, "sh", "-ec", strings.Join(script, "\n"))...)
		if d.code != 0 {
			t.Fatalf("exit status %d: %s", d.code, d.err)
		}
		return d
	}
	d := shell(launch("first", goldenNonce), launch("second", testNonce))
	if strings.Contains(d.err, "level=") {
		t.Errorf("the launcher says %s", d.err)
	}
	p := g.policyOf(t, "first", "launcher.rooted")
	r := g.judge(t, "second", p)
	g.assumes(t, r, "Intel SGX Root CA SIMULATED", "launcher.rooted")
	if r.Summary.EarlierLaunches != 1 {
		t.Errorf("%d earlier launches", r.Summary.EarlierLaunches)
	}
	// Another TD finds the log of the one before, and its own register at zero.
	const extend = `for f in /sys/devices/virtual/misc/tdx_guest/measurements/rtmr3*; do head -c 48 /dev/zero >"$f"; done`
	d = shell(launch("third", testNonce), extend, launch("fourth", testNonce))
	if !strings.Contains(d.err, "level=INFO msg=\"the register is at zero") || !strings.Contains(d.err, "level=WARN msg=\"the register does not confirm the log") ||
		!strings.Contains(d.err, "log.origin will not be established until the machine is started anew") || strings.Contains(d.err, "TPM") {
		t.Errorf("the launcher says %s", d.err)
	}
	g.assumes(t, g.judge(t, "third", p), "Intel SGX Root CA SIMULATED", "launcher.rooted")
	r = g.judge(t, "fourth", p)
	refused(t, "a register that somebody else extended", r, "log.origin")
	if r.Summary.EarlierLaunches != 0 {
		t.Errorf("%d earlier launches", r.Summary.EarlierLaunches)
	}
	lost, err := exec.Command("find", g.state, "-name", "log.lost-*").Output()
	if err != nil || strings.Count(string(lost), "\n") != 2 {
		t.Errorf("set aside are %s, %v", lost, err)
	}
}

// serve has the vendors' services run with faults, and returns their URL.
func (g *confidential) serve(t *testing.T, flags ...string) string {
	t.Helper()
	r := g.begin(t, append([]string{"simulate", "vendor", "--dir", g.maker.dir, "--serve", "127.0.0.1:0"}, flags...)...)
	t.Cleanup(func() {
		_ = r.cmd.Process.Kill()
		_ = r.in.Close()
		_ = r.cmd.Wait()
	})
	r.waitFor(t, "\nserve  http://")
	_, url, _ := strings.Cut(r.out.String(), "serve  ")
	url, _, _ = strings.Cut(url, "\n")
	return url
}

// What the vendors' services say is in the record and decides, under the policy.
func TestVendorsWord(t *testing.T) {
	t.Parallel()
	snp, tdx := newConfidential(t, teeSNP), newConfidential(t, teeTDX)
	snp.launch(t, "golden", goldenNonce, nil)
	tdx.launch(t, "golden", goldenNonce, nil)
	policies := map[*confidential]string{
		snp: snp.policyOf(t, "golden", "log.sole", "launcher.rooted"),
		tdx: tdx.policyOf(t, "golden", "launcher.rooted"),
	}
	for i, c := range []struct {
		g     *confidential
		flags []string
		id    string
		words string
	}{
		{snp, []string{"--revoke", "ask"}, "slot.revocation", `has revoked the certificate of "CN=SEV-Milan SIMULATED,`},
		{tdx, []string{"--revoke", "platform-ca"}, "slot.revocation", `the certificate of "CN=Intel SGX PCK Platform CA SIMULATED,`},
		{tdx, []string{"--revoke", "tcb-signing"}, "slot.revocation", `the certificate of "CN=Intel SGX TCB Signing SIMULATED,`},
		{tdx, []string{"--status", "OutOfDate"}, "slot.tcb", "OutOfDate"},
		{tdx, []string{"--status", "Revoked"}, "slot.tcb", "Revoked"},
	} {
		t.Run(strings.Join(c.flags, " "), func(t *testing.T) {
			url, name := c.g.serve(t, c.flags...), fmt.Sprintf("word%d", i)
			c.g.launch(t, name, testNonce, nil, "--collateral", "auto", "--kds", url, "--pcs", url, "--collateral-cache", c.g.path(name))
			r := c.g.judge(t, name, policies[c.g])
			notTrusted(t, c.words, r, c.id, "failed")
			refused(t, c.words, r, c.id)
			if !strings.Contains(r.Headline, c.words) {
				t.Errorf("the headline does not hold %q: %s", c.words, r.Headline)
			}
			if c.id != "slot.tcb" {
				return
			}
			// A policy may take a platform that is out of date, and never a revoked one.
			loose := c.g.change(t, policies[c.g], "loose.json", func(p map[string]any) {
				formats, _ := p["formats"].(map[string]any)
				rules, _ := formats[teeTDX].(map[string]any)
				rules["tcb"] = map[string]any{"status": []string{"UpToDate", "OutOfDate"}}
			})
			if r := c.g.judge(t, name, loose); c.words == "Revoked" {
				notTrusted(t, c.words, r, c.id, "failed")
			} else {
				c.g.assumes(t, r, "Intel SGX Root CA SIMULATED", "launcher.rooted")
			}
		})
	}
}

// A service that wants to be asked seldom is asked again when it says so.
func TestServiceAskedAgain(t *testing.T) {
	t.Parallel()
	g := newConfidential(t, teeSNP)
	url := g.serve(t, "--interval", "1s")
	d := g.do(t, g.in(nil, "sh", "-ec", `d=/sys/kernel/config/tsm/report/x; mkdir $d; head -c 64 /dev/zero >$d/inblob; cat $d/outblob >`+g.path("report.bin")+`; rmdir $d`)...)
	if d.code != 0 {
		t.Fatalf("exit status %d: %s", d.code, d.err)
	}
	begun := time.Now()
	for i, want := range []bool{false, true} {
		cache, out := g.path(fmt.Sprint("kept", i)), g.path(fmt.Sprint("out", i))
		d := g.do(t, "collateral", "fetch", "--kds", url, "--cache", cache, "--out", out, "--report", g.path("report.bin"))
		if d.code != 0 || strings.Count(d.out, "\n") != 4 || strings.Contains(d.err, "429 Too Many Requests") != want {
			t.Errorf("exit status %d: %s%s", d.code, d.out, d.err)
		}
	}
	if took := time.Since(begun); took < time.Second {
		t.Errorf("asked again after %v", took)
	}
}

// Several launches at a time in one confidential VM get each what is its own.
func TestConfidentialVMAtATime(t *testing.T) {
	t.Parallel()
	for _, k := range confidentialKinds() {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			g := newConfidential(t, k.name)
			const script = `for i in 1 2 3 4; do "$0" run "$@" --record many$i.cer.json -- "$JOB" say hello & done; wait; ls /sys/kernel/config/tsm/report`
			run := append([]string{"sh", "-ec", script, g.sworn, "--tee", k.name, "--state", g.state, "--nonce", testNonce}, g.collateral()...)
			g.env = []string{"JOB=" + job(t)}
			// Nothing but the jobs' output: every entry below configfs is gone.
			if d := g.do(t, g.in(nil, run...)...); d.code != 0 || d.out != strings.Repeat("hello\n", 4) {
				t.Fatalf("exit status %d: %q %s", d.code, d.out, d.err)
			}
			p, earlier := g.policyOf(t, "many1", k.waived...), 0
			for _, name := range []string{"many1", "many2", "many3", "many4"} {
				r := g.judge(t, name, p)
				g.assumes(t, r, k.root, k.waived...)
				earlier += r.Summary.EarlierLaunches
			}
			if want := map[string]int{teeSNP: 0, teeTDX: 0 + 1 + 2 + 3}[k.name]; earlier != want {
				t.Errorf("%d earlier launches in all, want %d", earlier, want)
			}
		})
	}
}

// What ended the command of a simulated machine is passed on.
func TestConfidentialVMStatus(t *testing.T) {
	t.Parallel()
	g := newConfidential(t, teeTDX)
	for command, want := range map[string]int{"exit 7": 7, "kill -PIPE $$": 141, "exit 0": 0} {
		if d := g.do(t, g.in(nil, "sh", "-c", command)...); d.code != want || d.err != "" {
			t.Errorf("%s: exit status %d, want %d: %s", command, d.code, want, d.err)
		}
	}
}

// Where nobody answers a record is made of what is at hand, and says what it lacks.
func TestNobodyAnswers(t *testing.T) {
	t.Parallel()
	g := newConfidential(t, teeSNP)
	const nowhere = "http://127.0.0.1:9"
	d := g.launch(t, "alone", testNonce, nil, "--collateral", "auto", "--kds", nowhere, "--collateral-cache", g.path("none"))
	if !strings.Contains(d.err, `level=WARN msg="made without some collateral" item="revocation list of ARK-Milan"`) || strings.Count(d.err, "level=WARN") != 1 {
		t.Errorf("the launcher says %s", d.err)
	}
	p := g.policyOf(t, "alone", "log.sole", "launcher.rooted", "slot.revocation")
	refused(t, "without a list", g.judge(t, "alone", g.unwaived(t, p, "slot.revocation")), "slot.revocation")
}

// Another product of AMD's has its versions elsewhere, and its keys of another root.
func TestConfidentialVMOfTurin(t *testing.T) {
	t.Parallel()
	g := newConfidential(t, teeSNP)
	g.maker = &maker{dir: g.path("v")}
	if d := g.do(t, "simulate", "vendor", "--dir", g.maker.dir, "--amd", "Turin"); d.code != 0 {
		t.Fatalf("exit status %d: %s", d.code, d.err)
	}
	g.maker.url, g.roots = g.serve(t), g.maker.roots()
	g.launch(t, "golden", goldenNonce, []string{"--product", "Turin"})
	p := g.policyOf(t, "golden", "log.sole", "launcher.rooted")
	g.launch(t, "second", testNonce, []string{"--product", "Turin"})
	g.assumes(t, g.judge(t, "second", p), "ARK-Turin SIMULATED", "log.sole", "launcher.rooted")
	if !strings.Contains(string(g.read(t, "golden.json")), `"fmc"`) {
		t.Errorf("the policy asks for no version of the FMC:\n%s", g.read(t, "golden.json"))
	}
}
