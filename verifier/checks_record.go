package verifier

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
)

// short returns the first 12 hexadecimal digits of a digest, for messages.
func short(h []byte) string {
	s := hex.EncodeToString(h)
	return s[:min(12, len(s))] + "…"
}

func checkCapsule(a *appraisal) outcome {
	if a.capsuleErr != nil {
		return failed(a.capsuleErr.Error())
	}
	return passed(fmt.Sprintf("%d bytes", a.size))
}

func checkCanonical(a *appraisal) outcome {
	switch {
	case a.capsule == nil:
		return unknown("the capsule cannot be read")
	case a.bundleErr != nil:
		return failed(a.bundleErr.Error())
	default:
		return passed("cer.ai.execution.v1, protocol " + a.bundle.Snapshot.ProtocolVersion)
	}
}

func checkHash(a *appraisal) outcome {
	switch {
	case a.capsule == nil:
		return unknown("the capsule cannot be read")
	case a.hashErr != nil:
		return failed(a.hashErr.Error())
	case a.bundle == nil:
		return unknown("the record cannot be read")
	default:
		return passed(a.bundle.CertificateHash)
	}
}

func checkRuntime(a *appraisal) outcome {
	switch {
	case a.bundle == nil:
		return unknown("the record cannot be read")
	case a.runtimeErr != nil:
		return failed(a.runtimeErr.Error())
	default:
		return passed("runtime version " + strconv.Itoa(a.runtime.V))
	}
}

func checkStatement(a *appraisal) outcome {
	switch {
	case a.capsule == nil:
		return unknown("the capsule cannot be read")
	case a.statementErr != nil:
		return failed(a.statementErr.Error())
	default:
		return passed(fmt.Sprintf("type %v, %d bytes, %d slot(s)", a.statement.Type, len(a.capsule.Statement), len(a.statement.Manifest)))
	}
}

func checkRecordFits(a *appraisal) outcome {
	if a.runtime == nil || a.statement == nil {
		return unknown("record or statement cannot be read")
	}
	st, rt := a.statement, a.runtime
	number, err := cer.ParseUint(rt.Record)
	fit := []struct {
		what, want, got string
	}{
		{"series", hex.EncodeToString(st.Series[:]), rt.Series},
		{"launch", cer.SHA256Digest(st.Launch), rt.Launch},
		{"key", cer.SHA256Digest(st.KeyID), rt.Key},
	}
	for _, f := range fit {
		if f.want != f.got {
			return failed("the record names another "+f.what).with(f.want, f.got)
		}
	}
	if err != nil || number < st.FirstRecord || number-st.FirstRecord >= st.RecordCount {
		return failed("the record's number is not one of the statement's")
	}
	return passed("record " + rt.Record + " of launch " + short(st.Launch[:]))
}

func checkInclusion(a *appraisal) outcome {
	if a.bundle == nil || a.runtime == nil || a.statement == nil {
		return unknown("record or statement cannot be read")
	}
	st, in := a.statement, a.capsule.Inclusion
	number, err := cer.ParseUint(a.runtime.Record)
	if err != nil || number < st.FirstRecord || in.Index != number-st.FirstRecord || in.Size != st.RecordCount {
		return failed("index and size of the proof are not those of the record and the statement")
	}
	leaf, err := cer.ParseHash(a.bundle.CertificateHash)
	if err != nil {
		return failed(err.Error())
	}
	if err := cer.VerifyInclusion(leaf, in.Index, in.Size, in.Path, st.TreeRoot); err != nil {
		return failed(err.Error())
	}
	return passed(fmt.Sprintf("leaf %d of %d", in.Index, in.Size))
}

func checkStatementSignature(a *appraisal) outcome {
	if a.statement == nil || a.own == nil || a.own.Key == nil {
		return unknown("statement or log cannot be read")
	}
	if !a.own.Key.Disclosed {
		return unknown("the key event is withheld")
	}
	spki := a.own.Key.Data
	if sha256.Sum256(spki) != a.statement.KeyID {
		return failed("the statement names another key than the launch's")
	}
	pub, err := launchKey(spki)
	if err != nil {
		return failed(err.Error())
	}
	if !ed25519.Verify(pub, attest.SignedBytes(a.capsule.Statement), a.capsule.Signature) {
		return failed("the launch key did not sign this statement")
	}
	return passed("Ed25519, key " + short(a.statement.KeyID[:]))
}

