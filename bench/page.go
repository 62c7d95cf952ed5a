//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/sworn-run/sworn/internal/browser"
	"github.com/sworn-run/sworn/verifier"
)

// pageInput is the size of what the job of a record for the page echoes, in bytes: it
// stands in the record twice, as input and as output, in Base64.
const pageInput = 36 << 10

// dropped is a file as the page holds it.
type dropped struct {
	Path string `json:"path"`
	Role string `json:"role"`
	Data string `json:"data"`
}

// browsing measures a verdict in the page that a browser opens from disk, and apart from
// it how long the page takes until it can give one.
func (b *bench) browsing(ctx context.Context) error {
	page, err := filepath.Abs(b.html)
	if err != nil {
		return err
	}
	if _, err := os.Stat(page); err != nil {
		return fmt.Errorf("%w: run make build", err)
	}
	s, files, err := b.pageSubject(ctx)
	if err != nil {
		return err
	}
	if err := b.printf("\n### In the page\n\nA capsule of %d bytes, with a policy, roots and a nonce. The turns in the page begin with "+
		"the drop and end when the verdict stands there, with the report below it still to be drawn.\n", len(s.capsule)); err != nil {
		return err
	}
	profile := filepath.Join(b.dir, "chromium")
	if err := os.MkdirAll(profile, 0o700); err != nil {
		return err
	}
	chromium, err := browser.Start(ctx, profile)
	if err != nil {
		return err
	}
	defer chromium.Close()
	var starts []time.Duration
	var open *browser.Page
	for range b.hashRounds {
		if open, err = chromium.Open(ctx, "file://"+page, browser.View{Width: 1280, Height: 900}); err != nil {
			return err
		}
		started, err := waitMillis(ctx, open, `new Promise((yes) => { const at = () => document.documentElement.dataset.started !== undefined ? yes(Number(document.documentElement.dataset.started)) : setTimeout(at, 5); at(); })`)
		if err != nil {
			return err
		}
		starts = append(starts, started)
	}
	var drops []dropCost
	if _, err := b.compare(ctx, 2*b.rounds, []contender{
		{"`sworn verify`, a process", func(ctx context.Context) (cost, error) {
			return command(ctx, "", b.sworn, "verify", "--policy", s.policy, "--roots", b.roots, "--nonce", nonceText, s.file)
		}},
		{"`verifier.Verify`, in a process", repeated(s.verify)},
		{"the page, from the drop to the verdict", func(ctx context.Context) (cost, error) {
			c, err := drop(ctx, open, files)
			drops = append(drops, c)
			return cost{wall: c.verdict}, err
		}},
	}); err != nil {
		return err
	}
	of := func(f func(dropCost) time.Duration) string { return ms(median(each(drops[1:], f))) }
	return b.printf("\nOf the page's time, verifying and writing the report as HTML and as JSON takes %s ms; the report stands there %s ms after the drop. "+
		"The very first drop, which does not count above, took %s ms to the verdict, %s of them verifying and writing, and %s ms to the report. "+
		"The page starts in %s ms, its self-test included, from its script's first line to a verifier that can be asked.\n",
		of(func(c dropCost) time.Duration { return c.work }), of(func(c dropCost) time.Duration { return c.report }),
		ms(drops[0].verdict), ms(drops[0].work), ms(drops[0].report), ms(median(starts)))
}

// dropCost is what the page took from a drop to the verdict's line and to the report, and
// the verifier's work in it.
type dropCost struct{ verdict, report, work time.Duration }

