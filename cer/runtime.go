package cer

import (
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// RuntimeVersion is the version of snapshot.runtime in a record that states input,
// output and parameters, or their digests.
const RuntimeVersion = 1

// The disclosures of a record.
const (
	// DiscloseFull: the record carries input, output and stderr themselves,
	// where they are not too large.
	DiscloseFull = "full"
	// DiscloseHash: the record carries their SHA-256 and size.
	DiscloseHash = "hash"
	// DiscloseCommit: the record carries salted commitments to them and to the values
	// of the parameters, and an [Opening] has the salts.
	DiscloseCommit = "commit"
)

// The values that NexArt's schema forces where nothing applies; each is listed
// in Runtime.NotApplicable.
const (
	// Provider is the snapshot's provider.
	Provider = "self-hosted"
	// PromptNone is the prompt of a job that has none.
	PromptNone = "sworn:none"
	// SDKVersion is the snapshot's sdkVersion: what wrote the record. Which
	// launcher it was is a measured component, not a claim.
	SDKVersion = "sworn-runtime/1"
)

// Stream is what is known of the bytes of one stream.
type Stream struct {
	// SHA256 is the digest of the bytes, 64 hexadecimal digits.
	SHA256 string `json:"sha256"`
	// Size is their number in decimal.
	Size string `json:"size"`
	// Complete is false if the stream was cut: the job did not take all its
	// input, or output went on beyond what was kept.
	Complete bool `json:"complete"`
	// Content holds the bytes of stderr where the disclosure is full: a string
	// or a descriptor with base64; absent otherwise.
	Content jsontext.Value `json:"content,omitzero"`
	// Commitment is the commitment to the stream in a runtime of version 2, 64
	// hexadecimal digits. SHA256 and Size are empty there, and Complete is known of
	// the output alone.
	Commitment string `json:"-"`
}

// Exit is how the job ended.
type Exit struct {
	// Code is the exit code, 0 to 255; -1 if a signal ended the job.
	Code int `json:"code"`
	// Signal is the signal's name, such as "SIGKILL", or null.
	Signal *string `json:"signal"`
	// Timeout is true if the launcher ended the job at its time limit.
	Timeout bool `json:"timeout"`
}

// Parameter is one parameter given with the job.
type Parameter struct {
	// Name is the parameter's name.
	Name string `json:"name"`
	// Value is its value.
	Value string `json:"value"`
	// Applied is true if the command template holds {param:NAME}; otherwise
	// the parameter is declared and nothing more.
	Applied bool `json:"applied"`
	// Commitment is the commitment to the value in a runtime of version 2, 64
	// hexadecimal digits; Value is empty there.
	Commitment string `json:"-"`
}

// Runtime is snapshot.runtime, of version 1 or 2: Sworn's facts inside the record. Its
// member set is closed, and every claim in it is recomputed from log and
// statement by the verifier, or refused (check runtime.claims).
type Runtime struct {
	// V is RuntimeVersion or RuntimeVersion2.
	V int `json:"v"`
	// Series is the series id, 64 hexadecimal digits.
	Series string `json:"series"`
	// Launch is the launch id, "sha256:<hex>".
	Launch string `json:"launch"`
	// Key is the launch key's id, "sha256:<hex>".
	Key string `json:"key"`
	// Record is the record number in decimal.
	Record string `json:"record"`
	// Nonce is the relying party's nonce in hexadecimal, or null.
	Nonce *string `json:"nonce"`
	// Input is what was given to the job on its input.
	Input Stream `json:"input"`
	// Output is what the job gave back.
	Output Stream `json:"output"`
	// Stderr is what the job wrote to its standard error.
	Stderr Stream `json:"stderr"`
	// Exit is how the job ended.
	Exit Exit `json:"exit"`
	// Disclosure is DiscloseFull or DiscloseHash, in version 2 DiscloseCommit.
	Disclosure string `json:"disclosure"`
	// Isolation repeats the facts of the isolation event.
	Isolation []Fact `json:"isolation"`
	// Parameters are the parameters in ascending order of their names.
	Parameters []Parameter `json:"parameters"`
	// NotApplicable lists, in ascending order, the snapshot members whose value
	// the schema forced.
	NotApplicable []string `json:"notApplicable"`
	// After are facts of the memory and host environments as the launcher read
	// them again after the job's end, in ascending order of their names.
	After []Fact `json:"after"`
}

// Encode returns the canonical JSON of the runtime. The error wraps ErrSchema.
func (r *Runtime) Encode() ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	if r.Committed() {
		return MarshalCanonical(r.wire2())
	}
	return MarshalCanonical(r)
}

