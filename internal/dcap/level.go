package dcap

import (
	"bytes"
	"fmt"
	"slices"
)

// The statuses of a TCB level (PCS, "tcbStatus"), and the two that QVL adds for a
// trust domain whose module was updated under it.
const (
	UpToDate                           = "UpToDate"
	SWHardeningNeeded                  = "SWHardeningNeeded"
	ConfigurationNeeded                = "ConfigurationNeeded"
	ConfigurationAndSWHardeningNeeded  = "ConfigurationAndSWHardeningNeeded"
	OutOfDate                          = "OutOfDate"
	OutOfDateConfigurationNeeded       = "OutOfDateConfigurationNeeded"
	Revoked                            = "Revoked"
	TDRelaunchAdvised                  = "TDRelaunchAdvised"
	TDRelaunchAdvisedConfigurationNeed = "TDRelaunchAdvisedConfigurationNeeded"
)

// outcome is what TCB info and QE identity say of a platform.
type outcome struct {
	// failure says why Intel's word does not reach this platform; empty if it does.
	failure string
	// parts are the statuses of the platform, of its TDX module and of its QE; the
	// second is empty where none has a say.
	platform, module, qe string
	// merged is the status of all.
	merged     string
	advisories []string
}

// judge merges the statuses of all parts of the platform (QVL, 4.1.2.4.17).
func judge(q *Quote, info *tcbInfo, qe *qeIdentity) outcome {
	var o outcome
	sgx, level := info.match(q.PCK, q.TD)
	if level == nil {
		o.failure = "no level of the TCB info matches the platform"
		return o
	}
	o.platform = level.status
	o.add(level.advisories)
	if q.TD != nil {
		o.judgeTD(q.TD, info, level)
	} else {
		o.merged = level.status
	}
	i := slices.IndexFunc(qe.levels, func(l moduleLevel) bool { return q.QE.ISVSVN >= l.isvsvn })
	if i < 0 && o.failure == "" {
		o.failure = fmt.Sprintf("no level of the QE identity matches the QE's ISVSVN %d", q.QE.ISVSVN)
	}
	if o.failure != "" {
		o.merged = ""
		return o
	}
	o.qe = qe.levels[i].status
	o.add(qe.levels[i].advisories)
	if q.TD != nil && o.qe == UpToDate {
		o.relaunch(q.TD, info, sgx)
		if o.failure != "" {
			o.merged = ""
			return o
		}
	}
	o.merged = converge(o.merged, o.qe)
	// QVL looks at the status of the first level that fits the CPU only before it asks
	// whether a relaunch helps. That a revoked CPU could come out as anything else
	// would need levels that contradict each other; it does not here.
	if sgx.status == Revoked {
		o.merged = Revoked
	}
	return o
}

// judgeTD merges the platform's status with that of the TDX module.
func (o *outcome) judgeTD(td *TDReport, info *tcbInfo, level *platformLevel) {
	o.merged = level.status
	m := info.moduleOf(td.TEETCBSVN[1])
	if m == nil {
		o.failure = fmt.Sprintf("the TCB info has no identity of a TDX module %s", moduleID(td.TEETCBSVN[1]))
		return
	}
	if o.failure = m.mismatch(td); o.failure != "" || m.id == "" {
		return
	}
	i := slices.IndexFunc(m.levels, func(l moduleLevel) bool { return uint16(td.TEETCBSVN[0]) >= l.isvsvn })
	if i < 0 {
		o.failure = fmt.Sprintf("no level of module %s matches its ISVSVN %d", m.id, td.TEETCBSVN[0])
		return
	}
	o.module = m.levels[i].status
	o.add(m.levels[i].advisories)
	o.merged = converge(level.status, o.module)
}

