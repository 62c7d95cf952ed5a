package sev

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha512"
	"encoding/binary"
	"math/big"
)

// The sizes of AMD's RSASSA-PSS signatures: keys of 4096 bits, SHA-384 for message
// and mask, a salt as long as the hash.
const (
	keySize  = 512
	hashSize = sha512.Size384
	saltSize = hashSize
)

// verifyPSS reports whether sig is the key's RSASSA-PSS signature over the message
// (RFC 8017, 8.1.2), with SHA-384 and a salt of 48 bytes. The key has passed
// [checkAuthority]. The standard library guards its exponentiation against being
// watched, which takes three times as long and protects nothing here: all that goes
// in is public.
func verifyPSS(key *rsa.PublicKey, message, sig []byte) bool {
	s := new(big.Int).SetBytes(sig)
	if len(sig) != keySize || s.Cmp(key.N) >= 0 {
		return false
	}
	em := s.Exp(s, big.NewInt(int64(key.E)), key.N).FillBytes(make([]byte, keySize))
	return checkPSS(em, sha512.Sum384(message))
}

// checkPSS is EMSA-PSS-VERIFY (RFC 8017, 9.1.2) for an encoded message of 4095 bits.
// It changes em.
func checkPSS(em []byte, digest [hashSize]byte) bool {
	db, h := em[:keySize-hashSize-1], em[keySize-hashSize-1:keySize-1]
	if em[keySize-1] != 0xBC || db[0]&0x80 != 0 {
		return false
	}
	var block [hashSize + 4]byte
	copy(block[:], h)
	for i := 0; i*hashSize < len(db); i++ {
		binary.BigEndian.PutUint32(block[hashSize:], uint32(i))
		mask := sha512.Sum384(block[:])
		for j, part := 0, db[i*hashSize:]; j < min(hashSize, len(part)); j++ {
			part[j] ^= mask[j]
		}
	}
	db[0] &= 0x7F
	zeros := len(db) - saltSize - 1
	if !isZero(db[:zeros]) || db[zeros] != 1 {
		return false
	}
	check := make([]byte, 8, 8+hashSize+saltSize)
	check = append(append(check, digest[:]...), db[zeros+1:]...)
	want := sha512.Sum384(check)
	return bytes.Equal(want[:], h)
}
