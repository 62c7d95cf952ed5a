//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/cer/archive"
	"github.com/sworn-run/sworn/tpm/tpmdev"
)

// bulkTurns is how often each contender verifies, or reads, the whole archive.
const bulkTurns = 3

// bulk measures how fast an archive of records is verified whose statements are over many
// records each.
func (b *bench) bulk(ctx context.Context) error {
	if err := b.power(ctx); err != nil {
		return err
	}
	p := &producer{b: b}
	if err := p.launch(ctx); err != nil {
		return err
	}
	few, many := filepath.Join(b.dir, "few.tar"), filepath.Join(b.dir, "many.tar")
	began := time.Now()
	if err := p.archive(ctx, few, max(1, b.quotes/10), b.many/10); err != nil {
		return err
	}
	if err := p.archive(ctx, many, b.quotes, b.many); err != nil {
		return err
	}
	size, err := b.bulkHeader(ctx, few, many, time.Since(began))
	if err != nil {
		return err
	}
	var memory [2]int64
	verify := func(name string, of int) func(context.Context) (cost, error) {
		return func(ctx context.Context) (cost, error) {
			c, peak, err := b.verifyArchive(ctx, name, p.policy)
			memory[of] = max(memory[of], peak)
			return c, err
		}
	}
	costs, err := b.compare(ctx, bulkTurns, []contender{
		{"`encoding/json` reads each record, on one processor, and nothing else", func(context.Context) (cost, error) {
			return readRecords(many, func(line []byte) error {
				var v any
				return json.Unmarshal(line, &v)
			})
		}},
		{"SHA-256 of the archive, on one processor", func(context.Context) (cost, error) { return hashArchive(many) }},
		{fmt.Sprintf("`sworn verify`, %d records of %d statements", b.many, b.quotes), verify(many, 1)},
		{fmt.Sprintf("`sworn verify`, %d records of %d statements", b.many/10, max(1, b.quotes/10)), verify(few, 0)},
	})
	if err != nil {
		return err
	}
	wall, cpu := median(walls(costs[2])), median(cpus(costs[2]))
	return b.printf("\n%.0f records a second on %d processors, %.1f MB a second, %.0f µs of processor's time for each.\n"+
		"Peak memory %.0f MB with %d records, %.0f MB with %d.\n",
		float64(b.many)/wall.Seconds(), runtime.NumCPU(), float64(size)/1e6/wall.Seconds(), float64(cpu.Microseconds())/float64(b.many),
		float64(memory[0])/1e3, b.many/10, float64(memory[1])/1e3, b.many)
}

// bulkHeader says what is verified, and returns the size of the larger archive.
func (b *bench) bulkHeader(ctx context.Context, few, many string, took time.Duration) (int64, error) {
	st, err := os.Stat(many)
	if err != nil {
		return 0, err
	}
	text := fmt.Sprintf("\n### Archives\n\nOne launch on a software TPM made %d statements over %d records each, every one with a quote; all of it took %.0f s.\n"+
		"The archive has %.0f MB, the records apart would have %s.", b.quotes, b.many/b.quotes, took.Seconds(), float64(st.Size())/1e6, b.apart(many))
	if zstd, err := exec.LookPath("zstd"); err == nil {
		out := filepath.Join(b.dir, "few.tar.zst")
		if _, err := command(ctx, "", zstd, "-q", "-3", "-o", out, few); err != nil {
			return 0, err
		}
		small, err := os.Stat(out)
		if err != nil {
			return 0, err
		}
		whole, err := os.Stat(few)
		if err != nil {
			return 0, err
		}
		text += fmt.Sprintf(" `zstd -3` makes one a tenth as long %.1f times smaller.", float64(whole.Size())/float64(small.Size()))
	}
	return st.Size(), b.printf("%s\n", text)
}

