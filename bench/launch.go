//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/launch"
	"github.com/sworn-run/sworn/simulator"
	"github.com/sworn-run/sworn/tpm/tpmdev"
	"github.com/sworn-run/sworn/verifier"
)

// register is the PCR that anchors the logs.
const register = 13

// power switches the software TPM on, with a maker of its own, or off and on
// again: its register begins anew, and so does the log.
func (b *bench) power(ctx context.Context) error {
	if err := b.off(); err != nil {
		return err
	}
	s, err := simulator.StartSWTPM(ctx, simulator.Options{Dir: filepath.Join(b.dir, "tpm")})
	if err != nil {
		return err
	}
	b.swtpm, b.tpm, b.roots = s, s.Addr(), s.RootsDir()
	return nil
}

// off switches the software TPM off.
func (b *bench) off() error {
	if b.swtpm == nil {
		return nil
	}
	s := b.swtpm
	b.swtpm = nil
	return s.Close()
}

// job is something to run, bare and attested.
type job struct {
	name string
	// bare is the command without Sworn, template that for Sworn.
	bare, template        []string
	weights, config, page string
}

// jobs are the demo's and the least there is.
func jobs() ([]job, error) {
	if err := installed("tesseract", "tesseract-ocr tesseract-ocr-eng"); err != nil {
		return nil, err
	}
	var weights string
	for _, pattern := range []string{os.Getenv("TESSDATA_PREFIX"), "/usr/share/tesseract-ocr/*/tessdata", "/usr/share/tessdata"} {
		found, err := filepath.Glob(filepath.Join(pattern, "eng.traineddata"))
		if err == nil && pattern != "" && len(found) > 0 {
			weights = found[0]
			break
		}
	}
	if weights == "" {
		return nil, errors.New("no eng.traineddata: apt-get install tesseract-ocr-eng")
	}
	ocr := job{
		name: "Tesseract", weights: weights, config: "examples/ocr/invoice.cfg", page: "examples/ocr/page.png",
		template: []string{"tesseract", "stdin", "stdout", "--tessdata-dir", "{weights.dir}", "-l", "eng", "{config}"},
	}
	ocr.bare = []string{"tesseract", "stdin", "stdout", "--tessdata-dir", filepath.Dir(weights), "-l", "eng", ocr.config}
	return []job{ocr, {name: "`true`", bare: []string{"true"}, template: []string{"true"}}}, nil
}

// flags are the job as flags of `sworn run` and `sworn policy from-files`.
func (j *job) flags() []string {
	flags := []string{"--env", "OMP_THREAD_LIMIT"}
	if j.weights != "" {
		flags = append(flags, "--weights", j.weights, "--config", j.config, "--input", j.page)
	}
	return flags
}

// attested runs a job by `sworn run`.
func (b *bench) attested(ctx context.Context, j *job, record string, more ...string) (cost, error) {
	args := append([]string{"run", "-q", "--tpm", b.tpm, "--state", filepath.Join(b.dir, "state"), "--record", record}, more...)
	args = append(append(append(args, j.flags()...), "--"), j.template...)
	return command(ctx, "", b.sworn, args...)
}

// launches measures what `sworn run` adds to a job, and where the time goes.
func (b *bench) launches(ctx context.Context) error {
	all, err := jobs()
	if err != nil {
		return err
	}
	if err := b.printf("\n### Launch\n"); err != nil {
		return err
	}
	rows := make([][]parts, len(all))
	for i := range all {
		j := &all[i]
		contenders := []contender{
			{"bare job: " + j.name, func(ctx context.Context) (cost, error) { return command(ctx, j.page, j.bare[0], j.bare[1:]...) }},
			{"`sworn run`: " + j.name, func(ctx context.Context) (cost, error) {
				return b.attested(ctx, j, filepath.Join(b.dir, "record"))
			}},
		}
		taken := func(ctx context.Context) (cost, error) {
			p, err := b.inside(ctx, j)
			rows[i] = append(rows[i], p)
			return cost{wall: p.total}, err
		}
		if err := b.power(ctx); err != nil {
			return err
		}
		costs, err := b.compare(ctx, b.rounds, contenders)
		if err != nil {
			return err
		}
		var added []time.Duration
		for n := range costs[0] {
			added = append(added, costs[1][n].wall-costs[0][n].wall)
		}
		if err := b.printf("\n`sworn run` adds %s ms.\n", ms(median(added))); err != nil {
			return err
		}
		if err := b.power(ctx); err != nil {
			return err
		}
		if _, err := interleave(ctx, b.rounds, []contender{{j.name, taken}}); err != nil {
			return err
		}
		rows[i] = rows[i][1:] // The first round does not count.
	}
	return b.breakdown(all, rows)
}

// parts says where the time of one launch went.
type parts struct {
	total, plan, hash, root, tpm, job, check time.Duration
	files, commands                          int
	bytes                                    uint64
}

