package verifier

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/cer/oms"
	"github.com/sworn-run/sworn/internal/limits"
)

// ErrPolicy is a policy that says nothing definite, or says something that this
// version cannot appraise. Every error about a policy wraps it and names the
// member.
var ErrPolicy = errors.New("invalid policy")

// PolicyType is the type member of the policies this version reads.
const PolicyType = "sworn.policy/v1"

// The values of [Policy.Others].
const (
	// OthersRefuse: a measured component that the policy does not list fails
	// components.match. It is the default.
	OthersRefuse = "refuse"
	// OthersReport: such a component fails components.closed only.
	OthersReport = "report"
)

// The values of [Policy.PriorLaunches].
const (
	// PriorNone: nothing was launched before in this life of the register.
	PriorNone = "none"
	// PriorSameLauncher: earlier launches were complete and by the same
	// launcher. It is the default.
	PriorSameLauncher = "same-launcher"
	// PriorAny: whatever was launched before.
	PriorAny = "any"
)

// The values of [Policy.Series].
const (
	// SeriesNone asks nothing of a series. It is the default.
	SeriesNone = "none"
	// SeriesCounter asks that the records given together (see [VerifySeries])
	// have numbers of one TPM's launch counter, none twice and none missing
	// between the first and the last.
	SeriesCounter = "counter"
)

// ProtectionVerity in [Policy.Protection] accepts files whose reads the kernel
// checks against a digest; cer.ProtectionSealed accepts sealed copies.
const ProtectionVerity = "verity"

// Policy is what a relying party wants of a record (SPEC, section 9; JSON
// Schema in [PolicySchema]). The zero Policy is refused wherever it is used.
// What [ParsePolicy] returns has every default filled in.
type Policy struct {
	// Type is PolicyType.
	Type string `json:"type"`
	// Name is what people call the policy, one printable line of at most 256
	// bytes; may be empty.
	Name string `json:"name,omitzero"`
	// Slots are the acceptable sets of evidence formats: any one of the sets,
	// and in it every format.
	Slots [][]string `json:"slots"`
	// Formats has the rules of each format in Slots, by the format's name.
	Formats map[string]FormatPolicy `json:"formats"`
	// Components are what must have been measured, each exactly once.
	Components []PolicyComponent `json:"components"`
	// ModelSigners say whose signatures the weights must carry.
	ModelSigners []ModelSigner `json:"model_signers,omitzero"`
	// Signers say who must have signed the record, each of them.
	Signers []RecordSigner `json:"signers,omitzero"`
	// Others says what becomes of a component that is not listed: OthersRefuse
	// or OthersReport.
	Others string `json:"others"`
	// Protection lists the acceptable protections of file components,
	// cer.ProtectionSealed and ProtectionVerity; with none listed
	// protection.storage cannot pass.
	Protection []string `json:"protection"`
	// Disclosure lists the acceptable disclosures of the record, cer.DiscloseFull,
	// cer.DiscloseHash and cer.DiscloseCommit; empty accepts any.
	Disclosure []string `json:"disclosure,omitzero"`
	// Devices are the devices that the job may open beside null and urandom,
	// as their paths below /dev.
	Devices []string `json:"devices"`
	// Network is whether the job may have had a network.
	Network bool `json:"network"`
	// Exit lists the acceptable exit codes, at least one, each 0 to 255.
	Exit []int `json:"exit"`
	// Nonce says where the relying party's nonce must stand.
	Nonce NoncePolicy `json:"nonce"`
	// Time says what must vouch for the time of the evidence.
	Time TimePolicy `json:"time"`
	// PriorLaunches says what may have used the register before: PriorNone,
	// PriorSameLauncher or PriorAny.
	PriorLaunches string `json:"prior_launches"`
	// Series says what is asked of the records given together: SeriesNone or
	// SeriesCounter.
	Series string `json:"series"`
	// Ledger says what becomes of entries of distrust ledgers.
	Ledger LedgerPolicy `json:"ledger,omitzero"`
	// AllowAt lets the verdict at a hypothetical time decide.
	AllowAt bool `json:"allow_at"`
	// Waive are the required checks that need not pass.
	Waive []Waiver `json:"waive"`

	// raw are the bytes given to ParsePolicy; nil for a policy made by hand.
	raw []byte
}