// apart says how large the records of an archive are by themselves.
func (b *bench) apart(name string) string {
	total := int64(0)
	err := eachRecord(name, func(s *archive.Set, r *archive.Record) error {
		shared, err := s.Shared()
		if err == nil {
			total += int64(shared.Size(r.Record, r.Inclusion))
		}
		return err
	})
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%.0f MB", float64(total)/1e6)
}

// eachRecord reads an archive.
func eachRecord(name string, what func(*archive.Set, *archive.Record) error) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	r, err := archive.Open(f, st.Size())
	if err != nil {
		return err
	}
	for {
		s, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for rec, err := range s.All() {
			if err != nil {
				return err
			}
			if err := what(s, rec); err != nil {
				return err
			}
		}
	}
}

// readRecords takes the time of one reading of each record, the archive's own apart.
func readRecords(name string, read func([]byte) error) (c cost, err error) {
	err = eachRecord(name, func(_ *archive.Set, r *archive.Record) error {
		used, began := usedCPU(), time.Now()
		err := read(r.Record)
		c.wall += time.Since(began)
		c.cpu += usedCPU() - used
		return err
	})
	return c, err
}

// usedCPU returns the processor's time of this process so far.
func usedCPU() time.Duration {
	var use syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &use) != nil {
		return 0
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

// hashArchive hashes an archive.
func hashArchive(name string) (cost, error) {
	f, err := os.Open(name)
	if err != nil {
		return cost{}, err
	}
	defer f.Close()
	used, began := usedCPU(), time.Now()
	_, err = io.CopyBuffer(sha256.New(), f, make([]byte, 256<<10))
	return cost{time.Since(began), usedCPU() - used}, err
}

// verifyArchive verifies an archive as a process, and returns the most memory it had in KB.
func (b *bench) verifyArchive(ctx context.Context, name, policy string) (cost, int64, error) {
	cmd := exec.CommandContext(ctx, b.sworn, "verify", "--policy", policy, "--roots", b.roots, name)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	began := time.Now()
	err := cmd.Run()
	took := time.Since(began)
	if err != nil {
		first, _, _ := bytes.Cut(out.Bytes(), []byte("\n"))
		return cost{}, 0, fmt.Errorf("sworn verify %s: %w: %s %s", name, err, first, errs.String())
	}
	use, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return cost{}, 0, errors.New("no account of the process")
	}
	return cost{took, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}, use.Maxrss, nil
}

// producer makes batches of records after the model of one that sworn run made, in a launch
// of its own on the same TPM: the same components, another launch key.
type producer struct {
	b      *bench
	policy string

	tpm     *tpmdev.TPM
	banks   []attest.Alg
	log     *attest.Log
	tag     [32]byte
	segment *attest.Segment
	key     ed25519.PrivateKey
	keyID   [32]byte
	series  string

	model    *cer.Bundle
	runtime  *cer.Runtime
	list     []*cer.Component
	sequence uint64
	previous [32]byte
	number   uint64
}

// launch runs the model, makes a policy from it, and begins a launch.
func (p *producer) launch(ctx context.Context) error {
	j := job{name: "`true`", bare: []string{"true"}, template: []string{"true"}}
	golden := filepath.Join(p.b.dir, "model.cer.json")
	if _, err := p.b.attested(ctx, &j, golden); err != nil {
		return err
	}
	p.policy = filepath.Join(p.b.dir, "bulk.policy.json")
	args := []string{"policy", "from-record", golden, "--roots", p.b.roots, "-o", p.policy}
	for _, id := range []string{"slot.measurement", "launcher.rooted", "protection.memory"} {
		args = append(args, "--waive", id+"=software TPM, any machine")
	}
	if _, err := command(ctx, "", p.b.sworn, args...); err != nil {
		return err
	}
	if err := p.read(golden); err != nil {
		return err
	}
	reg := uint32(register)
	var err error
	if p.tpm, err = tpmdev.Open(ctx, p.b.tpm, tpmdev.Options{Register: &reg}); err != nil {
		return err
	}
	if p.banks, err = p.tpm.Banks(ctx); err != nil {
		return err
	}
	return p.begin(ctx)
}

