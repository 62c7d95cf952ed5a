package htmlreport

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/sworn-run/sworn/verifier"
)

// document writes one record's report.
type document struct {
	*page
	file string
	r    *verifier.Report
	// n numbers the records; many is true if there are several.
	n    int
	many bool
	// title, sub and minor are the headings of the record, of a section and below one.
	title, sub, minor element
}

// name makes an id of this record's.
func (d *document) name(s string) string { return fmt.Sprintf("r%d-%s", d.n, s) }

// part writes a section with its heading.
func (d *document) part(id, title string, body func()) {
	d.in(elSection, func() {
		d.with(d.sub, title, ident(d.name(id)))
		body()
	}, labels(d.name(id)))
}

// write writes everything.
func (d *document) write() {
	d.in(elSection, func() {
		d.banner()
		d.part("verdicts", "The verdict, and as of when", d.verdicts)
		account := d.r.Account()
		for i, x := range []struct {
			title     string
			sentences []verifier.Sentence
		}{
			{"What is proven", account.Proven},
			{"What is claimed", account.Claimed},
			{"What is not established", account.NotEstablished},
			{"Why", account.Why},
		} {
			d.part("told"+strconv.Itoa(i+1), x.title, func() { d.told(x.sentences) })
		}
		d.part("chain", "From the record to the hardware's maker", d.chain)
		if len(d.r.TimeStamps) > 0 {
			d.part("stamps", "Time stamps", d.stamps)
		}
		if len(d.r.Summary.Signatures) > 0 {
			d.part("signatures", "Who signed the record", d.signatures)
		}
		if len(d.r.Changes) > 0 {
			d.part("changes", "What changed since", d.changes)
		}
		if len(d.r.Summary.Components) > 0 {
			d.part("components", "What was measured", d.components)
		}
		if len(d.r.Summary.Evidence) > 0 {
			d.part("evidence", "What the hardware signed", d.evidence)
		}
		if len(d.r.RecordChecks) > 0 {
			d.part("then", "Every check, as of the record's time ("+d.r.Record.Time+")", func() { d.checks(d.r.RecordChecks) })
		}
		title := "Every check"
		if len(d.r.RecordChecks) > 0 {
			title = "Every check, as of now (" + d.r.Now.Time + ")"
		}
		d.part("checks", title, func() { d.checks(d.r.Checks) })
		d.part("digests", "What this verdict is about", d.digests)
	}, class(d.look()), labels(d.name("title")))
}

// banner is the headline.
func (d *document) banner() {
	if !d.many {
		d.with(elP, "Sworn verification report", class("kind"))
	}
	title := "Report on a record"
	if d.file != "" {
		title = "Report on " + d.file
	}
	d.with(d.title, title, ident(d.name("title")))
	d.in(elP, func() {
		d.text("Verified as of " + d.r.Now.Time + " by " + d.r.Verifier + ". The record's file has SHA-256 ")
		d.with(elCode, d.r.Capsule)
	}, class("about"))
	look := verdictClass(d.r)
	d.in(elDiv, func() {
		d.in(elP, func() {
			d.icon(look)
			word := verdictWord(d.r)
			d.with(elSpan, strings.ToUpper(word[:1])+word[1:])
		}, class("word"))
		d.with(elP, d.r.Headline, class("headline"))
	}, class("banner "+look))
}

// verdicts are the verdicts side by side.
func (d *document) verdicts() {
	d.in(elDiv, func() {
		d.verdict("As of the record's time", &d.r.Record, d.r.Decides == "record")
		d.verdict("As of now", &d.r.Now, d.r.Decides == "now")
		if h := d.r.Hypothetical; h != nil {
			d.verdict("At a time that was asked for", h, d.r.Decides == "at")
		}
	}, class("verdicts"))
}

func (d *document) verdict(title string, v *verifier.Verdict, decides bool) {
	d.in(elDiv, func() {
		d.with(d.minor, title)
		d.in(elP, func() { d.badge(statusClass(v.Status), v.Status) })
		if v.Time != "" {
			d.with(elP, v.Time)
		}
		d.with(elP, v.Headline, class("small"))
		if v.Horizon != "" {
			d.with(elP, "How far what is known reaches: "+v.Horizon+".", class("small soft"))
		}
		if decides {
			d.with(elP, "This verdict decides.", class("small"))
		}
	})
}

