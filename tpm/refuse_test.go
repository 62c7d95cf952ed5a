package tpm

import (
	"bytes"
	"crypto/elliptic"
	"encoding/binary"
	"testing"

	"github.com/sworn-run/sworn/attest"
)

// TestRefuseParts: the parts are exactly the format's, in its order.
func TestRefuseParts(t *testing.T) {
	root := newAuthority(t, caTemplate("root"), nil)
	ak := newECC(t, elliptic.P256(), attest.SHA256)
	ak.parent = appendDigest(attest.SHA256, []byte("storage key"))
	good := ak.quoted(t, root.issue(t, leafTemplate("ak"), ak.signer.Public()))
	if _, err := (Scheme{}).Verify(good, nil, testTime); err != nil {
		t.Fatal(err)
	}
	const attestAt, parentAt, pcrsAt, certAt = 0, 3, 4, 5
	drop := func(i int) func(*attest.Evidence) {
		return func(ev *attest.Evidence) { ev.Parts = append(ev.Parts[:i], ev.Parts[i+1:]...) }
	}
	twice := func(i int) func(*attest.Evidence) {
		return func(ev *attest.Evidence) { ev.Parts = append(ev.Parts[:i+1], ev.Parts[i:]...) }
	}
	resize := func(i, n int) func(*attest.Evidence) {
		return func(ev *attest.Evidence) { ev.Parts[i].Data = append(ev.Parts[i].Data, make([]byte, n)...)[:n] }
	}
	for name, change := range map[string]func(*attest.Evidence){
		"other format":         func(ev *attest.Evidence) { ev.Format = 2 },
		"no parts":             func(ev *attest.Evidence) { ev.Parts = nil },
		"no attest":            drop(attestAt),
		"no signature":         drop(1),
		"no public":            drop(2),
		"no pcrs":              drop(pcrsAt),
		"attest twice":         twice(attestAt),
		"parent twice":         twice(parentAt),
		"pcrs twice":           twice(pcrsAt),
		"swapped":              func(ev *attest.Evidence) { ev.Parts[0], ev.Parts[1] = ev.Parts[1], ev.Parts[0] },
		"certificate early":    func(ev *attest.Evidence) { ev.Parts[pcrsAt], ev.Parts[certAt] = ev.Parts[certAt], ev.Parts[pcrsAt] },
		"unknown part":         func(ev *attest.Evidence) { ev.Parts[certAt].Name = "note" },
		"unknown part first":   func(ev *attest.Evidence) { ev.Parts[attestAt].Name = "Attest" },
		"empty attest":         resize(attestAt, 0),
		"empty pcrs":           resize(pcrsAt, 0),
		"empty parent":         resize(parentAt, 0),
		"empty certificate":    resize(certAt, 0),
		"oversized attest":     resize(attestAt, maxAttest+1),
		"oversized parent":     resize(parentAt, maxName+1),
		"oversized pcrs":       resize(pcrsAt, maxPCRs+1),
		"oversized cert":       resize(certAt, maxCertificate+1),
		"too many parts":       func(ev *attest.Evidence) { ev.Parts = append(ev.Parts, make([]attest.Part, maxParts)...) },
		"too many certs":       func(ev *attest.Evidence) { drop(parentAt)(ev); many(ev, maxCertificates+1) },
		"trailing byte attest": func(ev *attest.Evidence) { ev.Parts[0].Data = append(ev.Parts[0].Data, 0) },
		"trailing byte sig":    func(ev *attest.Evidence) { ev.Parts[1].Data = append(ev.Parts[1].Data, 0) },
		"trailing byte public": func(ev *attest.Evidence) { ev.Parts[2].Data = append(ev.Parts[2].Data, 0) },
		"trailing byte parent": func(ev *attest.Evidence) { ev.Parts[parentAt].Data = append(ev.Parts[parentAt].Data, 0) },
		"trailing byte pcrs":   func(ev *attest.Evidence) { ev.Parts[pcrsAt].Data = append(ev.Parts[pcrsAt].Data, 0) },
		"trailing byte cert":   func(ev *attest.Evidence) { ev.Parts[certAt].Data = append(ev.Parts[certAt].Data, 0) },
		"one register short":   resize(pcrsAt, 31),
		"parent of SHA-1":      func(ev *attest.Evidence) { ev.Parts[parentAt].Data = append([]byte{0, 4}, make([]byte, 20)...) },
		"parent a handle":      func(ev *attest.Evidence) { ev.Parts[parentAt].Data = []byte{0x40, 0, 0, 0x0B} },
	} {
		t.Run(name, func(t *testing.T) {
			bad := clone(good)
			change(bad)
			refuse(t, bad, attest.ErrForm)
		})
	}
}

