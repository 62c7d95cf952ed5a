//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/cer/nexart"
)

// records measures how long records of NexArt's form take to be sealed and
// verified, beside NexArt's own package: one thread here, one process of node
// there, each for a turn at a time.
func (b *bench) records(ctx context.Context) error {
	p, stop, err := b.nexart(ctx)
	if err != nil {
		return err
	}
	defer stop()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	if err := b.printf("\n### NexArt's records\n\nOn one thread (GOMAXPROCS=1), beside NexArt's package @nexart/ai-execution 0.1.0 under node. The input is of 256 bytes, the output of 512.\n"); err != nil {
		return err
	}
	for _, size := range []struct{ kib, times int }{{1, 2000}, {64, 200}} {
		r, err := newRecord(size.kib << 10)
		if err != nil {
			return err
		}
		if err := p.agrees(r); err != nil {
			return err
		}
		for _, work := range []func(context.Context, *peer, *record, int) error{b.verifying, b.sealing} {
			if err := work(ctx, p, r, size.times); err != nil {
				return err
			}
		}
	}
	return nil
}

// record is a record to seal and to verify.
type record struct {
	prompt   string
	snapshot cer.Snapshot
	// facts are the snapshot as both NexArt's package and package nexart take it.
	facts  map[string]any
	text   []byte // of facts
	sealed []byte
}

// recordDay is when the record is said to have been made.
const recordDay = "2026-11-28T00:00:00.000Z"

// newRecord makes a record with a prompt of a size in bytes: prose, with quotes,
// line ends and a letter that is not ASCII in every hundred.
func newRecord(size int) (*record, error) {
	const prose = "Read the letter below and say in two sentences what its writer wants. Answer \"none\", \u00e0 part, if nothing.\n"
	cut := func(n int) string { return strings.ToValidUTF8(strings.Repeat(prose, n/len(prose)+1)[:n], "?") }
	r := &record{prompt: cut(size)}
	input, output, sdk := cut(256), cut(512), "0.1.0"
	in, err := cer.TextValue(input)
	if err != nil {
		return nil, err
	}
	out, err := cer.TextValue(output)
	if err != nil {
		return nil, err
	}
	r.snapshot = cer.Snapshot{
		ProtocolVersion: cer.Protocol120, ExecutionID: "bench-1", Timestamp: recordDay, Provider: "example", Model: "m-1",
		Prompt: r.prompt, Input: in, Output: out, Parameters: cer.Parameters{Temperature: 0.7, MaxTokens: 1024}, SDKVersion: &sdk,
	}
	r.facts = map[string]any{
		"executionId": "bench-1", "timestamp": recordDay, "provider": "example", "model": "m-1", "prompt": r.prompt, "input": input, "output": output,
		"parameters": map[string]any{"temperature": 0.7, "maxTokens": 1024, "topP": nil, "seed": nil}, "sdkVersion": sdk,
	}
	if r.text, err = json.Marshal(r.facts); err != nil {
		return nil, err
	}
	r.sealed, err = cer.Seal(r.snapshot, recordDay)
	return r, err
}

// verifying measures a verdict on a record's bytes.
func (b *bench) verifying(ctx context.Context, p *peer, r *record, times int) error {
	if _, err := p.ask(map[string]any{"do": "prepare", "work": "verify", "text": string(r.sealed), "times": times}); err != nil {
		return err
	}
	verify := func() error { _, err := cer.VerifyIntegrity(r.sealed); return err }
	return b.turns(ctx, fmt.Sprintf("A prompt of %d KiB verified %d times, from bytes to verdict", len(r.prompt)>>10, times), times, []work{
		{name: "`cer.VerifyIntegrity`", do: verify},
		{name: "node: `JSON.parse` and `verifyCer`", peer: p},
	})
}

// sealing measures how long a record takes to be made.
func (b *bench) sealing(ctx context.Context, p *peer, r *record, times int) error {
	if _, err := p.ask(map[string]any{"do": "prepare", "work": "seal", "facts": r.facts, "createdAt": recordDay, "times": times}); err != nil {
		return err
	}
	at, err := time.Parse(cer.TimeLayout, recordDay)
	if err != nil {
		return err
	}
	return b.turns(ctx, fmt.Sprintf("A prompt of %d KiB sealed %d times", len(r.prompt)>>10, times), times, []work{
		{name: "`cer.Seal`", do: func() error { _, err := cer.Seal(r.snapshot, recordDay); return err }},
		{name: "node: `createSnapshot`, `sealCer` and `JSON.stringify`", peer: p},
		{name: "`nexart.Seal`, from JSON text, which it verifies besides", do: func() error {
			_, err := nexart.Seal(r.text, nexart.SealOptions{CreatedAt: at})
			return err
		}},
	})
}

