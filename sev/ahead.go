package sev

import (
	"bytes"
	"crypto/x509"
	"sync"

	"github.com/sworn-run/sworn/attest"
)

// maxAhead is how many signatures are verified at once, ahead of time. A chain with its
// list has four; who sends more waits for each that is asked for.
const maxAhead = 6

// ahead verifies the signatures that a chain and its list have, side by side, before any
// is asked for: each takes as long as everything else together. It decides nothing: it
// only fills what [material.remember] looks up.
func (m *material) ahead(anchors *attest.Anchors) {
	type job struct {
		id                 [32]byte
		issuer             *x509.Certificate
		message, signature []byte
		ok                 bool
	}
	var jobs []job
	issuers := m.authorities(anchors)
	add := func(child *x509.Certificate, list *x509.RevocationList) {
		for _, issuer := range issuers {
			if len(jobs) > maxAhead {
				return
			}
			j := job{issuer: issuer}
			switch {
			case child != nil && child.SignatureAlgorithm == x509.SHA384WithRSAPSS && bytes.Equal(child.RawIssuer, issuer.RawSubject):
				j.id, j.message, j.signature = signatureKey(issuer.Raw, child.Raw), child.RawTBSCertificate, child.Signature
			case list != nil && list.SignatureAlgorithm == x509.SHA384WithRSAPSS && bytes.Equal(list.RawIssuer, issuer.RawSubject):
				j.id, j.message, j.signature = signatureKey(issuer.Raw, list.Raw), list.RawTBSRevocationList, list.Signature
			default:
				continue
			}
			if !m.cache.has(j.id) {
				jobs = append(jobs, j)
			}
		}
	}
	for _, c := range m.certificates {
		add(c.Certificate, nil)
	}
	for _, l := range m.lists {
		add(nil, l.RevocationList)
	}
	if len(jobs) > maxAhead {
		return
	}
	var all sync.WaitGroup
	for i := range jobs {
		all.Go(func() { jobs[i].ok = checkPSS(jobs[i].issuer, jobs[i].message, jobs[i].signature) })
	}
	all.Wait()
	for i := range jobs {
		m.verified[jobs[i].id] = jobs[i].ok
		if jobs[i].ok {
			m.cache.add(jobs[i].id)
		}
	}
}

// authorities are the certificates, each once, that may have issued others as AMD's do:
// those that came with the evidence, and those of the role.
func (m *material) authorities(anchors *attest.Anchors) []*x509.Certificate {
	var out []*x509.Certificate
	add := func(c *x509.Certificate) {
		if c == nil || checkAuthority(c) != "" {
			return
		}
		for _, o := range out {
			if o.Equal(c) {
				return
			}
		}
		out = append(out, c)
	}
	for _, c := range m.certificates {
		add(c.Certificate)
	}
	for _, r := range anchors.Role(Role) {
		add(r.Certificate)
	}
	return out
}