// read reads the model, and the log of the TPM as the launcher left it.
func (p *producer) read(golden string) error {
	file, err := os.ReadFile(golden)
	if err != nil {
		return err
	}
	c, err := cer.ParseCapsule(file)
	if err != nil {
		return err
	}
	if p.model, err = cer.ParseBundle(c.CER); err != nil {
		return err
	}
	if p.runtime, err = cer.ParseRuntime(p.model.Snapshot.Runtime); err != nil {
		return err
	}
	logs, err := filepath.Glob(filepath.Join(p.b.dir, "state", "*", "log"))
	if err != nil || len(logs) != 1 {
		return fmt.Errorf("logs in the state folder: %v, %w", logs, err)
	}
	raw, err := os.ReadFile(logs[0])
	if err != nil {
		return err
	}
	if p.log, err = attest.ParseLog(raw); err != nil {
		return err
	}
	s, err := p.log.Structure()
	if err != nil {
		return err
	}
	p.segment = &s.Segments[len(s.Segments)-1]
	return nil
}

// begin measures the model's launch again, with a key that the producer holds.
func (p *producer) begin(ctx context.Context) error {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return err
	}
	p.key, p.keyID = private, sha256.Sum256(spki)
	if _, err := rand.Read(p.tag[:]); err != nil {
		return err
	}
	begin, err := cer.ParseBegin(p.segment.Begin.Data)
	if err != nil {
		return err
	}
	p.series = begin.Series
	old := *p.segment
	events := []attest.Event{
		{Type: attest.EventLaunchBegin, Data: old.Begin.Data}, {Type: attest.EventKey, Data: spki},
	}
	for _, e := range old.Components {
		c, err := cer.ParseComponent(e.Data)
		if err != nil {
			return err
		}
		p.list = append(p.list, c)
		events = append(events, *e)
	}
	for _, e := range old.Environments {
		events = append(events, *e)
	}
	for _, e := range append(events, attest.Event{Type: attest.EventSeparator}) {
		if err := p.extend(ctx, e.Type, e.Data); err != nil {
			return err
		}
	}
	s, err := p.log.Structure()
	if err != nil {
		return err
	}
	p.segment = &s.Segments[len(s.Segments)-1]
	p.previous = [32]byte{1}
	return nil
}

// extend measures an event.
func (p *producer) extend(ctx context.Context, typ attest.EventType, data []byte) error {
	var salt [32]byte
	if _, err := rand.Read(salt[:]); err != nil {
		return err
	}
	e := attest.NewEvent(uint64(len(p.log.Events)), typ, p.tag, salt, data)
	var digests [][]byte
	for _, bank := range p.banks {
		digests = append(digests, bank.Sum(e.Preimage()))
	}
	p.log.Events = append(p.log.Events, e)
	return p.tpm.Extend(ctx, digests)
}

// bundle makes one record.
func (p *producer) bundle(at time.Time) ([]byte, [32]byte, error) {
	rt, s := *p.runtime, p.model.Snapshot
	rt.Series, rt.Launch, rt.Key = p.series, cer.SHA256Digest(p.segment.Launch), cer.SHA256Digest(p.keyID)
	rt.Record = strconv.FormatUint(p.number, 10)
	rt.Output = cer.NewStream(sha256.Sum256([]byte(rt.Record)), p.number, true)
	forced := cer.ForcedSnapshot(rt.Parameters, p.list, p.segment.Launch, p.number)
	s.ExecutionID, s.InputHash, s.OutputHash = forced.ExecutionID, "", ""
	s.Timestamp = cer.FormatTime(at)
	var err error
	if s.Runtime, err = rt.Encode(); err != nil {
		return nil, [32]byte{}, err
	}
	content, err := cer.ContentHash(rt.Output)
	if err != nil {
		return nil, [32]byte{}, err
	}
	if s.Output, err = cer.RawToValue(content); err != nil {
		return nil, [32]byte{}, err
	}
	bundle, err := cer.Seal(s, cer.FormatTime(at))
	if err != nil {
		return nil, [32]byte{}, err
	}
	b, err := cer.ParseBundle(bundle)
	if err != nil {
		return nil, [32]byte{}, err
	}
	leaf, err := cer.ParseHash(b.CertificateHash)
	p.number++
	return bundle, leaf, err
}