// IdentityPolicy says which roots the quoting key may chain to.
type IdentityPolicy struct {
	// Role is the role of the roots, which the format fixes: "tpm-ak" for TPM quotes,
	// "amd-ark" for SEV-SNP, "intel-sgx" for TDX.
	Role string `json:"role"`
	// SPKI lists the roots' keys as "sha256:" and the lower-case hexadecimal
	// SHA-256 of their SubjectPublicKeyInfo (see [SPKIDigest]); any one.
	SPKI []string `json:"spki"`
}

// PolicyComponent is one component that must have been measured, told from
// others by role and name.
type PolicyComponent struct {
	// Role is one of package cer's roles.
	Role string `json:"role"`
	// Name is the component's name; empty for argv only.
	Name string `json:"name,omitzero"`
	// Path is where the job must have found the file: absolute and clean, in the
	// job's root. Empty accepts any place; launcher, argv and env have none.
	Path string `json:"path,omitzero"`
	// Digest lists the acceptable digests as `scheme[;param=value…]:hex`, any
	// one; scheme and parameters count. Argv and env have none.
	Digest []string `json:"digest,omitzero"`
	// Value is the RFC 8785 form of what argv (an array of strings) and env (a
	// string) must be; the other roles have none.
	Value jsontext.Value `json:"value,omitzero"`
}

// key names the component as messages do.
func (c *PolicyComponent) key() string {
	return (&cer.Component{Role: c.Role, Name: c.Name}).Key()
}

// bindsNoNames reports whether the component is a manifest without a digest that
// covers the names of its files.
func (c *PolicyComponent) bindsNoNames() bool {
	return c.Role == cer.RoleManifest && !slices.ContainsFunc(c.Digest, func(d string) bool { return cer.DigestScheme(d) == cer.SchemeList })
}

// ModelSigner asks for a model signature.
type ModelSigner struct {
	// Weights is the name of the weights, such as "default".
	Weights string `json:"weights"`
	// SPKI lists the acceptable signers' keys as "sha256:" and the lower-case
	// hexadecimal SHA-256 of their SubjectPublicKeyInfo; any one. Of a signature
	// with a certificate, it may be the certificate's key or that of the authority
	// it is below. The key or authority itself comes from the roots, role
	// model-signer.
	SPKI []string `json:"spki,omitzero"`
	// Identities lists the acceptable signers of a signature through Sigstore; any
	// one. There is at least one of SPKI or Identities.
	Identities []oms.Identity `json:"identities,omitzero"`
}

// NoncePolicy says where the relying party's nonce must stand.
type NoncePolicy struct {
	// Quote asks for check nonce.quote: the quote is fresh.
	Quote bool `json:"quote"`
	// Execution asks for check nonce.execution: the job is.
	Execution bool `json:"execution"`
}

// TimePolicy says what must vouch for the time of the evidence.
type TimePolicy struct {
	// Token asks for checks time.token and time.order.
	Token bool `json:"token"`
}

// Waiver excuses one required check.
type Waiver struct {
	// Check is the check's id.
	Check string `json:"check"`
	// Reason says why, in one printable line of at most 1,024 bytes; never
	// blank.
	Reason string `json:"reason"`
}

// presence tells what the zero values of a Policy cannot: whether a member
// stands in the file.
type presence struct {
	Others jsontext.Value `json:"others"`
	Prior  jsontext.Value `json:"prior_launches"`
	Series jsontext.Value `json:"series"`
}

// ParsePolicy parses a policy file of at most 4 MiB: strict JSON in which no
// member is unknown. Members that may be absent get their defaults, which are
// the strictest: others "refuse", prior_launches "same-launcher", series
// "none", everything else empty or false. The error wraps ErrPolicy.
func ParsePolicy(b []byte) (*Policy, error) {
	if len(b) > limits.PolicyFile {
		return nil, fmt.Errorf("%w: %d bytes, limit %d", ErrPolicy, len(b), limits.PolicyFile)
	}
	p := new(Policy)
	if err := cer.UnmarshalStrict(b, limits.CapsuleDepth, p); err != nil {
		return nil, decodeError(err)
	}
	var has presence
	if err := json.Unmarshal(b, &has); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPolicy, err)
	}
	p.raw = bytes.Clone(b)
	if err := p.normalize(&has); err != nil {
		return nil, err
	}
	if err := p.valid(); err != nil {
		return nil, err
	}
	return p, nil
}