// breakdown prints the parts of launches.
func (b *bench) breakdown(all []job, rows [][]parts) error {
	if err := b.printf("\nWhere the time of a launch goes, measured in one process, medians in ms:\n\n" +
		"| job | files | MB | finding them | closed root with a hashed copy of each | (hashing alone) | TPM | the job | self-check | rest | all |\n" +
		"|---|---|---|---|---|---|---|---|---|---|---|\n"); err != nil {
		return err
	}
	for i, j := range all {
		col := func(f func(parts) time.Duration) string { return ms(median(each(rows[i], f))) }
		first := rows[i][0]
		if err := b.printf("| %s | %d | %.1f | %s | %s | (%s) | %s, %d calls | %s | %s | %s | %s |\n", j.name, first.files, float64(first.bytes)/1e6,
			col(func(p parts) time.Duration { return p.plan }),
			col(func(p parts) time.Duration { return p.root }),
			col(func(p parts) time.Duration { return p.hash }),
			col(func(p parts) time.Duration { return p.tpm }), first.commands,
			col(func(p parts) time.Duration { return p.job }),
			col(func(p parts) time.Duration { return p.check }),
			col(func(p parts) time.Duration { return p.total - p.plan - p.root - p.tpm - p.job - p.check }),
			col(func(p parts) time.Duration { return p.total })); err != nil {
			return err
		}
	}
	return nil
}

// inside launches a job in this process and takes the time of each part.
func (b *bench) inside(ctx context.Context, j *job) (p parts, err error) {
	exe, err := os.Executable()
	if err != nil {
		return p, err
	}
	began := time.Now()
	want := launch.Job{Command: j.template, Env: []string{"OMP_THREAD_LIMIT=1"}, Launcher: exe}
	if j.weights != "" {
		want.Weights, want.Config, want.Input = []launch.Named{{Path: j.weights}}, []launch.Named{{Path: j.config}}, j.page
	}
	plan, err := launch.NewPlan(want)
	if err != nil {
		return p, err
	}
	p.plan = time.Since(began)
	opened := time.Now()
	reg := uint32(register)
	dev, err := tpmdev.Open(ctx, b.tpm, tpmdev.Options{Register: &reg})
	if err != nil {
		return p, err
	}
	defer dev.Close()
	d := &device{t: dev, spent: time.Since(opened)}
	o := launch.Options{
		Plan: plan, Device: launch.Device{Attester: d, Measurer: d, Life: d, Register: register},
		StateDir: filepath.Join(b.dir, "state"), Disclose: cer.DiscloseHash, Timeout: time.Minute,
		Stdout: io.Discard, Stderr: io.Discard, Now: time.Now,
		SelfCheck: func(capsule, _ []byte) error {
			at := time.Now()
			defer func() { p.check = time.Since(at) }()
			r, err := verifier.Verify(capsule, verifier.Input{Now: at, Version: "v0.1.0"})
			if err != nil {
				return err
			}
			return r.Genuine()
		},
	}
	if j.page != "" {
		f, err := os.Open(j.page)
		if err != nil {
			return p, err
		}
		defer f.Close()
		o.Stdin = f
	}
	res, err := launch.Run(ctx, o)
	if err != nil {
		return p, err
	}
	p.total = time.Since(began)
	if res.Exit.Code != 0 {
		return p, fmt.Errorf("the job exits with %d", res.Exit.Code)
	}
	p.files, p.bytes, p.job = res.Files, res.Bytes, res.Exit.Duration
	p.tpm, p.commands, p.root = d.spent, d.calls, d.root
	at := time.Now()
	if _, err := plan.Measure(context.Background()); err != nil {
		return p, err
	}
	p.hash = time.Since(at)
	return p, nil
}

// device takes the time of everything that a launch asks of the TPM. The job's
// root is made between the call before the second reading of the register's life
// and that reading: the journal asks first, the launch when its root stands.
type device struct {
	t           *tpmdev.TPM
	spent, root time.Duration
	last        time.Time
	calls       int
	lives       int
}

// timed counts one call that began then.
func (d *device) timed(began time.Time) {
	d.last = time.Now()
	d.spent += d.last.Sub(began)
	d.calls++
}

// Life implements [attest.LifeReader].
func (d *device) Life(ctx context.Context) (attest.Life, error) {
	now := time.Now()
	if d.lives++; d.lives == 2 {
		d.root = now.Sub(d.last)
	}
	defer d.timed(now)
	return d.t.Life(ctx)
}

// Banks implements [attest.Measurer].
func (d *device) Banks(ctx context.Context) ([]attest.Alg, error) {
	defer d.timed(time.Now())
	return d.t.Banks(ctx)
}

// Read implements [attest.Measurer].
func (d *device) Read(ctx context.Context) ([]attest.RegisterValue, error) {
	defer d.timed(time.Now())
	return d.t.Read(ctx)
}

// Extend implements [attest.Measurer].
func (d *device) Extend(ctx context.Context, digests [][]byte) error {
	defer d.timed(time.Now())
	return d.t.Extend(ctx, digests)
}

// Manifest implements [attest.Attester].
func (d *device) Manifest(ctx context.Context) (attest.Slot, error) {
	defer d.timed(time.Now())
	return d.t.Manifest(ctx)
}

// Attest implements [attest.Attester].
func (d *device) Attest(ctx context.Context, slot uint8, st *attest.Statement) (*attest.Evidence, error) {
	defer d.timed(time.Now())
	return d.t.Attest(ctx, slot, st)
}

// Close implements [attest.Attester].
func (d *device) Close() error { return d.t.Close() }
