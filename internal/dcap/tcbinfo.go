package dcap

import (
	"fmt"
	"strings"
	"time"

	"github.com/sworn-run/sworn/attest"
)

// level is what all levels have in common.
type level struct {
	date       time.Time
	status     string
	advisories []string
}

// platformLevel is a level of the platform's TCB.
type platformLevel struct {
	level
	sgx, tdx [16]uint8
	pcesvn   uint16
}

// moduleLevel is a level of an enclave or of a TDX module.
type moduleLevel struct {
	level
	isvsvn uint16
}

// module says by what a TDX module is known.
type module struct {
	// id is "TDX_" and the major version in two digits; empty for the module of
	// versions with major 0.
	id               string
	mrsigner         [48]byte
	attributes, mask [8]byte
	levels           []moduleLevel
}

// tcbInfo is the content of TCB info (PCS, "Get TCB Info").
type tcbInfo struct {
	version uint32
	tee     TEE
	fmspc   [6]byte
	pceid   [2]byte
	module  *module
	modules []module
	levels  []platformLevel
}

// The JSON of TCB info, versions 2 and 3.
type (
	tcbInfoJSON struct {
		head
		FMSPC   *string             `json:"fmspc"`
		PCEID   *string             `json:"pceId"`
		Type    *uint32             `json:"tcbType"`
		Module  *moduleJSON         `json:"tdxModule"`
		Modules []moduleJSON        `json:"tdxModuleIdentities"`
		Levels  []platformLevelJSON `json:"tcbLevels"`
	}
	moduleJSON struct {
		ID         *string           `json:"id"`
		MRSigner   *string           `json:"mrsigner"`
		Attributes *string           `json:"attributes"`
		Mask       *string           `json:"attributesMask"`
		Levels     []moduleLevelJSON `json:"tcbLevels"`
	}
	moduleLevelJSON struct {
		levelHead
		TCB *struct {
			ISVSVN *uint16 `json:"isvsvn"`
		} `json:"tcb"`
	}
	platformLevelJSON struct {
		levelHead
		TCB *tcbJSON `json:"tcb"`
	}
	tcbJSON struct {
		SGX    []componentJSON `json:"sgxtcbcomponents"`
		TDX    []componentJSON `json:"tdxtcbcomponents"`
		PCESVN *uint16         `json:"pcesvn"`
		componentsV2
	}
	componentJSON struct {
		SVN *uint8 `json:"svn"`
	}
	componentsV2 struct {
		C01 *uint8 `json:"sgxtcbcomp01svn"`
		C02 *uint8 `json:"sgxtcbcomp02svn"`
		C03 *uint8 `json:"sgxtcbcomp03svn"`
		C04 *uint8 `json:"sgxtcbcomp04svn"`
		C05 *uint8 `json:"sgxtcbcomp05svn"`
		C06 *uint8 `json:"sgxtcbcomp06svn"`
		C07 *uint8 `json:"sgxtcbcomp07svn"`
		C08 *uint8 `json:"sgxtcbcomp08svn"`
		C09 *uint8 `json:"sgxtcbcomp09svn"`
		C10 *uint8 `json:"sgxtcbcomp10svn"`
		C11 *uint8 `json:"sgxtcbcomp11svn"`
		C12 *uint8 `json:"sgxtcbcomp12svn"`
		C13 *uint8 `json:"sgxtcbcomp13svn"`
		C14 *uint8 `json:"sgxtcbcomp14svn"`
		C15 *uint8 `json:"sgxtcbcomp15svn"`
		C16 *uint8 `json:"sgxtcbcomp16svn"`
	}
)

// parseTCBInfo parses the signed bytes and writes dates and number into d.
func parseTCBInfo(raw []byte, d *document) (*tcbInfo, error) {
	var j tcbInfoJSON
	if err := unmarshal(raw, &j); err != nil {
		return nil, err
	}
	if err := j.read(d); err != nil {
		return nil, err
	}
	t := &tcbInfo{version: *j.Version}
	switch {
	case t.version == 2 && j.ID == nil:
		// For SGX alone; the id came with version 3.
	case t.version == 3 && j.ID != nil && *j.ID == "SGX":
	case t.version == 3 && j.ID != nil && *j.ID == "TDX":
		t.tee = TDX
	default:
		return nil, fmt.Errorf("version %d or id is not known: %w", t.version, attest.ErrForm)
	}
	if err := unhex(j.FMSPC, t.fmspc[:]); err != nil {
		return nil, fmt.Errorf("fmspc: %w", err)
	}
	if err := unhex(j.PCEID, t.pceid[:]); err != nil {
		return nil, fmt.Errorf("pceId: %w", err)
	}
	// Type 0 says how levels are compared (PCS); there is no other.
	if j.Type == nil || *j.Type != 0 {
		return nil, fmt.Errorf("tcbType is not 0: %w", attest.ErrForm)
	}
	if err := t.readModules(&j); err != nil {
		return nil, err
	}
	if len(j.Levels) < 1 || len(j.Levels) > maxLevels {
		return nil, fmt.Errorf("%d levels, want 1 to %d: %w", len(j.Levels), maxLevels, attest.ErrForm)
	}
	for i := range j.Levels {
		l, err := j.Levels[i].read(t)
		if err != nil {
			return nil, fmt.Errorf("level %d: %w", i, err)
		}
		t.levels = append(t.levels, l)
	}
	return t, nil
}

