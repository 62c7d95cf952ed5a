package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// module is where Debian has the software token.
const module = "/usr/lib/softhsm/libsofthsm2.so"

// token makes a software token, PIN 1234.
func token(t *testing.T) (dir string) {
	t.Helper()
	if _, err := os.Stat(module); err != nil {
		t.Skip("no SoftHSM here: tools/setup.sh installs it")
	}
	dir = t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "tokens"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "softhsm2.conf", "directories.tokendir = "+filepath.Join(dir, "tokens")+"\nobjectstore.backend = file\nlog.level = ERROR\n")
	t.Setenv("SOFTHSM2_CONF", filepath.Join(dir, "softhsm2.conf"))
	util(t, "--init-token", "--free", "--label", "operator", "--so-pin", "5678", "--pin", "1234")
	return dir
}

// tells reports whether an error has a PIN in its text, the right one or the wrong one
// of these tests.
func tells(err error) bool {
	text := fmt.Sprint(err)
	return strings.Contains(text, "1234") || strings.Contains(text, "4321")
}

func util(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("softhsm2-util", args...).CombinedOutput(); err != nil {
		t.Fatalf("softhsm2-util %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// put puts a key into the token.
func put(t *testing.T, dir, label, id string, key crypto.Signer) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file := write(t, dir, label+".pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	util(t, "--import", file, "--token", "operator", "--label", label, "--id", id, "--pin", "1234")
}

// ask asks what the main program asks.
func ask(t *testing.T, q request) (*answer, error) {
	t.Helper()
	b, err := json.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := serve(bytes.NewReader(b), &out); err != nil {
		return nil, err
	}
	var a answer
	if err := json.Unmarshal(out.Bytes(), &a); err != nil {
		t.Fatal(err)
	}
	return &a, nil
}

func uri(path string) string { return "pkcs11:" + path + "?module-path=" + module }

func TestToken(t *testing.T) {
	dir := token(t)
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	message := []byte("what is signed")
	s256, s384, s512 := sha256.Sum256(message), sha512.Sum384(message), sha512.Sum512(message)
	pin := write(t, dir, "pin", "1234\n")
	for i, c := range []struct {
		name, hash string
		key        crypto.Signer
		data       []byte
		right      func(sig []byte) bool
	}{
		{"p256", "SHA-256", p256, s256[:], func(sig []byte) bool { return ecdsa.VerifyASN1(&p256.PublicKey, s256[:], sig) }},
		{"p384", "SHA-384", p384, s384[:], func(sig []byte) bool { return ecdsa.VerifyASN1(&p384.PublicKey, s384[:], sig) }},
		{"rsa", "SHA-512", rsaKey, s512[:], func(sig []byte) bool {
			return rsa.VerifyPKCS1v15(&rsaKey.PublicKey, crypto.SHA512, s512[:], sig) == nil
		}},
		{"ed25519", "", ed, message, func(sig []byte) bool { return ed25519.Verify(ed.Public().(ed25519.PublicKey), message, sig) }},
	} {
		id := string(rune('1' + i))
		put(t, dir, c.name, "0"+id, c.key)
		t.Run(c.name, func(t *testing.T) {
			want, err := x509.MarshalPKIXPublicKey(c.key.Public())
			if err != nil {
				t.Fatal(err)
			}
			a, err := ask(t, request{Op: "key", URI: uri("token=operator;object=" + c.name), PIN: "1234"})
			if err != nil || !bytes.Equal(a.Public, want) || a.Login || a.Certificates != nil {
				t.Fatalf("%+v, %v", a, err)
			}
			if a, err := ask(t, request{Op: "key", URI: uri("token=operator;object=" + c.name)}); err != nil || !a.Login || a.Public != nil {
				t.Errorf("without a PIN: %+v, %v", a, err)
			}
			a, err = ask(t, request{Op: "sign", URI: uri("token=operator;id=%0"+id) + "&pin-source=file:" + pin, Hash: c.hash, Data: c.data})
			if err != nil || !c.right(a.Signature) {
				t.Errorf("%+v, %v", a, err)
			}
			for name, q := range map[string]request{
				"a wrong PIN":       {Op: "sign", URI: uri("object=" + c.name), PIN: "4321", Hash: c.hash, Data: c.data},
				"another hash":      {Op: "sign", URI: uri("object=" + c.name), PIN: "1234", Hash: "SHA-1", Data: c.data[:10]},
				"a cut digest":      {Op: "sign", URI: uri("object=" + c.name), PIN: "1234", Hash: "SHA-256", Data: c.data[:10]},
				"another operation": {Op: "decrypt", URI: uri("object=" + c.name), PIN: "1234", Data: c.data},
				"another token":     {Op: "key", URI: uri("token=other;object=" + c.name), PIN: "1234"},
				"another key":       {Op: "key", URI: uri("object=other"), PIN: "1234"},
				"another serial":    {Op: "key", URI: uri("serial=0;object=" + c.name), PIN: "1234"},
			} {
				if a, err := ask(t, q); a != nil || err == nil {
					t.Errorf("%s: %+v", name, a)
				} else if tells(err) {
					t.Errorf("%s: the PIN is in %v", name, err)
				}
			}
		})
	}
	if a, err := ask(t, request{Op: "key", URI: uri("token=operator"), PIN: "1234"}); a != nil || !errors.Is(err, errToken) {
		t.Errorf("four keys: %+v, %v", a, err)
	}
}

func TestURIRefused(t *testing.T) {
	if u, err := parseURI(uri("token=a%20b;id=%01%FF;slot-id=3;type=private")); err != nil || u.token != "a b" || u.id != "\x01\xff" || *u.slot != 3 || u.module != module {
		t.Fatalf("%+v, %v", u, err)
	}
	for name, s := range map[string]string{
		"nothing":          "",
		"a file":           "/home/me/key",
		"no module":        "pkcs11:token=a",
		"a relative one":   "pkcs11:token=a?module-path=libsofthsm2.so",
		"a PIN":            uri("token=a") + "&pin-value=1234",
		"twice":            uri("token=a;token=b"),
		"a public key":     uri("type=public"),
		"unknown":          uri("library-version=3"),
		"unknown query":    uri("token=a") + "&x=1",
		"empty":            uri("token="),
		"no value":         uri("token"),
		"bad escape":       uri("token=%zz"),
		"bad slot":         uri("slot-id=-1"),
		"longer than long": uri("token=" + strings.Repeat("x", maxURI)),
	} {
		if u, err := parseURI(s); u != nil || !errors.Is(err, errURI) {
			t.Errorf("%s: %+v, %v", name, u, err)
		} else if tells(err) {
			t.Errorf("%s: the PIN is in %v", name, err)
		}
	}
	dir := t.TempDir()
	open := write(t, dir, "open", "1234")
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{open, dir, filepath.Join(dir, "none")} {
		if pin, err := (&keyURI{pinSource: "file:" + file}).pin(); pin != "" || err == nil {
			t.Errorf("%s: %q", file, pin)
		}
	}
}

func FuzzURI(f *testing.F) {
	for _, s := range []string{uri("token=a;id=%01"), "pkcs11:", "pkcs11:?", uri("slot-id=1"), uri("a=b")} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := parseURI(s)
		if (u == nil) != errors.Is(err, errURI) || (u == nil) != (err != nil) {
			t.Fatalf("%+v beside %v", u, err)
		}
		if u != nil && (!filepath.IsAbs(u.module) || strings.Contains(s, "pin-value=")) {
			t.Fatalf("%q gives %+v", s, u)
		}
	})
}

func TestRequestsRefused(t *testing.T) {
	for name, s := range map[string]string{
		"nothing": "", "garbage": "x", "a further member": `{"op":"key","uri":"pkcs11:","x":1}`,
		"too large": strings.Repeat(" ", maxRequest+1), "no module": `{"op":"key","uri":"pkcs11:?module-path=/none/none.so"}`,
	} {
		var out bytes.Buffer
		if err := serve(strings.NewReader(s), &out); err == nil || out.Len() > 0 {
			t.Errorf("%s: %v, %s", name, err, out.String())
		}
	}
}