// launchKey parses a launch key: SubjectPublicKeyInfo in its one DER form,
// Ed25519 (RFC 8410).
func launchKey(spki []byte) (ed25519.PublicKey, error) {
	k, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		return nil, fmt.Errorf("launch key: %w", attest.ErrForm)
	}
	pub, ok := k.(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("launch key is not an Ed25519 key: %w", attest.ErrForm)
	}
	if der, err := x509.MarshalPKIXPublicKey(pub); err != nil || !bytes.Equal(der, spki) {
		return nil, fmt.Errorf("launch key is not in its one DER form: %w", attest.ErrForm)
	}
	return pub, nil
}

func checkEvidenceSet(a *appraisal) outcome {
	if a.statement == nil {
		return unknown("the statement cannot be read")
	}
	want, got := len(a.statement.Manifest), len(a.capsule.Evidence)
	if want != got {
		return failed("evidence is missing or surplus").with(strconv.Itoa(want)+" item(s)", strconv.Itoa(got))
	}
	for i := range a.statement.Manifest {
		s, e := &a.statement.Manifest[i], &a.capsule.Evidence[i]
		if e.Slot != s.Number || e.Format != s.Format {
			return failed(fmt.Sprintf("item %d is not what the manifest announced", i)).
				with(fmt.Sprintf("slot %d, format %d", s.Number, s.Format), fmt.Sprintf("slot %d, format %d", e.Slot, e.Format))
		}
	}
	if o := a.checkCollateralUse(); o.Status != attest.Passed {
		return o
	}
	return passed(fmt.Sprintf("%d item(s)", got))
}

// isolation returns the facts of the isolation event as the record must repeat
// them.
func (a *appraisal) isolation() []cer.Fact {
	if e := a.environments[cer.KindIsolation]; e != nil {
		return e.Facts
	}
	return nil
}

func checkRuntimeClaims(a *appraisal) outcome {
	if a.runtime == nil || a.statement == nil || a.own == nil || a.launchErr != nil {
		return unknown("record, statement or launch cannot be read")
	}
	for _, f := range []func(*appraisal) string{claimCommitted, claimIsolation, claimParameters, claimNonce, claimSnapshot, claimTimes, claimStreams} {
		if problem := f(a); problem != "" {
			return failed(problem)
		}
	}
	return passed("isolation, parameters, nonce, model, times and streams recomputed from log and statement")
}

func claimIsolation(a *appraisal) string {
	facts := a.isolation()
	if len(facts) != len(a.runtime.Isolation) {
		return "isolation is not that of the log"
	}
	for i := range facts {
		if facts[i] != a.runtime.Isolation[i] {
			return "isolation " + facts[i].Name + " is not that of the log"
		}
	}
	return ""
}

// argv returns the launch's command template; nil if there is none.
func (a *appraisal) argv() []string {
	for _, c := range a.components {
		if c.Role == cer.RoleArgv {
			if v, err := c.Argv(); err == nil {
				return v
			}
		}
	}
	return nil
}

func claimParameters(a *appraisal) string {
	if a.runtime.Committed() {
		return "" // claimCommitted judges them
	}
	facts := a.environments[cer.KindParameters].Facts
	if len(facts) != len(a.runtime.Parameters) {
		return "parameters are not those of the log"
	}
	if len(facts) == 0 {
		return ""
	}
	template := a.argv()
	for i, p := range a.runtime.Parameters {
		if p.Name != facts[i].Name || p.Value != facts[i].Value {
			return fmt.Sprintf("parameter %q is not that of the log", p.Name)
		}
		if p.Applied != cer.Applied(template, p.Name) {
			return fmt.Sprintf("parameter %q: applied is not what the command template says", p.Name)
		}
	}
	return ""
}

// recordNonce returns the nonce of the record in hexadecimal; empty if none.
func (a *appraisal) recordNonce() string {
	if a.runtime.Nonce == nil {
		return ""
	}
	return *a.runtime.Nonce
}

