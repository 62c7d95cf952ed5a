package cer

import (
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sworn-run/sworn/attest"
)

// The roles of components (SPEC, section 5.4). A role and a name name one
// component of a launch.
const (
	// RoleLauncher is the launcher's own executable.
	RoleLauncher = "launcher"
	// RoleBinary is the job's executable or script.
	RoleBinary = "binary"
	// RoleInterpreter is the ELF program interpreter (PT_INTERP).
	RoleInterpreter = "interpreter"
	// RoleScriptInterpreter is an interpreter named by a script's first line.
	RoleScriptInterpreter = "script-interpreter"
	// RoleLibrary is a shared library, named as DT_NEEDED names it.
	RoleLibrary = "library"
	// RoleWeights is a file of model weights.
	RoleWeights = "weights"
	// RoleConfig is a configuration file.
	RoleConfig = "config"
	// RoleFile is any other file given to the job.
	RoleFile = "file"
	// RoleManifest is a folder of model weights as one thing: its digests are that of
	// the OpenSSF Model Signing manifest of its files, each of which is a weights
	// component too, and that of the list of them, which covers their names.
	RoleManifest = "manifest"
	// RoleModelSignature is a signature over a manifest, under the weights' name;
	// its bytes are a collateral item of the capsule.
	RoleModelSignature = "model-signature"
	// RoleImage is the container image whose files are the job's root; its digest
	// is that of the image's manifest or, with ProtectionDMVerity, of the volume that
	// holds the files.
	RoleImage = "image"
	// RoleArgv is the command template; Value is an array of strings.
	RoleArgv = "argv"
	// RoleEnv is one environment variable; Value is a string.
	RoleEnv = "env"
	// RoleLimit is one resource limit that the launcher's user set for the job,
	// under the name of its fact in the limits environment; Value is a decimal
	// string. A limit that was not set is no component.
	RoleLimit = "limit"
)

// The protections of a file component.
const (
	// ProtectionSealed: the job reads a private copy that was hashed while it
	// was made.
	ProtectionSealed = "sealed"
	// ProtectionFSVerity: the job reads the file where it is, and the kernel holds
	// every page that it reads against the file's fs-verity digest.
	ProtectionFSVerity = "fs-verity"
	// ProtectionDMVerity: the job reads from a file system on a dm-verity device,
	// every block of which the kernel holds against the device's root digest.
	ProtectionDMVerity = "dm-verity"
	// ProtectionNone: the job reads the file wherever the host keeps it.
	ProtectionNone = "none"
)

// Component is the data of a component event: one thing that was measured
// before the job, in canonical JSON.
type Component struct {
	// Role is one of the roles.
	Role string `json:"role"`
	// Name tells components of one role apart; empty for argv only.
	Name string `json:"name,omitzero"`
	// Path is the absolute path in the job's root; empty for launcher, argv
	// and env.
	Path string `json:"path,omitzero"`
	// Digest lists the component's digests as `scheme[;param=value…]:hex`.
	Digest []string `json:"digest,omitzero"`
	// Size is the size in bytes in decimal.
	Size string `json:"size,omitzero"`
	// Protection is how the bytes are kept from changing; of a file, and of an image
	// on a volume.
	Protection string `json:"protection,omitzero"`
	// Value is the canonical JSON value of argv and env components.
	Value jsontext.Value `json:"value,omitzero"`
	// Described is what a weights file says of itself in its header, such as its
	// architecture: the producer's word, which no check relies on. In ascending
	// order of the names.
	Described []Fact `json:"described,omitzero"`
}

// Key returns role and name in one string, as messages name a component.
func (c *Component) Key() string {
	if c.Name == "" {
		return c.Role
	}
	return c.Role + " " + strconv.Quote(c.Name)
}

// IsFile reports whether the component is a file in the job's root.
func (c *Component) IsFile() bool {
	switch c.Role {
	case RoleBinary, RoleInterpreter, RoleScriptInterpreter, RoleLibrary, RoleWeights, RoleConfig, RoleFile:
		return true
	default:
		return false
	}
}

// Encode returns the event data. The error wraps ErrSchema.
func (c *Component) Encode() ([]byte, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	return MarshalCanonical(c)
}