// work is done either here or by the peer, as it was prepared.
type work struct {
	name string
	do   func() error
	peer *peer
}

// turns compares works, and says what those that are done here allocate.
func (b *bench) turns(ctx context.Context, title string, times int, all []work) error {
	if err := b.printf("\n%s:\n", title); err != nil {
		return err
	}
	contenders := make([]contender, len(all))
	for i, w := range all {
		turn := func(context.Context) (cost, error) { return timed(w.do, times) }
		if w.peer != nil {
			turn = func(context.Context) (cost, error) { return w.peer.ask(map[string]any{"do": "turn", "times": times}) }
		}
		contenders[i] = contender{w.name, turn}
	}
	if _, err := b.compare(ctx, 2*b.rounds, contenders); err != nil {
		return err
	}
	for _, w := range all {
		if w.do == nil {
			continue
		}
		n, size, err := allocations(w.do)
		if err != nil {
			return err
		}
		if err := b.printf("\n%s allocates %d times, %d bytes.\n", w.name, n, size); err != nil {
			return err
		}
	}
	return nil
}

// timed does a work a number of times on this process.
func timed(do func() error, times int) (cost, error) {
	before, began := processorTime(), time.Now()
	for range times {
		if err := do(); err != nil {
			return cost{}, err
		}
	}
	return cost{time.Since(began), processorTime() - before}, nil
}

// processorTime is what this process has used so far.
func processorTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// allocations counts what a work allocates: how often, and how many bytes.
func allocations(do func() error) (n, size uint64, err error) {
	const times = 100
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range times {
		if err := do(); err != nil {
			return 0, 0, err
		}
	}
	runtime.ReadMemStats(&after)
	return (after.Mallocs - before.Mallocs) / times, (after.TotalAlloc - before.TotalAlloc) / times, nil
}

// peer is a process that does NexArt's work: nexart.mjs.
type peer struct {
	to   io.Writer
	from *bufio.Reader
}

// nexart installs NexArt's package in the bench's folder and starts the peer.
func (b *bench) nexart(ctx context.Context) (p *peer, stop func(), err error) {
	for _, tool := range [][2]string{{"node", "nodejs"}, {"npm", "npm"}} {
		if err := installed(tool[0], tool[1]); err != nil {
			return nil, nil, err
		}
	}
	dir := filepath.Join(b.dir, "nexart")
	if err := os.Mkdir(dir, 0o750); err != nil {
		return nil, nil, err
	}
	for _, name := range []string{"tools/nexart/package.json", "tools/nexart/package-lock.json", "bench/nexart.mjs"} {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, nil, err
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), text, 0o600); err != nil {
			return nil, nil, err
		}
	}
	if _, err := command(ctx, "", "npm", "ci", "--prefix", dir, "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"); err != nil {
		return nil, nil, err
	}
	cmd := exec.CommandContext(ctx, "node", "nexart.mjs")
	cmd.Dir = dir
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	stop = func() {
		_ = in.Close()
		_ = cmd.Wait() // What it had to say has been read.
	}
	return &peer{in, bufio.NewReader(out)}, stop, nil
}

// answer is what the peer says.
type answer struct {
	Hash      string
	Wall, CPU int64 // ns
}

func (p *peer) say(ask map[string]any) (a answer, err error) {
	line, err := json.Marshal(ask)
	if err != nil {
		return a, err
	}
	if _, err := p.to.Write(append(line, '\n')); err != nil {
		return a, fmt.Errorf("asking node: %w", err)
	}
	line, err = p.from.ReadBytes('\n')
	if err != nil {
		return a, fmt.Errorf("hearing node: %w", err)
	}
	return a, json.Unmarshal(line, &a)
}

// ask has the peer do something and returns what it took.
func (p *peer) ask(ask map[string]any) (cost, error) {
	a, err := p.say(ask)
	if err != nil {
		return cost{}, err
	}
	if ask["do"] == "turn" && a.Wall <= 0 {
		return cost{}, errors.New("node did nothing")
	}
	return cost{time.Duration(a.Wall), time.Duration(a.CPU)}, nil
}

// agrees wants both sides to make the same record of the same facts.
func (p *peer) agrees(r *record) error {
	a, err := p.say(map[string]any{"do": "hash", "facts": r.facts, "createdAt": recordDay})
	if err != nil {
		return err
	}
	if a.Hash == "" || !bytes.Contains(r.sealed, []byte(`"certificateHash":"`+a.Hash+`"`)) {
		return fmt.Errorf("node seals to %q, not to the same record", a.Hash)
	}
	return nil
}
