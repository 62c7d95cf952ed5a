//go:build linux

package launch

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/cer/signer"
	"github.com/sworn-run/sworn/internal/launch/jail"
	"github.com/sworn-run/sworn/internal/limits"
)

// keeper keeps what passes through it, up to the limit of what a record
// carries; beyond it, nothing is kept.
type keeper struct {
	buf  bytes.Buffer
	over bool
}

// Write keeps b; it never fails.
func (k *keeper) Write(b []byte) (int, error) {
	if k.over || k.buf.Len()+len(b) > limits.EmbeddedContent {
		k.over = true
		k.buf = bytes.Buffer{}
		return len(b), nil
	}
	return k.buf.Write(b)
}

// capture holds what a full disclosure or an opening carries; nil keepers keep nothing.
type capture struct{ input, output, stderr *keeper }

// streams connects the job, and keeps content where record or opening carry it.
func (l *launch) streams() (jail.IO, *capture) {
	c := &capture{}
	s := jail.IO{Stdin: l.o.Stdin, Stdout: l.o.Stdout, Stderr: l.o.Stderr}
	if l.o.Plan.output != "" {
		s.Output = l.o.Stdout
		s.Stdout = io.Discard
	}
	if l.o.Disclose != cer.DiscloseFull && !l.o.OpeningContent {
		return s, c
	}
	c.input, c.output, c.stderr = &keeper{}, &keeper{}, &keeper{}
	if s.Stdin != nil {
		s.Stdin = io.TeeReader(s.Stdin, c.input)
	}
	if l.o.Plan.output != "" {
		s.Output = tee(s.Output, c.output)
	} else {
		s.Stdout = tee(s.Stdout, c.output)
	}
	s.Stderr = tee(s.Stderr, c.stderr)
	return s, c
}

// tee writes to w, where there is one, and then to k.
func tee(w io.Writer, k *keeper) io.Writer {
	if w == nil {
		return k
	}
	return io.MultiWriter(w, k)
}

// runtime returns the record's runtime as it states everything, but for stderr's
// content.
func (l *launch) runtime(exit jail.Exit) *cer.Runtime {
	r := &cer.Runtime{
		V: cer.RuntimeVersion, Series: hex.EncodeToString(l.series[:]), Launch: cer.SHA256Digest(l.id),
		Key: cer.SHA256Digest(l.keyID), Record: "0", Disclosure: l.o.Disclose, Isolation: l.isolation,
		Input: stream(exit.Stdin), Output: stream(exit.Stdout), Stderr: stream(exit.Stderr),
		Exit:       cer.Exit{Code: exit.Code, Timeout: exit.Timeout},
		Parameters: []cer.Parameter{}, After: afterFacts(),
	}
	if l.o.Plan.output != "" {
		r.Output = stream(exit.Output)
	}
	if d, ok := l.sandbox.Input(); ok {
		r.Input = cer.NewStream(d.SHA256, d.Size, true)
	}
	if exit.Signal != "" {
		r.Exit.Signal = &exit.Signal
	}
	if len(l.o.Nonce) > 0 {
		n := hex.EncodeToString(l.o.Nonce)
		r.Nonce = &n
	}
	for _, p := range l.o.Plan.job.Params {
		r.Parameters = append(r.Parameters, cer.Parameter{
			Name: p.Name, Value: p.Value, Applied: cer.Applied(l.o.Plan.job.Command, p.Name),
		})
	}
	r.NotApplicable = cer.ForcedSnapshot(r.Parameters, l.components, l.id, 0).NotApplicable
	return r
}

func stream(i jail.StreamInfo) cer.Stream { return cer.NewStream(i.SHA256, i.Size, i.Complete) }

