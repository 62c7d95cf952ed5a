package tsp

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/limits"
	"github.com/sworn-run/sworn/verifier/stamp"
)

// ErrStamped tells that the record has a token that says the same, and nothing was added.
var ErrStamped = errors.New("stamped already")

// ErrFull tells that the record has as many tokens as one may have.
var ErrFull = errors.New("no room for a token")

// Order says which token a record is to get.
type Order struct {
	// Address is the authority's.
	Address string
	// Archive is the hash of an archive token over the whole record; 0 for a token over
	// the evidence digest, which is always by SHA-256.
	Archive crypto.Hash
	// Anchors, if not nil, are whom the token has to be trusted under.
	Anchors *attest.Anchors
	// Again adds a token even if there is one that says the same.
	Again bool
	// Time bounds all of it; 0 for no bound but the context's.
	Time time.Duration
}

// Stamped is a record with a token more.
type Stamped struct {
	// File is the capsule.
	File []byte
	// Token is what was added to it.
	Token *Token
	// Early tells that the token is from before the time that the record claims, so that
	// one of the two clocks is wrong.
	Early bool
}

// clockSkew is by how much clocks may differ before it is said.
const clockSkew = time.Minute

// Stamp gets a token over the record in a file, and adds it to the record's. Nothing else
// of the record changes. The error wraps cer's for what is no record, [ErrFull],
// [ErrStamped], or what [Client.Get] returns; the record stays as it is then.
func (c *Client) Stamp(ctx context.Context, file []byte, o Order) (*Stamped, error) {
	capsule, err := cer.ParseCapsule(file)
	if err != nil {
		return nil, fmt.Errorf("reading the record: %w", err)
	}
	if len(capsule.Tokens) == limits.Tokens {
		return nil, fmt.Errorf("the record has %d tokens: %w", limits.Tokens, ErrFull)
	}
	h, digest := crypto.SHA256, []byte(nil)
	if o.Archive != 0 {
		h = o.Archive
		digest, err = capsule.ArchiveDigest(h, len(capsule.Tokens))
	} else {
		e := capsule.EvidenceDigest()
		digest = e[:]
	}
	if err != nil {
		return nil, fmt.Errorf("archive token: %v: %w", err, ErrArgument)
	}
	if o.Time > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.Time)
		defer cancel()
	}
	t, err := c.Get(ctx, o.Address, h, digest)
	if err != nil {
		return nil, err
	}
	if o.Anchors != nil {
		if r := t.Verify(o.Anchors, nil, t.Time); r.Status != attest.Passed {
			return nil, fmt.Errorf("its token is not to be relied on: %s: %w", r.Detail, ErrAnswer)
		}
	}
	if !o.Again && o.says(capsule, t) {
		return nil, fmt.Errorf("by %q: %w", t.Signer().Subject.CommonName, ErrStamped)
	}
	out := &Stamped{Token: t}
	if out.File, err = add(capsule, t.DER); err != nil {
		return nil, err
	}
	if st, err := attest.ParseStatement(capsule.Statement); err == nil {
		out.Early = time.UnixMilli(int64(st.Time)).After(t.Latest().Add(clockSkew))
	}
	return out, nil
}

// says reports whether the record has a token that says as much as t: over the evidence by
// the same authority, or an archive token, the last one, that holds as long. Two signers
// are of one authority if the same issuer certified them.
func (o *Order) says(c *cer.Capsule, t *Token) bool {
	for i, der := range c.Tokens {
		old, err := stamp.Parse(der)
		if err != nil || old.Signer() == nil || !bytes.Equal(old.Signer().RawIssuer, t.Signer().RawIssuer) {
			continue
		}
		if e := c.EvidenceDigest(); o.Archive == 0 && old.Covers(crypto.SHA256, e[:]) {
			return true
		}
		if o.Archive == 0 || i < len(c.Tokens)-1 {
			continue
		}
		a, err := c.ArchiveDigest(old.Hash, i)
		if err == nil && old.Covers(old.Hash, a) && old.Hash.Size() >= t.Hash.Size() && !t.Signer().NotAfter.After(old.Signer().NotAfter) {
			return true
		}
	}
	return false
}

// add encodes a capsule with a token more, and looks whether nothing else came out
// differently.
func add(c *cer.Capsule, der []byte) ([]byte, error) {
	changed := *c
	changed.Tokens = append(slices.Clone(c.Tokens), der)
	file, err := changed.Encode()
	if err != nil {
		return nil, fmt.Errorf("writing the record: %w", err)
	}
	again, err := cer.ParseCapsule(file)
	if err != nil {
		return nil, fmt.Errorf("writing the record: %w", err)
	}
	same := func(a, b attest.Collateral) bool { return a.Kind == b.Kind && bytes.Equal(a.Data, b.Data) }
	if !bytes.Equal(again.CER, c.CER) || !bytes.Equal(again.Statement, c.Statement) || !bytes.Equal(again.Signature, c.Signature) ||
		!bytes.Equal(again.Log, c.Log) || !slices.EqualFunc(again.Items, c.Items, bytes.Equal) ||
		!slices.EqualFunc(again.Collateral, c.Collateral, same) || !slices.EqualFunc(again.Tokens, changed.Tokens, bytes.Equal) {
		return nil, fmt.Errorf("writing the record would change more than its tokens: %w", ErrArgument)
	}
	return file, nil
}