// many leaves n certificates in ev.
func many(ev *attest.Evidence, n int) {
	last := ev.Parts[len(ev.Parts)-1]
	for range n - 1 {
		ev.Parts = append(ev.Parts, last)
	}
}

// TestRefuseQuote: signed structures that a TPM would not make, or that prove
// nothing.
func TestRefuseQuote(t *testing.T) {
	ak := newECC(t, elliptic.P256(), attest.SHA256)
	bank := func(alg attest.Alg, bitmap ...byte) bankSelection { return bankSelection{bank: alg, bitmap: bitmap} }
	pcr0 := []byte{1, 0, 0}
	for name, tc := range map[string]struct {
		change func(*quote)
		values []byte
	}{
		"no bank":       {change: func(q *quote) { q.selection = nil }},
		"SHA-1 bank":    {change: func(q *quote) { q.selection = []bankSelection{bank(attest.SHA1, pcr0...)} }, values: make([]byte, 20)},
		"SHA-1 besides": {change: func(q *quote) { q.selection = append(q.selection, bank(attest.SHA1, pcr0...)) }, values: make([]byte, 52)},
		"unknown bank":  {change: func(q *quote) { q.selection = []bankSelection{bank(0x12, pcr0...)} }},
		"bank twice":    {change: func(q *quote) { q.selection = append(q.selection, q.selection[0]) }, values: make([]byte, 64)},
		"no register":   {change: func(q *quote) { q.selection = []bankSelection{bank(attest.SHA256, 0, 0, 0)} }},
		"empty bank besides": {
			change: func(q *quote) { q.selection = append(q.selection, bank(attest.SHA384, 0, 0, 0)) }, values: make([]byte, 32),
		},
		"empty select":     {change: func(q *quote) { q.selection = []bankSelection{bank(attest.SHA256)} }},
		"select too large": {change: func(q *quote) { q.selection = []bankSelection{bank(attest.SHA256, 1, 0, 0, 0, 0)} }, values: make([]byte, 32)},
		"too many banks": {change: func(q *quote) {
			for range maxBanks {
				q.selection = append(q.selection, q.selection[0])
			}
		}, values: make([]byte, 160)},
		"extraData too long": {change: func(q *quote) { q.extraData = make([]byte, maxData+1) }, values: make([]byte, 32)},
		"signer too long":    {change: func(q *quote) { q.qualifiedSigner = make([]byte, maxName+1) }, values: make([]byte, 32)},
		"digest too long":    {change: func(q *quote) { q.digest = make([]byte, maxDigest+1) }, values: make([]byte, 32)},
	} {
		t.Run(name, func(t *testing.T) {
			q, v := ak.newQuote()
			tc.change(q)
			if tc.values != nil {
				v = tc.values
			}
			refuse(t, ak.evidence(t, q, v), attest.ErrForm)
		})
	}
	// What marshal cannot write: header and clockInfo.safe, signed all the same.
	q, v := ak.newQuote()
	safeAt := 4 + 2 + 2 + len(q.qualifiedSigner) + 2 + len(q.extraData) + 16
	for name, change := range map[string]func(b []byte){
		"magic":     func(b []byte) { b[0] = 0 },
		"certify":   func(b []byte) { put16(b, 4, 0x8017) },
		"safe of 2": func(b []byte) { b[safeAt] = 2 },
	} {
		t.Run(name, func(t *testing.T) {
			ev := ak.evidence(t, q, v)
			change(ev.Parts[0].Data)
			ev.Parts[1].Data = ak.signBytes(t, ev.Parts[0].Data)
			refuse(t, ev, attest.ErrForm)
		})
	}
}