// told writes sentences.
func (d *document) told(sentences []verifier.Sentence) {
	d.in(elDL, func() {
		for _, s := range sentences {
			d.in(elDiv, func() {
				d.with(elDT, s.Topic)
				d.in(elDD, func() {
					d.with(elP, s.Text)
					if len(s.Checks) > 0 {
						d.in(elP, func() {
							d.text("checks: ")
							d.with(elCode, strings.Join(s.Checks, ", "))
						}, class("by"))
					}
				})
			})
		}
	}, class("told"))
}

// facts writes names and values.
func (d *document) facts(rows [][2]string) {
	d.in(elDL, func() {
		for _, row := range rows {
			if row[1] == "" {
				continue
			}
			d.in(elDiv, func() {
				d.with(elDT, row[0])
				d.in(elDD, func() { d.with(elCode, row[1]) })
			})
		}
	}, class("facts"))
}

// table writes a table of two columns.
func (d *document) table(caption, left, right string, body func()) {
	d.in(elTable, func() {
		d.with(elCaption, caption)
		d.in(elThead, func() {
			d.in(elTR, func() {
				d.with(elTH, left, scope("col"), class("c1"))
				d.with(elTH, right, scope("col"), class("c2"))
			})
		})
		d.in(elTbody, body)
	})
}

// labelled writes a line of a cell, if it has a value.
func (d *document) labelled(label, value string, code bool) {
	if value == "" {
		return
	}
	d.in(elP, func() {
		d.with(elSpan, label+" ", class("l"))
		if code {
			d.with(elCode, value)
		} else {
			d.text(value)
		}
	})
}

// components is the table of what was measured.
func (d *document) components() {
	caption := "In the order of the log. Under “not trusted” this is what the record says."
	d.table(caption, "Component", "What it is", func() {
		for i := range d.r.Summary.Components {
			c := &d.r.Summary.Components[i]
			d.in(elTR, func() {
				d.in(elTH, func() {
					d.with(elP, c.Role)
					if c.Name != "" {
						d.in(elP, func() { d.with(elCode, c.Name) })
					}
				}, scope("row"))
				d.in(elTD, func() {
					d.labelled("path", c.Path, true)
					for _, x := range c.Digest {
						d.labelled("digest", x, true)
					}
					if c.Size != "" {
						d.labelled("size", c.Size+" bytes", false)
					}
					d.labelled("kept from changing by", c.Protection, false)
					d.labelled("value", c.Value, true)
					for _, f := range c.Described {
						d.labelled("says of itself, checked by nobody:", f.Name+" = "+f.Value, true)
					}
				})
			})
		}
	})
}

// evidence lists the fields of the quotes.
func (d *document) evidence() {
	for i, fields := range d.r.Summary.Evidence {
		d.with(d.minor, fmt.Sprintf("Slot %d", i))
		if len(fields) == 0 {
			d.with(elP, "The evidence was refused, so that nothing is shown of it.")
			continue
		}
		rows := make([][2]string, len(fields))
		for j, f := range fields {
			rows[j] = [2]string{f.Name, f.Value}
		}
		d.facts(rows)
	}
}

// checks is the table of checks.
func (d *document) checks(checks []verifier.Check) {
	d.table(fmt.Sprintf("%d checks. A core check must pass; a required one must, unless the policy waives it; info informs.", len(checks)), "Check", "What was wanted, and found", func() {
		for i := range checks {
			c := &checks[i]
			d.in(elTR, func() {
				d.in(elTH, func() {
					d.in(elP, func() { d.with(elCode, c.ID) })
					d.in(elP, func() { d.badge(statusClass(shown(c)), shown(c)) })
					about := c.Class
					if c.Slot != nil {
						about += fmt.Sprintf(", slot %d", *c.Slot)
					}
					if !c.Counts && c.Class != "info" {
						about += ", not asked for"
					}
					d.with(elP, about, class("small soft"))
				}, scope("row"))
				d.in(elTD, func() {
					d.labelled("passes when", c.Passes, false)
					d.labelled("found:", c.Detail, false)
					d.labelled("want", c.Want, true)
					d.labelled("got", c.Got, true)
					d.labelled("waived by the policy:", c.Waived, false)
					d.labelled("defined in", c.Spec, false)
				})
			})
		}
	})
}

