package ledger

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"math/big"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
)

// spki returns a public key in DER.
func spki(tb testing.TB, key any) []byte {
	tb.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	return der
}

func TestSubjectOf(t *testing.T) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der := spki(t, &k.PublicKey)
	root := &x509.Certificate{RawSubjectPublicKeyInfo: []byte("root")}
	c := claims(func(c *attest.Claims) {
		c.Keys = []attest.Key{{SPKI: der}, {SPKI: []byte("no key")}}
		c.Product, c.Manufacturer = "Milan", "STM"
		c.KeyID, c.Device = [32]byte{1}, [32]byte{2}
		c.Counters = &attest.Counters{Firmware: 0x49000800010002}
		c.TCB.Versions = []attest.Attribute{{Name: "snp", Value: 3}}
		c.Attributes = []attest.Attribute{{Name: "vmpl", Value: 1}}
		c.Measurements = []attest.Measurement{{Name: "chip_id", Value: []byte{9}}}
		c.Identity.Root = &attest.Root{Certificate: root}
	})
	want := &Subject{
		Format: "tpm", Keys: []string{cer.SHA256Digest(sha256.Sum256(der)), cer.SHA256Digest(sha256.Sum256([]byte("no key")))},
		KeyID: "01" + strings.Repeat("0", 62), Device: "02" + strings.Repeat("0", 62), Product: "Milan", Manufacturer: "STM",
		Firmware: "0049000800010002", KeyType: KeyECDSA,
		Versions: map[string]uint64{"snp": 3}, Attributes: map[string]uint64{"vmpl": 1}, Measurements: map[string][]byte{"chip_id": {9}},
	}
	if d := cmp.Diff(want, SubjectOf("tpm", c)); d != "" {
		t.Error(d)
	}
	// A root counts only once the chain to it is established.
	c.Identity.Status = attest.Passed
	want.Root = cer.SHA256Digest(sha256.Sum256([]byte("root")))
	if d := cmp.Diff(want, SubjectOf("tpm", c)); d != "" {
		t.Error(d)
	}
	c.Identity.Status = attest.Failed
	if got := SubjectOf("tpm", c); got.Root != "" {
		t.Errorf("a refused chain has root %s", got.Root)
	}
	if SubjectOf("tpm", nil) != nil {
		t.Error("nil claims have a subject")
	}
	for what, x := range map[string]*Subject{"": nil, "tpm STM": {Format: "tpm", Manufacturer: "STM"}, "sgx X": {Format: "sgx", Product: "X"}, "nitro": {Format: "nitro"}} {
		if x.What() != what {
			t.Errorf("%q, want %q", x.What(), what)
		}
	}
}

// flawed returns a modulus as the flawed generator makes it, of two primes of half the
// bits each.
func flawed(tb testing.TB, bits, count int) *big.Int {
	tb.Helper()
	m := big.NewInt(1)
	for _, p := range primes(count) {
		m.Mul(m, big.NewInt(int64(p)))
	}
	prime := func() *big.Int {
		for {
			a, err := rand.Int(rand.Reader, m)
			if err != nil {
				tb.Fatal(err)
			}
			base := new(big.Int).Exp(big.NewInt(65537), a, m)
			low := new(big.Int).Lsh(big.NewInt(3), uint(bits/2-2))
			span := new(big.Int).Div(new(big.Int).Lsh(big.NewInt(1), uint(bits/2-2)), m)
			k, err := rand.Int(rand.Reader, span)
			if err != nil {
				tb.Fatal(err)
			}
			p := k.Add(k, new(big.Int).Div(low, m)).Add(k, big.NewInt(1))
			p.Mul(p, m).Add(p, base)
			if p.BitLen() == bits/2 && p.ProbablyPrime(16) {
				return p
			}
		}
	}
	return new(big.Int).Mul(prime(), prime())
}

func TestROCA(t *testing.T) {
	for _, tc := range []struct{ bits, primes int }{{512, 39}, {1024, 71}, {2048, 126}} {
		n := flawed(t, tc.bits, tc.primes)
		if n.BitLen() != tc.bits || !isROCA(n) {
			t.Errorf("a flawed modulus of %d bits is not found", n.BitLen())
		}
		if isROCA(new(big.Int).Add(n, big.NewInt(2))) {
			t.Error("a neighbour is found")
		}
	}
	b, err := os.ReadFile("testdata/roca-mod03.txt")
	if err != nil {
		t.Fatal(err)
	}
	n, ok := new(big.Int).SetString(strings.TrimSpace(strings.Split(string(b), "\n")[0]), 0)
	if !ok || n.BitLen() != 2048 {
		t.Fatal("no modulus in the file")
	}
	if !isROCA(n) {
		t.Error("a published flawed modulus is not found")
	}
	for _, bits := range []int{1024, 2048} {
		k, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		if isROCA(k.N) {
			t.Error("a modulus of another generator is found")
		}
	}
	for _, n := range []*big.Int{new(big.Int), big.NewInt(1), big.NewInt(65537), new(big.Int).Lsh(big.NewInt(1), 511), new(big.Int).Lsh(big.NewInt(1), 8192)} {
		if isROCA(n) {
			t.Errorf("%d bits are found", n.BitLen())
		}
	}
	c := claims(func(c *attest.Claims) {
		c.Keys = []attest.Key{{SPKI: spki(t, &rsa.PublicKey{N: n, E: 65537})}}
	})
	if x := SubjectOf("tpm", c); x.KeyType != KeyRSA || !slices.Equal(x.Weaknesses, []string{WeaknessROCA}) {
		t.Errorf("subject %+v", x)
	}
}

// TestROCAConsistent: a modulus that is a power of 65537 modulo each prime, of exponents
// that contradict each other, is not one of that generator: by single primes one modulus
// in a billion or so would look like it.
func TestROCAConsistent(t *testing.T) {
	n, m := new(big.Int), big.NewInt(1)
	for i, p := range primes(126) {
		power := 1
		for range i % 7 {
			power = power * (65537 % p) % p
		}
		// Chinese remainders: n ≡ power modulo p.
		q := big.NewInt(int64(p))
		inverse := new(big.Int).ModInverse(m, q)
		step := new(big.Int).Sub(big.NewInt(int64(power)), n)
		step.Mul(step, inverse).Mod(step, q)
		n.Add(n, step.Mul(step, m))
		m.Mul(m, q)
	}
	top := new(big.Int).Lsh(big.NewInt(1), 2047)
	n.Add(n, new(big.Int).Mul(m, top.Div(top, m)))
	for n.BitLen() < 2048 {
		n.Add(n, m)
	}
	if n.BitLen() != 2048 {
		t.Fatalf("%d bits", n.BitLen())
	}
	for _, p := range primes(126) {
		if log, _ := discreteLog(int(new(big.Int).Mod(n, big.NewInt(int64(p))).Int64()), p); log < 0 {
			t.Fatalf("no power modulo %d", p)
		}
	}
	if isROCA(n) {
		t.Error("found")
	}
}