// content returns what the record carries of a stream: the bytes where they
// were kept and are the stream's, else a descriptor.
func content(k *keeper, s cer.Stream) (jsontext.Value, error) {
	if k != nil && !k.over {
		sum := sha256.Sum256(k.buf.Bytes())
		if hex.EncodeToString(sum[:]) == s.SHA256 {
			return cer.ContentFull(k.buf.Bytes())
		}
	}
	return cer.ContentHash(s)
}

// contentsOf returns what the record carries of input and output, and gives stderr what
// is carried of it.
func contentsOf(rt *cer.Runtime, in *keeper, c *capture) (input, output jsontext.Value, err error) {
	if input, err = content(in, rt.Input); err != nil {
		return nil, nil, err
	}
	if output, err = content(c.output, rt.Output); err != nil {
		return nil, nil, err
	}
	if c.stderr != nil {
		rt.Stderr.Content, err = content(c.stderr, rt.Stderr)
	}
	return input, output, err
}

// inputKeeper returns the keeper of the input; a file input of a full
// disclosure is read again and carried only if it is still the measured bytes.
func (l *launch) inputKeeper(c *capture) *keeper {
	if l.o.Plan.input == "" || c.input == nil {
		return c.input
	}
	k := &keeper{}
	b, err := readBounded(l.o.Plan.input, limits.EmbeddedContent)
	if err != nil {
		return nil
	}
	_, _ = k.Write(b)
	return k
}

// bundle seals the NexArt bundle of the record.
func (l *launch) bundle(exit jail.Exit, c *capture, started, ended time.Time) ([]byte, error) {
	rt := l.runtime(exit)
	version, contents := cer.SDKVersion, contentsOf
	if l.opener != nil {
		// When the job began tells how long it took.
		version, contents, started = cer.SDKVersion2, l.commit, ended
	}
	input, output, err := contents(rt, l.inputKeeper(c), c)
	if err != nil {
		return nil, fmt.Errorf("sealing the streams: %w", err)
	}
	raw, err := rt.Encode()
	if err != nil {
		return nil, fmt.Errorf("sealing the runtime: %w", err)
	}
	f := cer.ForcedSnapshot(rt.Parameters, l.components, l.id, 0)
	s := cer.Snapshot{
		Type: cer.SnapshotType, ProtocolVersion: cer.Protocol120, ExecutionSurface: cer.Surface,
		ExecutionID: f.ExecutionID, Timestamp: cer.FormatTime(started), Provider: f.Provider, Model: f.Model,
		Prompt: f.Prompt, Parameters: f.Parameters, SDKVersion: &version, Runtime: raw,
	}
	if s.Input, err = cer.RawToValue(input); err != nil {
		return nil, fmt.Errorf("sealing the input: %w", err)
	}
	if s.Output, err = cer.RawToValue(output); err != nil {
		return nil, fmt.Errorf("sealing the output: %w", err)
	}
	b, err := cer.Seal(s, cer.FormatTime(ended))
	if err != nil {
		return nil, fmt.Errorf("sealing the record: %w", err)
	}
	return b, nil
}

// statement describes the batch of this one record as the log stands now.
func (l *launch) statement(ctx context.Context, leaf [32]byte, ended time.Time) (*attest.Statement, error) {
	var manifest []attest.Slot
	for i, a := range l.o.Device.attesters() {
		slot, err := a.Manifest(ctx)
		if err != nil {
			return nil, fmt.Errorf("describing the quote of slot %d: %w: %w", i, ErrDevice, err)
		}
		slot.Number = uint8(i)
		manifest = append(manifest, slot)
	}
	log := l.journal.log
	n := uint64(len(log.Events))
	var body []byte
	if l.counter != nil {
		body = l.counter.Body()
	}
	return &attest.Statement{
		Type: attest.TypeRun, Clock: attest.ClockHost, Time: uint64(ended.UnixMilli()),
		Series: l.series, Launch: l.id, KeyID: l.keyID, LogSize: n, LogRoot: cer.LogRoot(log.Digests(n)),
		RecordCount: 1, TreeRoot: cer.Root([][32]byte{leaf}), Nonce: l.o.Nonce, Body: body, Manifest: manifest,
	}, nil
}