// TestAcceptQuote: what the format allows beyond the ordinary.
func TestAcceptQuote(t *testing.T) {
	rsaAK := newRSA(t, 2048, scheme{algRSASSA, attest.SHA256})
	pss := *rsaAK
	pss.sign = scheme{algRSAPSS, attest.SHA384}
	pss.pub.scheme = pss.sign
	sha512 := *rsaAK
	sha512.sign = scheme{algRSASSA, attest.SHA512}
	sha512.pub.scheme = sha512.sign
	exponent := *rsaAK
	exponent.pub.exponent = 65537
	child := newECC(t, elliptic.P256(), attest.SHA256)
	child.parent = appendDigest(attest.SHA384, []byte("storage key"))
	name384 := newECC(t, elliptic.P384(), attest.SHA384)
	name384.pub.nameAlg = attest.SHA384
	policy := newECC(t, elliptic.P256(), attest.SHA256)
	policy.pub.authPolicy = make([]byte, 32)
	policy.pub.attributes = attrWanted | attrAdminWithPolicy | attrNoDA | attrSTClear
	for name, ak := range map[string]*fakeAK{
		"RSASSA": rsaAK, "RSASSA and SHA-512": &sha512, "RSAPSS": &pss, "explicit exponent": &exponent, "child": child, "P-384 and SHA-384": name384,
		"policy": policy, "P-256 and SHA-384": newECC(t, elliptic.P256(), attest.SHA384),
	} {
		t.Run(name, func(t *testing.T) {
			claims, err := Scheme{}.Verify(ak.quoted(t), nil, testTime)
			if err != nil {
				t.Fatal(err)
			}
			if len(claims.Registers) != 1 || claims.Registers[0].Index != 13 || claims.KeyID != keyID(ak.name()) {
				t.Errorf("claims %+v", claims)
			}
		})
	}
	t.Run("two banks, no extraData", func(t *testing.T) {
		ak := newECC(t, elliptic.P256(), attest.SHA256)
		q, _ := ak.newQuote()
		v := bytes.Repeat([]byte{3}, 48+64+64)
		q.extraData = nil
		q.selection = []bankSelection{
			{bank: attest.SHA384, bitmap: []byte{0x80}},
			{bank: attest.SHA512, bitmap: []byte{1, 0, 0, 0x80}},
		}
		q.digest = attest.SHA256.Sum(v)
		claims, err := Scheme{}.Verify(ak.evidence(t, q, v), nil, testTime)
		if err != nil {
			t.Fatal(err)
		}
		if len(claims.Quoted) != 0 || len(claims.Registers) != 3 || claims.Registers[0].Index != 7 || claims.Registers[2].Index != 31 {
			t.Errorf("claims %+v", claims)
		}
	})
}

// TestRefuseSignature: signatures and keys that prove nothing.
func TestRefuseSignature(t *testing.T) {
	other := newECC(t, elliptic.P256(), attest.SHA256)
	ecc := func(change func(*fakeAK)) *attest.Evidence {
		ak := newECC(t, elliptic.P256(), attest.SHA256)
		change(ak)
		return ak.quoted(t)
	}
	rsaKey := newRSA(t, 2048, scheme{algRSASSA, attest.SHA256})
	withRSA := func(change func(*fakeAK)) *attest.Evidence {
		ak := *rsaKey
		change(&ak)
		return ak.quoted(t)
	}
	for name, ev := range map[string]*attest.Evidence{
		"another key":   ecc(func(a *fakeAK) { a.signer = other.signer }),
		"not a point":   ecc(func(a *fakeAK) { a.pub.unique[0] = bytes.Repeat([]byte{0xFF}, 32) }),
		"zero point":    ecc(func(a *fakeAK) { a.pub.unique = [2][]byte{make([]byte, 32), make([]byte, 32)} }),
		"other hash":    ecc(func(a *fakeAK) { a.sign.hash = attest.SHA384 }),
		"ECDSA SHA-1":   ecc(func(a *fakeAK) { a.sign.hash = attest.SHA1; a.pub.scheme = a.sign }),
		"ECDSA SHA-512": ecc(func(a *fakeAK) { a.sign.hash = attest.SHA512; a.pub.scheme = a.sign }),
		"RSA SHA-1":     withRSA(func(a *fakeAK) { a.sign.hash = attest.SHA1; a.pub.scheme = a.sign }),
		"other scheme":  withRSA(func(a *fakeAK) { a.sign.alg = algRSAPSS }),
		"exponent 3":    withRSA(func(a *fakeAK) { a.pub.exponent = 3 }),
		"even exponent": withRSA(func(a *fakeAK) { a.pub.exponent = 65536 }),
		"even modulus": withRSA(func(a *fakeAK) {
			a.pub.unique[0] = bytes.Clone(a.pub.unique[0])
			a.pub.unique[0][255] &^= 1
		}),
		"short modulus": withRSA(func(a *fakeAK) {
			a.pub.unique[0] = append([]byte{0}, a.pub.unique[0]...)
			a.pub.bits += 8
		}),
		"RSA 1024":         newRSA(t, 1024, scheme{algRSASSA, attest.SHA256}).quoted(t),
		"ECDSA by RSA key": withRSA(func(a *fakeAK) { a.signer, a.sign = other.signer, other.sign }),
	} {
		t.Run(name, func(t *testing.T) { refuse(t, ev, attest.ErrSignature) })
	}
	t.Run("unpadded r", func(t *testing.T) {
		ev := clone(other.quoted(t))
		sig := &part(t, ev, PartSignature).Data
		s, err := parseSignature(*sig)
		if err != nil {
			t.Fatal(err)
		}
		s.values[0] = append([]byte{0}, s.values[0]...)
		*sig = s.marshal()
		refuse(t, ev, attest.ErrSignature)
	})
	t.Run("other values", func(t *testing.T) {
		ev := clone(other.quoted(t))
		part(t, ev, PartPCRs).Data[0] ^= 1
		refuse(t, ev, attest.ErrSignature)
	})
	t.Run("digest of the bank's hash", func(t *testing.T) {
		q, v := other.newQuote()
		q.digest = attest.SHA384.Sum(v)
		refuse(t, other.evidence(t, q, v), attest.ErrSignature)
	})
	t.Run("of another quote", func(t *testing.T) {
		ev := clone(other.quoted(t))
		q, _ := other.newQuote()
		q.clock++
		part(t, ev, PartAttest).Data = q.marshal()
		refuse(t, ev, attest.ErrSignature)
	})
}

