package bootlog

import "bytes"

// State is the value of the variable SecureBoot.
type State uint8

const (
	// Unknown is the zero value: not established.
	Unknown State = 0
	// Disabled means that Secure Boot was off, or that the firmware has none.
	Disabled State = 1
	// Enabled means that Secure Boot was on.
	Enabled State = 2
)

// String returns the name of the state.
func (s State) String() string {
	switch s {
	case Enabled:
		return "enabled"
	case Disabled:
		return "disabled"
	default:
		return "unknown"
	}
}

// SecureBoot is the state of Secure Boot.
//
// It is read from digests alone: the variable has three possible values (PFP,
// 3.3.4.8: absent, 0 and 1), each with one digest, and exactly one of them must
// stand before the register's first separator. Nobody can hide the true one by
// changing the log.
type SecureBoot struct {
	Finding
	State State
	// Debug is true if the firmware was in a mode for debugging, which lets
	// everything run; DMA if it left memory open to devices (PFP, 3.3.4.8).
	// Both are measured before the separator.
	Debug, DMA bool
}

// Variables are the Secure Boot variables, established together: each of PK, KEK,
// db and dbx stands once before the separator, covered and well-formed, and nothing
// else there is unexplained.
type Variables struct {
	Finding
	// PK, KEK, DB and DBX are the databases; empty ones are nil.
	PK, KEK, DB, DBX []Signature
}

// Authorities are what the firmware and its loaders verified images with. They are
// established if everything after the separator is one; what is listed was measured
// in any case.
type Authorities struct {
	Finding
	List []Authority
}

// Authority is the value of a variable that verified an image, or that a loader
// measured as its own policy: "db" with an EFI_SIGNATURE_DATA or a certificate,
// "MokListTrusted", "SbatLevel".
type Authority struct {
	Event     int
	Namespace GUID
	Name      string
	// Value is not interpreted: firmware puts the owner's GUID before the
	// certificate, shim does not.
	Value []byte
}

// Names of the Secure Boot variables.
const (
	nameSecureBoot = "SecureBoot"
	debugMode      = "UEFI Debug Mode"
	dmaOff         = "DMA Protection Disabled"
)

// globalVariable is [GlobalVariable] in memory.
func globalVariable() GUID {
	return GUID{0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c}
}

// secureBoot reads the register of Secure Boot.
func (a *appraisal) secureBoot() {
	a.state()
	a.variables()
	a.authorities()
}

// state finds the digests that SecureBoot can have.
func (a *appraisal) state() {
	s := &a.facts.SecureBoot
	matches := 0
	values := []struct {
		value []byte
		state State
	}{{nil, Disabled}, {[]byte{0}, Disabled}, {[]byte{1}, Enabled}}
	digests := make([][]byte, 0, len(values))
	for _, v := range values {
		digests = append(digests, a.bank.Sum((&variable{globalVariable(), nameSecureBoot, v.value}).marshal()))
	}
	debug, dma := a.bank.Sum([]byte(debugMode)), a.bank.Sum([]byte(dmaOff))
	for i := range a.events {
		m := &a.events[i]
		if m.Index != a.at.secureBoot || m.After {
			continue
		}
		for j, d := range digests {
			if bytes.Equal(m.Digest, d) {
				matches++
				s.State, a.explained[i] = values[j].state, true
			}
		}
		if bytes.Equal(m.Digest, debug) {
			s.Debug, a.explained[i] = true, true
		}
		if bytes.Equal(m.Digest, dma) {
			s.DMA, a.explained[i] = true, true
		}
	}
	if s.Finding = a.closed(); s.Established && matches != 1 {
		s.Finding = unestablished("%d values of SecureBoot before the separator of register %d, want 1", matches, a.at.secureBoot)
	}
	if !s.Established {
		s.State = Unknown
	}
}

// separated reports whether the register of Secure Boot has separators, none of a
// failure.
func (a *appraisal) separated() bool {
	found := false
	for _, s := range a.facts.Separators {
		if s.Index == a.at.secureBoot {
			if s.Failed {
				return false
			}
			found = true
		}
	}
	return found
}

// closed is what every fact of the register rests on.
func (a *appraisal) closed() Finding {
	if a.separated() {
		return Finding{Established: true}
	}
	return unestablished("register %d is not confirmed, or without a separator that says the firmware succeeded", a.at.secureBoot)
}

// hidden returns the finding for an event whose bytes are not there and whose digest
// the caller does not know.
func (a *appraisal) hidden(m *Measured, what string) Finding {
	return unestablished("event %d of register %d is not explained: it could be any %s", m.Event, m.Index, what)
}

// variables reads PK, KEK, db and dbx.
func (a *appraisal) variables() {
	var vs Variables
	vs.Finding = a.closed()
	lists := []struct {
		namespace, name string
		list            *[]Signature
		events          []int
	}{
		{GlobalVariable, "PK", &vs.PK, nil},
		{GlobalVariable, "KEK", &vs.KEK, nil},
		{SecurityDatabase, "db", &vs.DB, nil},
		{SecurityDatabase, "dbx", &vs.DBX, nil},
	}
	for i := range a.events {
		m := &a.events[i]
		if m.Index != a.at.secureBoot || m.After || a.explained[i] {
			continue
		}
		if m.Coverage == CoversNothing && !a.vouched(m.Digest) {
			vs.Finding = a.hidden(m, "variable")
		}
		v, err := parseVariable(m.Covered)
		if err != nil {
			continue
		}
		for j := range lists {
			if l := &lists[j]; l.namespace == v.GUID.String() && l.name == v.Name {
				l.events = append(l.events, i)
				if *l.list, err = ParseSignatures(v.Value); err != nil {
					vs.Finding = unestablished("event %d: %s: %v", m.Event, v.Name, err)
				}
			}
		}
	}
	for _, l := range lists {
		if len(l.events) != 1 && vs.Established {
			vs.Finding = unestablished("%s is measured %d times before the separator, want once", l.name, len(l.events))
		}
	}
	if !vs.Established {
		a.facts.Variables.Finding = vs.Finding
		return
	}
	for _, l := range lists {
		a.explained[l.events[0]] = true
	}
	a.facts.Variables = vs
}

// authorities reads what follows the separator. The namespace of the boot
// variables, which a log may have in the same register, holds no authority.
func (a *appraisal) authorities() {
	au := &a.facts.Authorities
	au.Finding = a.closed()
	for i := range a.events {
		m := &a.events[i]
		if m.Index != a.at.secureBoot || !m.After || a.explained[i] {
			continue
		}
		v, err := parseAuthority(m.Covered)
		switch {
		case err != nil:
			if !a.vouched(m.Digest) {
				au.Finding = a.hidden(m, "authority")
			}
		case v.GUID != globalVariable():
			a.explained[i] = true
			au.List = append(au.List, Authority{m.Event, v.GUID, v.Name, v.Value})
		}
	}
}

// parseAuthority parses a UEFI_VARIABLE_DATA with up to 8 zeros after it: versions
// of shim measure their buffer, which is too long by a few bytes.
func parseAuthority(b []byte) (*variable, error) {
	v, err := parseVariable(b)
	for n := 1; err != nil && n <= 8 && n < len(b) && b[len(b)-n] == 0; n++ {
		v, err = parseVariable(b[:len(b)-n])
	}
	return v, err
}