// stamps lists the tokens.
func (d *document) stamps() {
	for i := range d.r.TimeStamps {
		s := &d.r.TimeStamps[i]
		d.with(d.minor, fmt.Sprintf("Token %d", i))
		d.in(elP, func() { d.badge(statusClass(s.Status), s.Status) })
		d.facts([][2]string{
			{"time", s.Time},
			{"accuracy", s.Accuracy},
			{"covers", s.Covers},
			{"hash", s.Hash},
			{"authority", s.Authority},
			{"root (SHA-256 of its key)", s.Root},
			{"can be relied on until", s.Until},
			{"found", s.Detail},
		})
	}
}

// signatures lists those of operator and countersigners.
func (d *document) signatures() {
	for i := range d.r.Summary.Signatures {
		s := &d.r.Summary.Signatures[i]
		d.with(d.minor, fmt.Sprintf("Signature %d", i))
		word, says, attended := failed, " It is not by this key, or not over this record.", ""
		if s.Valid {
			word, says = passed, " It is by this key, over this record."
		}
		if s.Attended {
			attended = "by its authenticator"
		}
		d.in(elP, func() {
			d.badge(statusClass(word), word)
			d.text(says)
		})
		d.facts([][2]string{
			{"as", s.Role},
			{"kind", s.Kind},
			{"algorithm", s.Algorithm},
			{"key", s.Key},
			{"fingerprint", s.Fingerprint},
			{"key (SHA-256 of it)", s.SPKI},
			{"certificate says", s.Subject},
			{"certificate is by", s.Issuer},
			{"over records of the statement", s.Records},
			{"user was verified", attended},
			{"time, by their word", s.Time},
			{"comment", s.Comment},
		})
	}
}

// changes lists the checks with another outcome now.
func (d *document) changes() {
	d.table("Checks with another outcome now than as of the record's time.", "Check", "Then, and now", func() {
		for i := range d.r.Changes {
			c := &d.r.Changes[i]
			d.in(elTR, func() {
				d.in(elTH, func() {
					d.in(elP, func() { d.with(elCode, c.ID) })
					if c.Slot != nil {
						d.with(elP, fmt.Sprintf("slot %d", *c.Slot), class("small soft"))
					}
				}, scope("row"))
				d.in(elTD, func() {
					d.in(elP, func() {
						d.with(elSpan, "then ", class("l"))
						d.badge(statusClass(c.Then), c.Then)
					})
					d.in(elP, func() {
						d.with(elSpan, "now ", class("l"))
						d.badge(statusClass(c.Now), c.Now)
					})
					d.labelled("found now:", c.Detail, false)
				})
			})
		}
	})
}

// digests lists what was appraised, by what, and with what.
func (d *document) digests() {
	r := d.r
	policy, roots := r.Policy, r.Roots
	if policy == "" {
		policy = "none given"
	}
	if roots == "" {
		roots = "none given"
	}
	rows := [][2]string{
		{"record (certificateHash)", r.Summary.CertificateHash},
		{"record's file (SHA-256)", r.Capsule},
		{"evidence (evidenceDigest)", r.Summary.EvidenceDigest},
		{"policy (SHA-256)", policy},
		{"roots (digest)", roots},
		{"verifier", r.Verifier},
		{"horizon", r.Now.Horizon},
		{"report", r.Type},
	}
	for _, l := range r.Ledgers {
		by := "built in"
		if l.Signer != "" {
			by = "signed by " + l.Signer
		}
		rows = append(rows, [2]string{"ledger", fmt.Sprintf("%s version %s of %s, %d entries, %s, SHA-256 %s", l.Name, l.Version, l.Issued, l.Entries, by, l.Digest)})
	}
	d.facts(rows)
}

// look is the section's class.
func (d *document) look() string {
	if d.many {
		return "record many"
	}
	return "record"
}