// TestRefuseSignatureForm: structures that are no TPMT_SIGNATURE.
func TestRefuseSignatureForm(t *testing.T) {
	good := newECC(t, elliptic.P256(), attest.SHA256).quoted(t)
	sig := part(t, good, PartSignature).Data
	for name, b := range map[string][]byte{
		"unknown algorithm": put16(bytes.Clone(sig), 0, 0x001A),
		"NULL":              put16(bytes.Clone(sig), 0, uint16(algNull)),
		"HMAC":              put16(bytes.Clone(sig), 0, 0x0005),
		"unknown hash":      put16(bytes.Clone(sig), 2, 0x0012),
		"empty r":           append(put16(bytes.Clone(sig[:6]), 4, 0), sig[38:]...),
		"only r":            sig[:38],
		"huge r":            put16(bytes.Clone(sig), 4, 0xFFFF),
		"two bytes":         sig[:2],
	} {
		t.Run(name, func(t *testing.T) {
			ev := clone(good)
			part(t, ev, PartSignature).Data = b
			refuse(t, ev, attest.ErrForm)
		})
	}
}

// TestRefusePublic: structures that are no TPMT_PUBLIC of a signing key.
func TestRefusePublic(t *testing.T) {
	ak := newECC(t, elliptic.P256(), attest.SHA256)
	good := ak.quoted(t)
	raw := part(t, good, PartPublic).Data
	// type 0, nameAlg 2, objectAttributes 4, authPolicy 8, symmetric 10,
	// scheme 12, hash 14, curve 16, kdf 18, x 20, y 54.
	for name, b := range map[string][]byte{
		"TPM2B":             appendSized(nil, raw),
		"keyed hash":        put16(bytes.Clone(raw), 0, 0x0008),
		"nameAlg SHA-1":     put16(bytes.Clone(raw), 2, 0x0004),
		"nameAlg NULL":      put16(bytes.Clone(raw), 2, 0x0010),
		"reserved bit 0":    binary.BigEndian.AppendUint32(nil, uint32(goodAttributes)|1),
		"firmwareLimited":   binary.BigEndian.AppendUint32(nil, uint32(goodAttributes)|1<<8),
		"reserved bit 31":   binary.BigEndian.AppendUint32(nil, uint32(goodAttributes)|1<<31),
		"policy of 1 byte":  append(append(put16(bytes.Clone(raw[:10]), 8, 1), 0), raw[10:]...),
		"AES":               put16(bytes.Clone(raw), 10, 0x0006),
		"RSASSA with ECC":   put16(bytes.Clone(raw), 12, uint16(algRSASSA)),
		"ECDAA":             put16(bytes.Clone(raw), 12, 0x001A),
		"unknown hash":      put16(bytes.Clone(raw), 14, 0x0012),
		"P-224":             put16(bytes.Clone(raw), 16, 0x0002),
		"P-521":             put16(bytes.Clone(raw), 16, 0x0005),
		"P-384 with 32":     put16(bytes.Clone(raw), 16, curveP384),
		"kdf":               put16(bytes.Clone(raw), 18, 0x0020),
		"x of 31 bytes":     append(put16(bytes.Clone(raw[:22]), 20, 31), raw[23:]...),
		"y missing":         raw[:54],
		"empty but type":    raw[:2],
		"nothing after x":   raw[:56],
		"storage key":       read(t, "run-llm", "akpub")[:12],
		"modulus too short": newRSA(t, 2048, scheme{algRSASSA, attest.SHA256}).pub.marshal()[:200],
	} {
		t.Run(name, func(t *testing.T) {
			ev := clone(good)
			if len(b) == 4 {
				b = append(append(bytes.Clone(raw[:4]), b...), raw[8:]...)
			}
			part(t, ev, PartPublic).Data = b
			refuse(t, ev, attest.ErrForm)
		})
	}
	t.Run("keyBits", func(t *testing.T) {
		k := newRSA(t, 2048, scheme{algRSASSA, attest.SHA256})
		k.pub.bits = 3072
		refuse(t, k.quoted(t), attest.ErrForm)
	})
}