// readModules reads what a TCB info for TDX says of modules.
func (t *tcbInfo) readModules(j *tcbInfoJSON) error {
	if t.tee != TDX {
		if j.Module != nil || len(j.Modules) != 0 {
			return fmt.Errorf("modules of TDX in a TCB info of SGX: %w", attest.ErrForm)
		}
		return nil
	}
	if j.Module == nil {
		return fmt.Errorf("tdxModule is missing: %w", attest.ErrForm)
	}
	m, err := j.Module.read()
	if err != nil {
		return fmt.Errorf("tdxModule: %w", err)
	}
	t.module = &m
	if len(j.Modules) > maxIdentities {
		return fmt.Errorf("%d modules, limit %d: %w", len(j.Modules), maxIdentities, attest.ErrForm)
	}
	for i := range j.Modules {
		m, err := j.Modules[i].read()
		if err != nil {
			return fmt.Errorf("module %d: %w", i, err)
		}
		if j.Modules[i].ID == nil || len(*j.Modules[i].ID) > maxText {
			return fmt.Errorf("module %d has no id: %w", i, attest.ErrForm)
		}
		m.id = strings.ToUpper(*j.Modules[i].ID)
		for _, other := range t.modules {
			if other.id == m.id {
				return fmt.Errorf("module %.20q is there twice: %w", m.id, attest.ErrForm)
			}
		}
		if m.levels, err = readModuleLevels(j.Modules[i].Levels, UpToDate, OutOfDate, Revoked); err != nil {
			return fmt.Errorf("module %.20q: %w", m.id, err)
		}
		t.modules = append(t.modules, m)
	}
	return nil
}

// read decodes what a module is known by.
func (j *moduleJSON) read() (module, error) {
	var m module
	if err := unhex(j.MRSigner, m.mrsigner[:]); err != nil {
		return m, fmt.Errorf("mrsigner: %w", err)
	}
	if err := unhex(j.Attributes, m.attributes[:]); err != nil {
		return m, fmt.Errorf("attributes: %w", err)
	}
	if err := unhex(j.Mask, m.mask[:]); err != nil {
		return m, fmt.Errorf("attributesMask: %w", err)
	}
	return m, nil
}

// readModuleLevels decodes levels that are told apart by isvsvn alone.
func readModuleLevels(list []moduleLevelJSON, known ...string) ([]moduleLevel, error) {
	if len(list) < 1 || len(list) > maxLevels {
		return nil, fmt.Errorf("%d levels, want 1 to %d: %w", len(list), maxLevels, attest.ErrForm)
	}
	out := make([]moduleLevel, 0, len(list))
	for i := range list {
		l, err := list[i].read(known...)
		if err != nil {
			return nil, fmt.Errorf("level %d: %w", i, err)
		}
		if list[i].TCB == nil || list[i].TCB.ISVSVN == nil {
			return nil, fmt.Errorf("level %d: isvsvn is missing: %w", i, attest.ErrForm)
		}
		out = append(out, moduleLevel{level: l, isvsvn: *list[i].TCB.ISVSVN})
	}
	return out, nil
}

// read decodes a level of the platform.
func (j *platformLevelJSON) read(t *tcbInfo) (platformLevel, error) {
	head, err := j.levelHead.read(UpToDate, SWHardeningNeeded, ConfigurationNeeded, ConfigurationAndSWHardeningNeeded,
		OutOfDate, OutOfDateConfigurationNeeded, Revoked)
	if err != nil {
		return platformLevel{}, err
	}
	l := platformLevel{level: head}
	if j.TCB == nil || j.TCB.PCESVN == nil {
		return platformLevel{}, fmt.Errorf("pcesvn is missing: %w", attest.ErrForm)
	}
	l.pcesvn = *j.TCB.PCESVN
	if t.version == 2 {
		c := &j.TCB.componentsV2
		for i, v := range []*uint8{c.C01, c.C02, c.C03, c.C04, c.C05, c.C06, c.C07, c.C08, c.C09, c.C10, c.C11, c.C12, c.C13, c.C14, c.C15, c.C16} {
			if v == nil {
				return platformLevel{}, fmt.Errorf("component %d is missing: %w", i+1, attest.ErrForm)
			}
			l.sgx[i] = *v
		}
		return l, nil
	}
	if err := components(j.TCB.SGX, &l.sgx); err != nil {
		return platformLevel{}, fmt.Errorf("sgxtcbcomponents: %w", err)
	}
	if t.tee == TDX {
		if err := components(j.TCB.TDX, &l.tdx); err != nil {
			return platformLevel{}, fmt.Errorf("tdxtcbcomponents: %w", err)
		}
	}
	return l, nil
}

// components decodes exactly 16 components.
func components(list []componentJSON, to *[16]uint8) error {
	if len(list) != len(to) {
		return fmt.Errorf("%d components, want %d: %w", len(list), len(to), attest.ErrForm)
	}
	for i := range list {
		if list[i].SVN == nil {
			return fmt.Errorf("component %d has no svn: %w", i, attest.ErrForm)
		}
		to[i] = *list[i].SVN
	}
	return nil
}