func claimNonce(a *appraisal) string {
	logged, ok := a.environments[cer.KindNonce].Get("nonce")
	if a.environments[cer.KindNonce] != nil && (!ok || logged == "" || len(a.environments[cer.KindNonce].Facts) != 1) {
		return "the nonce event holds no nonce"
	}
	if n := hex.EncodeToString(a.statement.Nonce); a.recordNonce() != n || logged != n {
		return "the nonce is not the same in record, log and statement"
	}
	return ""
}

func claimSnapshot(a *appraisal) string {
	s := a.bundle.Snapshot
	number, err := cer.ParseUint(a.runtime.Record)
	if err != nil {
		return "record number"
	}
	wants := cer.ForcedSnapshot(a.runtime.Parameters, a.components, a.statement.Launch, number)
	for _, c := range []struct{ what, want, got string }{
		{"executionId", wants.ExecutionID, s.ExecutionID},
		{"provider", wants.Provider, s.Provider},
		{"model", wants.Model, s.Model},
		{"prompt", wants.Prompt, s.Prompt},
	} {
		if c.want != c.got {
			return fmt.Sprintf("%s is %q, log and statement say %q", c.what, c.got, c.want)
		}
	}
	if !sameParameters(&wants.Parameters, &s.Parameters) {
		return fmt.Sprintf("parameters is %q, log and statement say %q", jsonText(s.Parameters), jsonText(wants.Parameters))
	}
	if s.ModelVersion != nil || s.AppID != nil || s.SDKVersion == nil || *s.SDKVersion != sdkVersion(a.runtime) {
		return "modelVersion, appId or sdkVersion is not what Sworn writes"
	}
	if !slices.Equal(a.runtime.NotApplicable, wants.NotApplicable) {
		return "notApplicable is not the list of the forced values"
	}
	return ""
}

// sameParameters reports whether two parameters have one canonical form.
func sameParameters(a, b *cer.Parameters) bool {
	same := func(x, y *float64) bool { return x == y || x != nil && y != nil && *x == *y }
	return a.Temperature == b.Temperature && a.MaxTokens == b.MaxTokens && same(a.TopP, b.TopP) && same(a.Seed, b.Seed)
}

// jsonText returns the canonical JSON of a value, for comparison.
func jsonText(v any) string {
	b, err := cer.MarshalCanonical(v)
	if err != nil {
		return "unprintable: " + err.Error()
	}
	return string(b)
}

func claimTimes(a *appraisal) string {
	ms := int64(a.statement.Time)
	want := time.UnixMilli(ms).UTC().Format(cer.TimeLayout)
	if a.statement.Type == attest.TypeBatch {
		// Each record of a batch is made before its statement.
		made, err := time.Parse(cer.TimeLayout, a.bundle.CreatedAt)
		if err != nil || made.UnixMilli() > ms || made.Format(cer.TimeLayout) != a.bundle.CreatedAt {
			return fmt.Sprintf("createdAt is %q, which is no time before the statement's %q", a.bundle.CreatedAt, want)
		}
		ms = made.UnixMilli()
	} else if a.bundle.CreatedAt != want {
		return fmt.Sprintf("createdAt is %q, the statement says %q", a.bundle.CreatedAt, want)
	}
	start, err := time.Parse(cer.TimeLayout, a.bundle.Snapshot.Timestamp)
	if err != nil || start.UnixMilli() > ms || start.Format(cer.TimeLayout) != a.bundle.Snapshot.Timestamp {
		return "timestamp is no time before createdAt"
	}
	return ""
}

func claimStreams(a *appraisal) string {
	if a.runtime.Committed() {
		return "" // claimCommitted judges them
	}
	s := a.bundle.Snapshot
	for _, c := range []struct {
		what   string
		value  cer.Value
		stream cer.Stream
	}{{"input", s.Input, a.runtime.Input}, {"output", s.Output, a.runtime.Output}} {
		raw, err := c.value.Raw()
		if err == nil {
			err = cer.CheckContent(raw, c.stream, a.runtime.Disclosure)
		}
		if err != nil {
			return c.what + " is not what the runtime says: " + err.Error()
		}
	}
	if a.runtime.Stderr.Content != nil {
		if err := cer.CheckContent(a.runtime.Stderr.Content, a.runtime.Stderr, a.runtime.Disclosure); err != nil {
			return "stderr is not what the runtime says: " + err.Error()
		}
	}
	return ""
}
