package dcap

import (
	"fmt"
	"strings"
	"time"

	"github.com/sworn-run/sworn/attest"
)

// DocumentDetails returns the fields of an answer of Intel's service, TCB info or QE
// identity by the kind of c ([attest.CollateralTCBInfo], [attest.CollateralQEIdentity]),
// in the order of the PCS and under its names, with all levels. Nothing is verified. The
// error wraps [attest.ErrForm].
func DocumentDetails(c *attest.Collateral) ([]attest.Detail, error) {
	d, err := parseDocument(c, 0)
	if err != nil {
		return nil, fmt.Errorf("parsing a %s: %w", c.Kind, err)
	}
	out := []attest.Detail{
		detail("issueDate", d.issued.Format(time.RFC3339)),
		detail("nextUpdate", d.next.Format(time.RFC3339)),
		detail("tcbEvaluationDataNumber", fmt.Sprint(d.evaluation)),
	}
	if d.tcb != nil {
		out = append(append([]attest.Detail{detail("id", d.tcb.tee.String()), detail("version", fmt.Sprint(d.tcb.version))}, out...), d.tcb.details()...)
	} else {
		out = append(append([]attest.Detail{detail("id", d.qe.name()), detail("version", "2")}, out...), d.qe.details()...)
	}
	return append(out, detail("signature", fmt.Sprintf("%x (r, s by Intel's TCB signing key, over %d bytes)", d.signature, len(d.raw)))), nil
}

// details returns what is particular to TCB info.
func (t *tcbInfo) details() []attest.Detail {
	out := []attest.Detail{
		detail("fmspc", fmt.Sprintf("%x", t.fmspc)),
		detail("pceId", fmt.Sprintf("%x", t.pceid)),
		detail("tcbType", "0"),
	}
	if t.module != nil {
		out = append(out, t.module.details("tdxModule")...)
	}
	for i := range t.modules {
		name := "tdxModuleIdentities " + line(t.modules[i].id)
		out = append(out, t.modules[i].details(name)...)
		out = append(out, moduleLevels(name+" ", t.modules[i].levels)...)
	}
	for i := range t.levels {
		l := &t.levels[i]
		text := "sgxtcbcomponents " + numbers(l.sgx[:])
		if t.tee == TDX {
			text += ", tdxtcbcomponents " + numbers(l.tdx[:])
		}
		out = append(out, detail(fmt.Sprintf("tcbLevels[%d]", i), fmt.Sprintf("%s: %s, pcesvn %d", &l.level, text, l.pcesvn)))
	}
	return out
}

// details returns what a module is known by.
func (m *module) details(name string) []attest.Detail {
	return []attest.Detail{
		detail(name+" mrsigner", fmt.Sprintf("%x", m.mrsigner)),
		detail(name+" attributes", fmt.Sprintf("%x, mask %x", m.attributes, m.mask)),
	}
}

// details returns what is particular to a QE identity.
func (q *qeIdentity) details() []attest.Detail {
	return append([]attest.Detail{
		detail("miscselect", fmt.Sprintf("%x, mask %x", q.miscselect, q.miscMask)),
		detail("attributes", fmt.Sprintf("%x, mask %x", q.attributes, q.attrMask)),
		detail("mrsigner", fmt.Sprintf("%x", q.mrsigner)),
		detail("isvprodid", fmt.Sprint(q.isvprodid)),
	}, moduleLevels("", q.levels)...)
}

// moduleLevels returns levels that isvsvn alone tells apart.
func moduleLevels(prefix string, levels []moduleLevel) []attest.Detail {
	var out []attest.Detail
	for i := range levels {
		out = append(out, detail(fmt.Sprintf("%stcbLevels[%d]", prefix, i), fmt.Sprintf("%s: isvsvn %d", &levels[i].level, levels[i].isvsvn)))
	}
	return out
}

// String returns status, date and advisories for people.
func (l *level) String() string {
	text := l.status + ", tcbDate " + l.date.Format(time.DateOnly)
	if len(l.advisories) > 0 {
		text += ", advisoryIDs " + strings.Join(l.advisories, " ")
	}
	return text
}

// line returns a text of a document for one line.
func line(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}