// batch makes n records, commits and quotes the statement over them, and packs them.
func (p *producer) batch(ctx context.Context, to *archive.Builder, n int) error {
	at, first := time.Now(), p.number
	var bundles [][]byte
	var leaves [][32]byte
	for range n {
		bundle, leaf, err := p.bundle(at)
		if err != nil {
			return err
		}
		bundles, leaves = append(bundles, bundle), append(leaves, leaf)
	}
	tree, err := cer.NewTree(leaves)
	if err != nil {
		return err
	}
	c, err := p.statement(ctx, tree, first, at)
	if err != nil {
		return err
	}
	shared, err := c.Shared()
	if err != nil {
		return err
	}
	for i, bundle := range bundles {
		path, err := tree.Inclusion(uint64(i))
		if err != nil {
			return err
		}
		inclusion, err := (&cer.Inclusion{Index: uint64(i), Size: tree.Size(), Path: path}).Encode()
		if err != nil {
			return err
		}
		if err := to.Add(fmt.Sprintf("%09d.cer.json", first+uint64(i)), shared.AppendFile(nil, bundle, inclusion)); err != nil {
			return err
		}
	}
	return nil
}

// statement commits and quotes the statement over a batch, and returns what its capsules
// share.
func (p *producer) statement(ctx context.Context, tree *cer.Tree, first uint64, at time.Time) (*cer.Capsule, error) {
	slot, err := p.tpm.Manifest(ctx)
	if err != nil {
		return nil, err
	}
	p.sequence++
	n := uint64(len(p.log.Events))
	st := &attest.Statement{
		Type: attest.TypeBatch, Clock: attest.ClockHost, Time: uint64(at.UnixMilli()), Launch: p.segment.Launch, KeyID: p.keyID,
		Sequence: p.sequence, Previous: p.previous, LogSize: n, LogRoot: cer.LogRoot(p.log.Digests(n)),
		FirstRecord: first, RecordCount: tree.Size(), TreeRoot: tree.Root(), Manifest: []attest.Slot{slot},
	}
	if _, err := hex.Decode(st.Series[:], []byte(p.series)); err != nil {
		return nil, err
	}
	raw, err := st.Encode()
	if err != nil {
		return nil, err
	}
	p.previous = sha256.Sum256(raw)
	if err := p.extend(ctx, attest.EventCommit, p.previous[:]); err != nil {
		return nil, err
	}
	ev, err := p.tpm.Attest(ctx, 0, st)
	if err != nil {
		return nil, err
	}
	log, err := p.log.Encode()
	if err != nil {
		return nil, err
	}
	return &cer.Capsule{Statement: raw, Signature: ed25519.Sign(p.key, attest.SignedBytes(raw)), Log: log, Evidence: []attest.Evidence{*ev}}, nil
}

// archive makes an archive of batches.
func (p *producer) archive(ctx context.Context, name string, quotes, records int) error {
	scratch, err := os.CreateTemp(p.b.dir, "scratch")
	if err != nil {
		return err
	}
	defer os.Remove(scratch.Name())
	defer scratch.Close()
	to, err := archive.NewBuilder(scratch, "bench", nil)
	if err != nil {
		return err
	}
	for i := range quotes {
		if err := p.batch(ctx, to, records*(i+1)/quotes-records*i/quotes); err != nil {
			return err
		}
	}
	out, err := os.Create(name)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(out, 1<<20)
	return errors.Join(to.Write(w), w.Flush(), out.Close())
}