// normalize fills in defaults and gives everything its one form, so that equal
// policies are equal Go values.
func (p *Policy) normalize(has *presence) error {
	if has.Others == nil {
		p.Others = OthersRefuse
	}
	if has.Prior == nil {
		p.PriorLaunches = PriorSameLauncher
	}
	if has.Series == nil {
		p.Series = SeriesNone
	}
	p.Components, p.Waive = nonEmpty(p.Components), nonEmpty(p.Waive)
	p.Protection, p.Devices = nonEmpty(p.Protection), nonEmpty(p.Devices)
	p.ModelSigners, p.Disclosure = nonEmpty(p.ModelSigners), nonEmpty(p.Disclosure)
	for i := range p.ModelSigners {
		m := &p.ModelSigners[i]
		m.SPKI, m.Identities = nonEmpty(m.SPKI), nonEmpty(m.Identities)
	}
	p.Signers = nonEmpty(p.Signers)
	for i := range p.Signers {
		s := &p.Signers[i]
		s.Keys, s.Authorities = nonEmpty(s.Keys), nonEmpty(s.Authorities)
	}
	for name, f := range p.Formats {
		f.normalize()
		p.Formats[name] = f
	}
	for i := range p.Components {
		c := &p.Components[i]
		if c.Value == nil {
			continue
		}
		if err := c.Value.Canonicalize(); err != nil {
			return policyError(componentMember(i, c), "value: %w", err)
		}
	}
	return nil
}

// nonEmpty returns s, or nil if it is empty.
func nonEmpty[E any](s []E) []E {
	if len(s) == 0 {
		return nil
	}
	return s
}

// Digest returns the SHA-256 of the bytes given to [ParsePolicy], whatever has
// been changed or added since; of a policy made by hand, of what Encode
// returns, and zeros if that refuses.
func (p *Policy) Digest() [32]byte {
	if p == nil {
		return [32]byte{}
	}
	if p.raw != nil {
		return sha256.Sum256(p.raw)
	}
	b, err := p.Encode()
	if err != nil {
		return [32]byte{}
	}
	return sha256.Sum256(b)
}

// policyError returns an error that wraps ErrPolicy and names the member. The
// format says what is wrong and what is wanted.
func policyError(member, format string, args ...any) error {
	return fmt.Errorf("%w: %s: %w", ErrPolicy, member, fmt.Errorf(format, args...))
}

// decodeError names the member at which decoding stopped.
func decodeError(err error) error {
	var at *json.SemanticError
	if !errors.As(err, &at) {
		return fmt.Errorf("%w: %w", ErrPolicy, err)
	}
	member := memberName(at.JSONPointer)
	switch {
	case errors.Is(at.Err, json.ErrUnknownName):
		return policyError(member, "is not a member of a policy: %w", cer.ErrSchema)
	case at.GoType == nil:
		return policyError(member, "%w", err)
	case at.GoType.Kind() == reflect.Interface: // how package cer refuses null
		return policyError(member, "is null, want a value: %w", cer.ErrSchema)
	default:
		return policyError(member, "is %s, want %s: %w", kindName(at.JSONKind), wanted(at.GoType), cer.ErrSchema)
	}
}

// memberName spells a JSON pointer as the other errors name members:
// formats.tpm.bank, exit[0].
func memberName(p jsontext.Pointer) string {
	var b strings.Builder
	for token := range p.Tokens() {
		switch {
		case token != "" && strings.Trim(token, "0123456789") == "":
			b.WriteString("[" + token + "]")
			continue
		case b.Len() > 0:
			b.WriteByte('.')
		}
		if q := strconv.Quote(token); q != `"`+token+`"` {
			token = q
		}
		b.WriteString(token)
	}
	if b.Len() == 0 {
		return "policy"
	}
	return b.String()
}

// kindName says what stands in a file.
func kindName(k jsontext.Kind) string {
	switch k {
	case jsontext.KindTrue, jsontext.KindFalse:
		return "a boolean"
	case jsontext.KindString:
		return "a string"
	case jsontext.KindNumber:
		return "a number"
	case jsontext.KindBeginArray:
		return "an array"
	case jsontext.KindBeginObject:
		return "an object"
	default:
		return "something else"
	}
}

// wanted says in the words of JSON what a Go type wants.
func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a string"
	case reflect.Int, reflect.Uint32:
		return "an integer in range, in plain digits"
	case reflect.Slice:
		return "an array"
	default:
		return "an object"
	}
}