// match returns the first level that the certificate's components reach, and the
// first that the quote's reach as well; for SGX they are the same. Levels stand in
// descending order (PCS).
func (t *tcbInfo) match(p *PCK, td *TDReport) (sgx, level *platformLevel) {
	for i := range t.levels {
		l := &t.levels[i]
		if p.PCESVN < l.pcesvn || !reaches(p.Components[:], l.sgx[:]) {
			continue
		}
		if sgx == nil {
			sgx = l
		}
		if td == nil {
			return sgx, l
		}
		// From a module with a major version on, its own identity has the levels
		// of the first two components.
		start := 0
		if td.TEETCBSVN[1] > 0 {
			start = 2
		}
		if reaches(td.TEETCBSVN[start:], l.tdx[start:]) {
			return sgx, l
		}
	}
	return sgx, nil
}

// reaches reports whether every component is at least the wanted one.
func reaches(have, want []uint8) bool {
	for i := range have {
		if have[i] < want[i] {
			return false
		}
	}
	return true
}

// moduleID returns the id of the modules of one major version.
func moduleID(major uint8) string { return fmt.Sprintf("TDX_%02X", major) }

// moduleOf returns the identity of the modules of one major version, nil if there is
// none.
func (t *tcbInfo) moduleOf(major uint8) *module {
	if major == 0 {
		return t.module
	}
	id := moduleID(major)
	for i := range t.modules {
		if t.modules[i].id == id {
			return &t.modules[i]
		}
	}
	return nil
}

// mismatch says what of the TDX module is not what its identity wants, or "". The
// attributes must be zero, whatever the identity has (QVL, 4.1.2.4.11.2).
func (m *module) mismatch(td *TDReport) string {
	if m.mrsigner != td.MRSignerSEAM {
		return "MRSIGNERSEAM is not that of the TCB info: another TDX module"
	}
	masked := td.SEAMAttributes
	for i := range masked {
		masked[i] &= m.mask[i]
	}
	if !bytes.Equal(masked[:], m.attributes[:]) || !zero(td.SEAMAttributes[:]) {
		return "SEAMATTRIBUTES are not those of the TCB info: another kind of TDX module"
	}
	return ""
}

// converge returns the status of a level whose module or QE has a status of its own.
func converge(level, part string) string {
	switch part {
	case UpToDate:
		return level
	case Revoked:
		return Revoked
	}
	// Anything else counts as out of date, as QVL has it for a QE.
	switch level {
	case UpToDate, SWHardeningNeeded:
		return OutOfDate
	case ConfigurationNeeded, ConfigurationAndSWHardeningNeeded:
		return OutOfDateConfigurationNeeded
	default:
		return level
	}
}

// relaunch replaces the status where the module that runs now is the latest one and
// only the one at the launch was out of date, so that launching the TD anew would do
// (QVL, 4.1.2.4.17.4.3).
func (o *outcome) relaunch(td *TDReport, info *tcbInfo, sgx *platformLevel) {
	if !td.Is15 || o.module != OutOfDate || o.merged != OutOfDate && o.merged != OutOfDateConfigurationNeeded {
		return
	}
	switch sgx.status {
	case UpToDate, SWHardeningNeeded, ConfigurationNeeded, ConfigurationAndSWHardeningNeeded:
	default:
		return
	}
	latest := &info.levels[0]
	now := td.TEETCBSVN2
	want := uint16(latest.tdx[0])
	if now[1] > 0 {
		m := info.moduleOf(now[1])
		if m == nil {
			o.failure = fmt.Sprintf("the TCB info has no identity of the TDX module %s that runs now", moduleID(now[1]))
			return
		}
		want = m.levels[0].isvsvn
	}
	if uint16(now[0]) < want || now[2] < latest.tdx[2] {
		return
	}
	switch {
	case o.merged == OutOfDateConfigurationNeeded, sgx.status == ConfigurationNeeded, sgx.status == ConfigurationAndSWHardeningNeeded:
		o.merged = TDRelaunchAdvisedConfigurationNeed
	default:
		o.merged = TDRelaunchAdvised
	}
}

// add adds advisories, each once.
func (o *outcome) add(ids []string) {
	o.advisories = append(o.advisories, ids...)
	slices.Sort(o.advisories)
	o.advisories = slices.Compact(o.advisories)
}