// capsule signs, commits and quotes a statement over the bundle, and returns
// the capsule file and the record's certificate hash.
func (l *launch) capsule(ctx context.Context, bundle []byte, ended time.Time) (file []byte, hash string, err error) {
	b, err := cer.ParseBundle(bundle)
	if err != nil {
		return nil, "", fmt.Errorf("sealing the record: %w", err)
	}
	leaf, err := cer.ParseHash(b.CertificateHash)
	if err != nil {
		return nil, "", fmt.Errorf("sealing the record: %w", err)
	}
	st, err := l.statement(ctx, leaf, ended)
	if err != nil {
		return nil, "", err
	}
	encoded, err := st.Encode()
	if err != nil {
		return nil, "", fmt.Errorf("encoding the statement: %w", err)
	}
	commit := sha256.Sum256(encoded)
	if err := l.append(ctx, event{attest.EventCommit, commit[:]}); err != nil {
		return nil, "", err
	}
	var evidence []attest.Evidence
	for i, a := range l.o.Device.attesters() {
		ev, err := a.Attest(ctx, uint8(i), st)
		if err != nil {
			return nil, "", fmt.Errorf("quoting in slot %d: %w: %w", i, ErrDevice, err)
		}
		evidence = append(evidence, *ev)
	}
	collateral, err := l.bootCollateral(ctx, &evidence[0])
	if err != nil {
		return nil, "", err
	}
	collateral = append(l.vendorCollateral(ctx, evidence), collateral...)
	log, err := l.journal.disclosed().Encode()
	if err != nil {
		return nil, "", fmt.Errorf("encoding the log: %w", err)
	}
	c := &cer.Capsule{
		CER: bundle, Statement: encoded, Signature: ed25519.Sign(l.private, attest.SignedBytes(encoded)),
		Inclusion: cer.Inclusion{Size: 1}, Evidence: evidence, Log: log,
		Collateral: append(l.o.Plan.collateral(), collateral...),
	}
	if err := l.sign(ctx, c); err != nil {
		return nil, "", err
	}
	if file, err = c.Encode(); err != nil {
		return nil, "", fmt.Errorf("encoding the capsule: %w", err)
	}
	return file, b.CertificateHash, nil
}

// vendorCollateral returns what vendors said about the evidence, as far as it is at hand
// or can be got.
func (l *launch) vendorCollateral(ctx context.Context, evidence []attest.Evidence) []attest.Collateral {
	var out []attest.Collateral
	for i, a := range l.o.Device.attesters() {
		r, ok := a.(attest.CollateralReader)
		if !ok {
			continue
		}
		items, err := r.Collateral(ctx)
		if err != nil && l.o.Log != nil {
			l.o.Log.Warn("made without the certificates that the machine keeps", "slot", i, "error", err.Error())
		}
		out = append(out, items...)
	}
	if l.o.Device.Collect == nil {
		return out
	}
	for i := range evidence {
		evidence[i].Collateral = out
	}
	return l.o.Device.Collect(ctx, evidence)
}

// sign adds the operator's signature to a capsule that is otherwise complete.
func (l *launch) sign(ctx context.Context, c *cer.Capsule) error {
	if l.o.Sign == nil {
		return nil
	}
	c.Items = nil
	for i := range c.Evidence {
		item, err := cer.EncodeEvidence(&c.Evidence[i])
		if err != nil {
			return err
		}
		c.Items = append(c.Items, item)
	}
	all := c.Collateral
	item, err := l.o.Sign(ctx, c.EvidenceDigest())
	if err == nil {
		all, err = signer.Insert(c.Collateral, item)
	}
	if err != nil {
		l.unsigned = fmt.Errorf("signing the record: %w", err)
		return nil
	}
	c.Collateral = all
	return nil
}
