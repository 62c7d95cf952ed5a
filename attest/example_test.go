package attest_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/sworn-run/sworn/attest"
)

// A launch is logged up to its separator, and what a TPM must quote for the
// statement about it follows from the statement's bytes alone.
func Example() {
	tag, salt := sha256.Sum256([]byte("random tag")), sha256.Sum256([]byte("random salt"))
	l := &attest.Log{Register: 13, Banks: []attest.Alg{attest.SHA256}}
	add := func(typ attest.EventType, launch [32]byte, data string) {
		l.Events = append(l.Events, attest.NewEvent(uint64(len(l.Events)), typ, launch, salt, []byte(data)))
	}
	add(attest.EventOrigin, [32]byte{}, "origin")
	add(attest.EventLaunchBegin, tag, "begin")
	add(attest.EventKey, tag, "key")
	add(attest.EventSeparator, tag, "")
	s, err := l.Structure()
	if err != nil {
		fmt.Println(err)
		return
	}
	st := &attest.Statement{
		Type: attest.TypeRun, Time: 1_795_000_000_000, Series: sha256.Sum256([]byte("series")),
		Launch: s.Segments[0].Launch, KeyID: sha256.Sum256([]byte("key")),
		LogSize: uint64(len(l.Events)), RecordCount: 1,
		Manifest: []attest.Slot{{
			Format: 1, Mode: attest.ModeDirect, Anchor: attest.AnchorRegister,
			Register: &attest.RegisterDescriptor{Bank: attest.SHA256, Index: 13, Value: l.Replay(attest.SHA256, make([]byte, 32), 4)},
		}},
	}
	b, err := st.Encode()
	if err != nil {
		fmt.Println(err)
		return
	}
	commit := sha256.Sum256(b)
	add(attest.EventCommit, tag, string(commit[:]))
	fmt.Println(len(b), "bytes, quoted as", len(attest.Quoted(attest.SHA256, 0, 1, b)))
	// Output:
	// 338 bytes, quoted as 32
}

// What a launch key signs is never the statement alone.
func ExampleSignedBytes() {
	private := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	statement := []byte("the bytes of a statement")
	sig := ed25519.Sign(private, attest.SignedBytes(statement))
	public := private.Public().(ed25519.PublicKey)
	fmt.Println(ed25519.Verify(public, attest.SignedBytes(statement), sig), ed25519.Verify(public, statement, sig))
	// Output:
	// true false
}

// Data that is withheld does not change an event's digest.
func ExampleEvent_Withhold() {
	e := attest.NewEvent(0, attest.EventComponent, [32]byte{1}, [32]byte{2}, []byte("--api-key=1234"))
	w := e.Withhold()
	fmt.Println(len(w.Data), w.Digest() == e.Digest())
	// Output:
	// 0 true
}

// What does not parse to the last byte is refused.
func ExampleParseStatement() {
	_, err := attest.ParseStatement([]byte("sworn.run/statement/v1\x00\x00"))
	fmt.Println(errors.Is(err, attest.ErrForm))
	// Output:
	// true
}