// ParseRuntime parses snapshot.runtime; the error wraps ErrStrict or ErrSchema.
func ParseRuntime(b []byte) (*Runtime, error) {
	r, ok := scanRuntime(b)
	if !ok {
		var err error
		if r, err = decodeRuntime(b); err != nil {
			return nil, fmt.Errorf("runtime: %w", err)
		}
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	return r, nil
}

// decodeRuntime reads a runtime of either version. The error wraps ErrStrict or ErrSchema.
func decodeRuntime(b []byte) (*Runtime, error) {
	if versionOf(b) == RuntimeVersion2 {
		w := new(runtime2)
		if err := UnmarshalCanonical(b, eventDepth, w); err != nil {
			return nil, err
		}
		return w.runtime(), nil
	}
	r := new(Runtime)
	if err := UnmarshalCanonical(b, eventDepth, r); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *Runtime) check() error {
	if r.V != RuntimeVersion && r.V != RuntimeVersion2 {
		return fmt.Errorf("runtime version %d, want %d or %d: %w", r.V, RuntimeVersion, RuntimeVersion2, ErrSchema)
	}
	if err := checkHex32(r.Series); err != nil {
		return fmt.Errorf("runtime series: %w", err)
	}
	for _, d := range []string{r.Launch, r.Key} {
		if err := CheckDigest(d); err != nil {
			return fmt.Errorf("runtime launch or key: %w", err)
		}
	}
	if _, err := ParseUint(r.Record); err != nil {
		return fmt.Errorf("runtime record: %w", err)
	}
	if r.Nonce != nil {
		if b, err := hex.DecodeString(*r.Nonce); err != nil || len(b) < 8 || len(b) > 64 || hex.EncodeToString(b) != *r.Nonce {
			return fmt.Errorf("runtime nonce: %w", ErrSchema)
		}
	}
	plain := r.Disclosure == DiscloseFull || r.Disclosure == DiscloseHash
	if r.Committed() && r.Disclosure != DiscloseCommit || !r.Committed() && !plain {
		return fmt.Errorf("runtime version %d with disclosure %q: %w", r.V, r.Disclosure, ErrSchema)
	}
	return r.checkParts()
}

// checkStated checks streams and parameters that the record states.
func (r *Runtime) checkStated() error {
	for _, named := range []struct {
		name string
		*Stream
	}{{"input", &r.Input}, {"output", &r.Output}, {"stderr", &r.Stderr}} {
		name, s := named.name, named.Stream
		if err := s.checkPlain(); err != nil {
			return fmt.Errorf("runtime %s: %w", name, err)
		}
		if s.Content != nil && (name != "stderr" || r.Disclosure != DiscloseFull) {
			return fmt.Errorf("runtime %s carries content: %w", name, ErrSchema)
		}
	}
	for i := range r.Parameters {
		if r.Parameters[i].Commitment != "" {
			return fmt.Errorf("runtime parameter %q has a commitment: %w", r.Parameters[i].Name, ErrSchema)
		}
	}
	return nil
}

// checkParts checks streams, exit and the lists.
func (r *Runtime) checkParts() error {
	check := r.checkStated
	if r.Committed() {
		check = r.checkCommitted
	}
	if err := check(); err != nil {
		return err
	}
	if r.Exit.Code < -1 || r.Exit.Code > 255 || (r.Exit.Code == -1) != (r.Exit.Signal != nil) || r.Exit.Signal != nil && *r.Exit.Signal == "" {
		return fmt.Errorf("runtime exit: %w", ErrSchema)
	}
	for i := range r.Parameters {
		if err := CheckParameter(r.Parameters[i].Name); err != nil {
			return fmt.Errorf("runtime: %w", err)
		}
	}
	sorted := func(n int, name func(int) string) bool {
		for i := range n {
			if name(i) == "" || i > 0 && name(i-1) >= name(i) {
				return false
			}
		}
		return true
	}
	if !sorted(len(r.Isolation), func(i int) string { return r.Isolation[i].Name }) ||
		!sorted(len(r.Parameters), func(i int) string { return r.Parameters[i].Name }) ||
		!sorted(len(r.NotApplicable), func(i int) string { return r.NotApplicable[i] }) ||
		!sorted(len(r.After), func(i int) string { return r.After[i].Name }) {
		return fmt.Errorf("runtime lists are not in strictly ascending order: %w", ErrSchema)
	}
	return nil
}

// Applied reports whether the arguments of a command template hold the
// placeholder of the parameter with the given name. The program itself, the
// template's first string, holds none.
func Applied(template []string, name string) bool {
	if len(template) == 0 {
		return false
	}
	placeholder := "{param:" + name + "}"
	return slices.ContainsFunc(template[1:], func(a string) bool { return strings.Contains(a, placeholder) })
}

// CheckParameter refuses the name of a parameter that is empty or holds a brace:
// in {param:x{param:y}, a parameter called "x{param:y" would stand, and another
// called "y" would seem to. The error wraps ErrSchema.
func CheckParameter(name string) error {
	if name == "" || strings.ContainsAny(name, "{}") {
		return fmt.Errorf("parameter name %q: empty or with a brace: %w", name, ErrSchema)
	}
	return nil
}

// ModelName returns the snapshot's model for the components of a launch: the
// weights component named "default", else the first of the weights in the
// order of the log, else the binary or the image, as `<name> <digest>`; empty if
// there is none of these.
func ModelName(components []*Component) string {
	best := -1
	rank := func(c *Component) int {
		switch {
		case c.Role == RoleWeights && c.Name == "default":
			return 3
		case c.Role == RoleWeights:
			return 2
		case c.Role == RoleBinary:
			return 1
		case c.Role == RoleImage:
			return 1
		default:
			return 0
		}
	}
	for i, c := range components {
		if r := rank(c); r > 0 && len(c.Digest) > 0 && (best < 0 || r > rank(components[best])) {
			best = i
		}
	}
	if best < 0 {
		return ""
	}
	c := components[best]
	if c.Role == RoleImage {
		return c.Name + " " + c.Digest[0]
	}
	return c.Path[strings.LastIndexByte(c.Path, '/')+1:] + " " + c.Digest[0]
}

// Forced is what the snapshot of a Sworn record must say, recomputed from log
// and statement.
type Forced struct {
	// ExecutionID, Provider, Model and Prompt are the members of those names.
	ExecutionID, Provider, Model, Prompt string
	// Parameters is the member of that name.
	Parameters Parameters
	// NotApplicable lists the members whose value the schema forced, ascending.
	NotApplicable []string
}

// ForcedSnapshot computes Forced for a record of a launch with the given
// components and parameters (those of the runtime, which the verifier holds
// against the log; those of version 2 have no value). Of the parameters, temperature, maxTokens, topP and seed
// are also members of NexArt's snapshot where their value is a number.
func ForcedSnapshot(parameters []Parameter, components []*Component, launch [32]byte, record uint64) Forced {
	f := Forced{
		ExecutionID: ExecutionID(launch, record), Provider: Provider,
		Model: ModelName(components), Prompt: PromptNone, NotApplicable: []string{"prompt"},
	}
	given := map[string]*float64{}
	for _, p := range parameters {
		if x, err := strconv.ParseFloat(p.Value, 64); err == nil && strconv.FormatFloat(x, 'f', -1, 64) == p.Value && math.Abs(x) < 1<<53 && p.Value != "-0" {
			given[p.Name] = &x
		}
	}
	if x := given["temperature"]; x != nil {
		f.Parameters.Temperature = *x
	} else {
		f.NotApplicable = append(f.NotApplicable, "parameters.temperature")
	}
	if x := given["maxTokens"]; x != nil {
		f.Parameters.MaxTokens = *x
	} else {
		f.NotApplicable = append(f.NotApplicable, "parameters.maxTokens")
	}
	f.Parameters.TopP, f.Parameters.Seed = given["topP"], given["seed"]
	slices.Sort(f.NotApplicable)
	return f
}

// ExecutionID returns the snapshot's executionId: the launch id and the record
// number.
func ExecutionID(launch [32]byte, record uint64) string {
	return fmt.Sprintf("sworn:%x:%d", launch, record)
}