// ParseComponent parses the data of a component event; the error wraps
// ErrStrict or ErrSchema.
func ParseComponent(data []byte) (*Component, error) {
	c := new(Component)
	if err := UnmarshalCanonical(data, eventDepth, c); err != nil {
		return nil, fmt.Errorf("component: %w", err)
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	return c, nil
}

// eventDepth bounds the nesting of JSON in event data.
const eventDepth = 8

func (c *Component) check() error {
	bad := func(what string) error { return fmt.Errorf("component %s: %s: %w", c.Key(), what, ErrSchema) }
	switch {
	case c.IsFile():
		if c.Name == "" || !path.IsAbs(c.Path) || path.Clean(c.Path) != c.Path || c.Value != nil {
			return bad("a file has a name and a clean absolute path, and no value")
		}
		if !knownProtection(c.Protection) {
			return bad("unknown protection")
		}
		if !c.describedRight() {
			return bad("descriptions stand with weights only, few, short and in order")
		}
		return c.checkDigests()
	case (c.Role == RoleManifest || c.Role == RoleModelSignature) && strings.Contains(c.Name, "/"):
		return bad("a slash in the name of weights")
	case c.Role == RoleManifest, c.Role == RoleImage:
		if !c.imageProtected() {
			return bad("dm-verity is the protection of an image whose one digest is of dm-verity, and there is no other")
		}
		if c.Name == "" || !path.IsAbs(c.Path) || path.Clean(c.Path) != c.Path || c.Value != nil || c.Described != nil {
			return bad("a manifest or image has a name, a clean absolute path, digests and a size")
		}
		return c.checkDigests()
	case c.Role == RoleLauncher, c.Role == RoleModelSignature:
		if c.Name == "" || c.Path != "" || c.Protection != "" || c.Value != nil || c.Described != nil {
			return bad("a launcher or signature has a name, digests and a size")
		}
		return c.checkDigests()
	case c.Described != nil:
		return bad("descriptions stand with weights only")
	case c.Role == RoleArgv:
		if c.Name != "" || c.Path != "" || c.Digest != nil || c.Size != "" || c.Protection != "" {
			return bad("argv has a value only")
		}
		if _, err := c.Argv(); err != nil {
			return err
		}
		return nil
	case c.Role == RoleEnv, c.Role == RoleLimit:
		if c.Name == "" || c.Path != "" || c.Digest != nil || c.Size != "" || c.Protection != "" || c.Value.Kind() != '"' {
			return bad("env and limit have a name and a string value only")
		}
		return nil
	default:
		return bad("unknown role")
	}
}

// imageProtected checks the protection of a manifest or image, and an image's digest
// with it: a volume's digest says nothing where nothing enforces it.
func (c *Component) imageProtected() bool {
	volume := slices.ContainsFunc(c.Digest, func(d string) bool { return strings.HasPrefix(d, SchemeDMVerity) })
	switch {
	case c.Role == RoleManifest || c.Protection == "":
		return c.Protection == "" && !(c.Role == RoleImage && volume)
	default:
		return c.Protection == ProtectionDMVerity && volume && len(c.Digest) == 1
	}
}

// Protected reports whether the component's bytes are kept by a protection that a
// policy has to accept: every file's, and those of an image on a volume. An unpacked
// image is a private copy, as sealed files are.
func (c *Component) Protected() bool { return c.IsFile() || c.Protection != "" }

// knownProtection reports whether p is one of the protections.
func knownProtection(p string) bool {
	switch p {
	case ProtectionSealed, ProtectionFSVerity, ProtectionDMVerity, ProtectionNone:
		return true
	default:
		return false
	}
}

// The bounds of a description.
const (
	// MaxDescribed is the largest number of facts in a description.
	MaxDescribed = 16
	// MaxDescription is the longest name or value in it, in bytes.
	MaxDescription = 256
)

// describedRight checks the description.
func (c *Component) describedRight() bool {
	if c.Described == nil {
		return true
	}
	if c.Role != RoleWeights || len(c.Described) == 0 || len(c.Described) > MaxDescribed {
		return false
	}
	for i, f := range c.Described {
		if f.Name == "" || len(f.Name) > MaxDescription || len(f.Value) > MaxDescription || i > 0 && c.Described[i-1].Name >= f.Name {
			return false
		}
	}
	return true
}

// Argv returns the command template of an argv component. The error wraps
// ErrSchema.
func (c *Component) Argv() ([]string, error) {
	var out []string
	if c.Role != RoleArgv || c.Value.Kind() != '[' || UnmarshalCanonical(c.Value, eventDepth, &out) != nil || len(out) == 0 {
		return nil, fmt.Errorf("component %s: argv wants an array of strings: %w", c.Key(), ErrSchema)
	}
	return out, nil
}

// NewArgv returns the argv component of a command template.
func NewArgv(template []string) (*Component, error) {
	v, err := MarshalCanonical(template)
	if err != nil {
		return nil, fmt.Errorf("argv: %w", err)
	}
	return &Component{Role: RoleArgv, Value: v}, nil
}

// NewLimit returns the limit component of one resource limit.
func NewLimit(name string, value uint64) (*Component, error) {
	c, err := NewEnv(name, strconv.FormatUint(value, 10))
	if err != nil {
		return nil, fmt.Errorf("limit: %w", err)
	}
	c.Role = RoleLimit
	return c, nil
}

// NewEnv returns the env component of one variable.
func NewEnv(name, value string) (*Component, error) {
	v, err := MarshalCanonical(value)
	if err != nil {
		return nil, fmt.Errorf("environment variable %s: %w", name, err)
	}
	return &Component{Role: RoleEnv, Name: name, Value: v}, nil
}

// Origin is the data of the origin event, in canonical JSON: the register as
// the first launch of this log found it.
type Origin struct {
	// V is 1.
	V int `json:"v"`
	// Start holds the register's value in every bank, in strictly ascending
	// order of the banks' numbers.
	Start []OriginValue `json:"start"`
	// ResetCount and RestartCount are the TPM's counters in decimal.
	ResetCount string `json:"resetCount"`
	// RestartCount is the TPM's restart counter in decimal.
	RestartCount string `json:"restartCount"`
	// Firmware is the TPM's firmware version as 16 hexadecimal digits.
	Firmware string `json:"firmware"`
	// Identity is the stable identity of the TPM, "sha256:<hex>".
	Identity string `json:"identity"`
}

// OriginValue is the start value of one bank.
type OriginValue struct {
	// Bank is the bank's name.
	Bank string `json:"bank"`
	// Value is the register's value in lower-case hexadecimal.
	Value string `json:"value"`
}

// Begin is the data of a launch-begin event, in canonical JSON.
type Begin struct {
	// V is 1.
	V int `json:"v"`
	// Series is the series id, 64 hexadecimal digits.
	Series string `json:"series"`
	// Clock is the TPM's clock in milliseconds at the launch, in decimal.
	Clock string `json:"clock"`
}

// Encode returns the event data. The error wraps ErrSchema.
func (o *Origin) Encode() ([]byte, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	return MarshalCanonical(o)
}

// ParseOrigin parses the data of an origin event; the error wraps ErrStrict or
// ErrSchema.
func ParseOrigin(data []byte) (*Origin, error) {
	o := new(Origin)
	if err := UnmarshalCanonical(data, eventDepth, o); err != nil {
		return nil, err
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	return o, nil
}

func (o *Origin) check() error {
	if o.V != 1 || len(o.Start) == 0 || len(o.Start) > attest.MaxBanks {
		return fmt.Errorf("version or start values: %w", ErrSchema)
	}
	if err := CheckDigest(o.Identity); err != nil {
		return err
	}
	for _, c := range []string{o.ResetCount, o.RestartCount} {
		if _, err := ParseUint(c); err != nil {
			return err
		}
	}
	if f, err := hex.DecodeString(o.Firmware); err != nil || len(f) != 8 || hex.EncodeToString(f) != o.Firmware {
		return fmt.Errorf("firmware: %w", ErrSchema)
	}
	last := attest.Alg(0)
	for i := range o.Start {
		alg, _, err := o.StartValue(i)
		if err != nil {
			return err
		}
		if alg <= last {
			return fmt.Errorf("start values are not in ascending order of their banks: %w", ErrSchema)
		}
		last = alg
	}
	return nil
}

// StartValue returns bank and value of start value i. The error wraps
// ErrSchema.
func (o *Origin) StartValue(i int) (attest.Alg, []byte, error) {
	alg, err := attest.ParseAlg(o.Start[i].Bank)
	if err != nil {
		return 0, nil, fmt.Errorf("start bank: %w", ErrSchema)
	}
	v, err := hex.DecodeString(o.Start[i].Value)
	if err != nil || len(v) != alg.Size() || hex.EncodeToString(v) != o.Start[i].Value {
		return 0, nil, fmt.Errorf("start value of %v: %w", alg, ErrSchema)
	}
	return alg, v, nil
}

// Encode returns the event data. The error wraps ErrSchema.
func (b *Begin) Encode() ([]byte, error) {
	if err := b.check(); err != nil {
		return nil, err
	}
	return MarshalCanonical(b)
}

// ParseBegin parses the data of a launch-begin event; the error wraps ErrStrict
// or ErrSchema.
func ParseBegin(data []byte) (*Begin, error) {
	b := new(Begin)
	if err := UnmarshalCanonical(data, eventDepth, b); err != nil {
		return nil, err
	}
	if err := b.check(); err != nil {
		return nil, err
	}
	return b, nil
}

func (b *Begin) check() error {
	if b.V != 1 {
		return fmt.Errorf("version %d: %w", b.V, ErrSchema)
	}
	if err := checkHex32(b.Series); err != nil {
		return err
	}
	_, err := ParseUint(b.Clock)
	return err
}

// ParseUint parses a decimal u64 in its one spelling. The error wraps
// ErrSchema.
func ParseUint(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || strconv.FormatUint(n, 10) != s {
		return 0, fmt.Errorf("%q is not a decimal number: %w", s, ErrSchema)
	}
	return n, nil
}

// checkHex32 wants 64 lower-case hexadecimal digits.
func checkHex32(s string) error {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 32 || hex.EncodeToString(b) != s {
		return fmt.Errorf("%q is not 64 lower-case hexadecimal digits: %w", s, ErrSchema)
	}
	return nil
}
