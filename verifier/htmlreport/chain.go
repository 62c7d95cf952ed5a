package htmlreport

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sworn-run/sworn/verifier"
)

// link is one step from the record to the silicon, and the checks that judge it.
type link struct {
	from, to string
	// says what holds if it passed.
	says   string
	checks []*verifier.Check
	status string
	look   string
}

// node is one thing that the chain leads through.
type node struct {
	title, line string
	// gone is true where the record has no such thing.
	gone bool
}

// branch is one slot's evidence: quote, certificate of its key, root.
type branch struct {
	nodes [3]node
	links [3]link
}

// drawing is what the figure shows.
type drawing struct {
	trunk   [4]node
	links   [3]link
	whole   link
	slots   []branch
	boot    node
	bootBy  link
	stamp   node
	stampBy link
	clock   node
	clockBy link
}

// judged returns the link with the worst status of its checks: failed, not established,
// then what was waived. Checks of other slots than the one given do not count.
func (d *document) judged(l link, slot int, ids ...string) link {
	checks := d.r.Deciding()
	rank := 0
	l.status = notApplicable
	for i := range checks {
		c := &checks[i]
		if !slices.Contains(ids, c.ID) || c.Slot != nil && slot >= 0 && *c.Slot != slot {
			continue
		}
		l.checks = append(l.checks, c)
		s := shown(c)
		n := slices.Index([]string{notApplicable, passed, assumed, failedWaived, notEstablished, failed}, s)
		if n < 0 {
			s, n = notEstablished, 4
		}
		if n >= rank {
			l.status, rank = s, n
		}
	}
	if len(l.checks) == 0 {
		l.status = notEstablished
	}
	l.look = statusClass(l.status)
	return l
}

// draw reads the report as a drawing.
func (d *document) draw() drawing {
	r := d.r
	s := &r.Summary
	g := drawing{
		trunk: [4]node{
			{"Record", hash("sha256 ", s.CertificateHash), s.CertificateHash == ""},
			{"Batch", "root of the tree of records", false},
			{"Statement", "what the launch key signed", false},
			{"Launch key and log", fmt.Sprintf("%d events", s.Events), s.Events == 0},
		},
	}
	g.whole = d.judged(link{from: "record", to: "itself", says: "the record has one reading, and its hashes are those of its bytes"},
		-1, "capsule.strict", "cer.canonical", "cer.hash", "cer.runtime")
	g.links[0] = d.judged(link{from: "record", to: "batch", says: "the record is a leaf of the tree"}, -1, "statement.record", "statement.inclusion")
	g.links[1] = d.judged(link{from: "batch", to: "statement", says: "the statement names the tree's root"}, -1, "statement.form")
	g.links[2] = d.judged(link{from: "statement", to: "launch key and log", says: "the log's key signed it, and the log commits it"},
		-1, "statement.signature", "log.launch", "log.commit", "runtime.claims")
	for i := range max(len(s.Evidence), 1) {
		g.slots = append(g.slots, d.branch(i))
	}
	g.boot = node{"What booted", "", len(s.Booted) == 0}
	g.bootBy = d.judged(link{from: "launch key and log", to: "what booted", says: "a measured boot that the policy names covers the launcher"},
		-1, "launcher.rooted", "slot.measurement", "boot.log")
	d.drawTime(&g)
	return g
}

// branch reads one slot.
func (d *document) branch(i int) branch {
	format, which := "", ""
	if i < len(d.r.Summary.Evidence) && len(d.r.Summary.Evidence[i]) > 0 {
		format = d.r.Summary.Evidence[i][0].Value
	}
	if len(d.r.Summary.Evidence) > 1 {
		which = " " + strconv.Itoa(i)
	}
	b := branch{nodes: [3]node{
		{"Quote" + which, format, format == ""},
		{"Certificate of its key", "", format == ""},
		{"Root of its maker", "", format == ""},
	}}
	b.links[0] = d.judged(link{from: "launch key and log", to: "quote" + which, says: "the quote covers the statement, and the log is what it quotes"},
		i, "evidence.set", "slot.form", "slot.binding", "log.replay", "log.origin", "log.sole")
	b.links[1] = d.judged(link{from: "quote" + which, to: "certificate of its key", says: "that key signed the quote, and is of an acceptable kind"}, i, "slot.signature", "slot.mode")
	b.links[2] = d.judged(link{from: "certificate of its key", to: "root of its maker", says: "a root that the policy names vouches for the key"},
		i, "slot.identity", "slot.revocation", "slot.tcb", "collateral.coherent")
	if len(b.links[2].checks) > 0 && b.links[2].checks[0].Status == passed {
		b.nodes[2].line = lastQuoted(b.links[2].checks[0].Detail)
	}
	return b
}

// drawTime reads the time stamp that counts: the first that can be relied on, else the
// first.
func (d *document) drawTime(g *drawing) {
	g.stamp, g.clock = node{"No time stamp", "", true}, node{"No authority", "", true}
	g.stampBy = d.judged(link{from: "quote", to: "time stamp", says: "a time stamp covers the evidence"}, -1, "time.token")
	g.clockBy = d.judged(link{from: "time stamp", to: "its authority", says: "an authority that is trusted made it, and the times are in order"}, -1, "time.token", "time.order")
	best := -1
	for i := range d.r.TimeStamps {
		if s := &d.r.TimeStamps[i]; best < 0 || s.Status == passed && (d.r.TimeStamps[best].Status != passed || s.Time < d.r.TimeStamps[best].Time) {
			best = i
		}
	}
	if best < 0 {
		return
	}
	s := &d.r.TimeStamps[best]
	g.stamp = node{"Time stamp", strings.Replace(fmt.Sprintf("%.16s", s.Time), "T", " ", 1), false}
	g.clock = node{"Authority", s.Authority, false}
}

// hash shortens a digest.
func hash(label, digest string) string {
	if digest == "" {
		return ""
	}
	return label + fmt.Sprintf("%.12s…", strings.TrimPrefix(digest, "sha256:"))
}

// lastQuoted returns what stands last in quotes, such as a root's name.
func lastQuoted(detail string) string {
	end := strings.LastIndexByte(detail, '"')
	if end < 1 {
		return ""
	}
	begin := strings.LastIndexByte(detail[:end], '"')
	return strings.TrimPrefix(detail[begin+1:end], "CN=")
}

// chain draws the figure and tells it in words.
func (d *document) chain() {
	g := d.draw()
	d.in(elFigure, func() {
		d.svg(&g)
		d.in(elDiv, func() {
			d.with(elP, "The same in words. Each link is as strong as the weakest of its checks.", class("small soft"))
			d.in(elOL, func() {
				for _, l := range g.all() {
					d.inWords(l)
				}
			})
		})
	}, class("chain"))
}

// all returns the links in reading order.
func (g *drawing) all() []link {
	out := append([]link{g.whole}, g.links[:]...)
	for i := range g.slots {
		out = append(out, g.slots[i].links[:]...)
	}
	return append(out, g.bootBy, g.stampBy, g.clockBy)
}

// inWords is one link in words.
func (d *document) inWords(l link) {
	d.in(elLI, func() {
		d.in(elP, func() {
			d.badge(l.look, l.status)
			d.text(" " + l.from + " to " + l.to + ": " + l.says)
		})
		d.in(elP, func() {
			var parts []string
			for _, c := range l.checks {
				parts = append(parts, c.ID+" "+shown(c))
			}
			d.with(elCode, strings.Join(parts, ", "))
		}, class("soft small"))
	})
}