// pageSubject makes two records of a job that echoes what it gets, a policy from the
// first, and the files to be dropped.
func (b *bench) pageSubject(ctx context.Context) (*subject, []dropped, error) {
	if err := b.power(ctx); err != nil {
		return nil, nil, err
	}
	input := filepath.Join(b.dir, "echoed")
	if err := os.WriteFile(input, bytes.Repeat([]byte("What was asked is what is answered.\n"), pageInput/36), 0o600); err != nil {
		return nil, nil, err
	}
	s := &subject{file: filepath.Join(b.dir, "echo.cer.json"), policy: filepath.Join(b.dir, "echo-policy.json")}
	golden := filepath.Join(b.dir, "echo-golden.cer.json")
	for _, record := range []string{golden, s.file} {
		if _, err := command(ctx, "", b.sworn, "run", "-q", "--tpm", b.tpm, "--state", filepath.Join(b.dir, "state"), "--record", record,
			"--nonce", nonceText, "--disclose", "full", "--input", input, "--", "cat"); err != nil {
			return nil, nil, err
		}
	}
	args := []string{"policy", "from-record", golden, "--roots", b.roots, "-o", s.policy}
	for _, id := range []string{"slot.measurement", "launcher.rooted", "protection.memory"} {
		args = append(args, "--waive", id+"=software TPM, any machine")
	}
	if _, err := command(ctx, "", b.sworn, args...); err != nil {
		return nil, nil, err
	}
	if err := s.read(b.roots); err != nil {
		return nil, nil, err
	}
	if err := s.verify(); err != nil {
		return nil, nil, err
	}
	files := []dropped{}
	add := func(at, path string) error {
		data, err := os.ReadFile(path)
		files = append(files, dropped{Path: at, Data: base64.StdEncoding.EncodeToString(data)})
		return err
	}
	if err := errors.Join(add("echo.cer.json", s.file), add("policy.json", s.policy)); err != nil {
		return nil, nil, err
	}
	for _, role := range verifier.RootFolders() {
		entries, err := os.ReadDir(filepath.Join(b.roots, role))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		for _, e := range entries {
			if err := add(role+"-"+e.Name(), filepath.Join(b.roots, role, e.Name())); err != nil {
				return nil, nil, err
			}
			files[len(files)-1].Role = role
		}
	}
	return s, files, nil
}

// drop gives the page everything but the record, then drops the record, and wants it to
// be trusted.
func drop(ctx context.Context, p *browser.Page, files []dropped) (dropCost, error) {
	ctx, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	text, err := json.Marshal(files)
	if err != nil {
		return dropCost{}, err
	}
	var told struct {
		Status                string
		Verdict, Report, Work float64
	}
	err = p.Eval(ctx, `(async () => {
  const files = `+string(text)+`, el = (id) => document.getElementById(id);
  const wait = async (is) => { while (!is()) await new Promise((yes) => setTimeout(yes, 1)); };
  const put = (some) => {
    const transfer = new DataTransfer();
    for (const f of some) transfer.items.add(new File([Uint8Array.from(atob(f.data), (c) => c.charCodeAt(0))], f.path));
    el("drop").dispatchEvent(new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: transfer }));
  };
  el("clear").click();
  await wait(() => el("status").textContent === "Nothing was given yet.");
  put(files.slice(1));
  await wait(() => el("list").tBodies[0].rows.length === files.length - 1);
  files.slice(1).forEach((f) => {
    const select = [...document.querySelectorAll("#list select")].find((s) => s.getAttribute("aria-label").includes(f.path));
    if (select) { select.value = f.role; select.dispatchEvent(new Event("change")); }
  });
  el("nonce").value = "`+nonceText+`";
  el("nonce").dispatchEvent(new Event("change"));
  await wait(() => el("status").textContent === "No verdict.");
  const shown = new Promise((yes) => el("report").addEventListener("load", () => yes(performance.now()), { once: true }));
  const judged = new Promise((yes) => new MutationObserver((_, o) => {
    if (el("status").className !== "") { o.disconnect(); yes(performance.now()); }
  }).observe(el("status"), { attributes: true, childList: true }));
  const began = performance.now();
  put(files.slice(0, 1));
  const verdict = await judged, report = await shown;
  return { Status: el("status").className, Verdict: verdict - began, Report: report - began, Work: Number(document.documentElement.dataset.took) };
})()`, &told)
	if err == nil && told.Status != "trusted" {
		err = fmt.Errorf("the page does not trust the record: %q", told.Status)
	}
	return dropCost{verdict: millis(told.Verdict), report: millis(told.Report), work: millis(told.Work)}, err
}

// waitMillis evaluates an expression that becomes a number of milliseconds.
func waitMillis(ctx context.Context, p *browser.Page, expression string) (time.Duration, error) {
	ctx, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	var n float64
	err := p.Eval(ctx, expression, &n)
	return millis(n), err
}

// millis is a time that JavaScript tells.
func millis(n float64) time.Duration { return time.Duration(n * float64(time.Millisecond)) }