// TestRefuseMode: genuine quotes of keys that prove nothing.
func TestRefuseMode(t *testing.T) {
	changes := map[string]func(*fakeAK){
		"nameAlg SHA-512": func(a *fakeAK) { a.pub.nameAlg = attest.SHA512 },
		"no scheme":       func(a *fakeAK) { a.pub.scheme = scheme{alg: algNull} },
		"owner hierarchy": func(a *fakeAK) { a.hierarchy = []byte{0x40, 0, 0, 1} },
		"null hierarchy":  func(a *fakeAK) { a.hierarchy = []byte{0x40, 0, 0, 7} },
		"platform":        func(a *fakeAK) { a.hierarchy = []byte{0x40, 0, 0, 0x0C} },
		"unrestricted and without a scheme": func(a *fakeAK) {
			a.pub.attributes &^= attrRestricted
			a.pub.scheme = scheme{alg: algNull}
		},
	}
	for _, bit := range []attributes{attrRestricted, attrSign, attrFixedTPM, attrFixedParent, attrSensitiveDataOrigin} {
		changes["without "+bit.String()] = func(a *fakeAK) { a.pub.attributes &^= bit }
	}
	for _, bit := range []attributes{attrDecrypt, attrEncryptedDuplication, attrX509Sign} {
		changes["with "+bit.String()] = func(a *fakeAK) { a.pub.attributes |= bit }
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			ak := newECC(t, elliptic.P256(), attest.SHA256)
			change(ak)
			refuse(t, ak.quoted(t), attest.ErrMode)
		})
	}
	t.Run("parent withheld", func(t *testing.T) {
		ak := newECC(t, elliptic.P256(), attest.SHA256)
		ak.parent = appendDigest(attest.SHA256, []byte("storage key"))
		ev := ak.quoted(t)
		ev.Parts = append(ev.Parts[:3], ev.Parts[4:]...)
		refuse(t, ev, attest.ErrMode)
	})
	t.Run("parent invented", func(t *testing.T) {
		ak := newECC(t, elliptic.P256(), attest.SHA256)
		q, v := ak.newQuote()
		ak.parent = appendDigest(attest.SHA256, []byte("storage key"))
		refuse(t, ak.evidence(t, q, v), attest.ErrMode)
	})
	t.Run("a grandchild", func(t *testing.T) {
		ak := newECC(t, elliptic.P256(), attest.SHA256)
		ak.parent = appendDigest(attest.SHA256, []byte("storage key"))
		ak.hierarchy = qualifiedName(rhEndorsement[:], appendDigest(attest.SHA256, []byte("grandparent")))
		refuse(t, ak.quoted(t), attest.ErrMode)
	})
	t.Run("another public area of the same key", func(t *testing.T) {
		ak := newECC(t, elliptic.P256(), attest.SHA256)
		q, v := ak.newQuote()
		ak.pub.attributes |= attrNoDA
		refuse(t, ak.evidence(t, q, v), attest.ErrMode)
	})
}
