package wasm

import (
	"encoding/hex"
	"math/rand/v2"
	"time"
)

// epoch is what a module's clocks show first, in nanoseconds of Unix time, and tick
// how much they go on at each reading. Two readings are never the same, so that a
// module that waits for a time comes to it.
const (
	epoch = 946684800 * int64(time.Second) // 2000-01-01T00:00:00Z
	tick  = int64(time.Millisecond)
	// farthest is where they stay; before 2262, where the count ends.
	farthest = int64(1) << 62
)

// clockFact is how the record names the clock.
func clockFact() string {
	return time.Unix(0, epoch).UTC().Format(time.RFC3339) + "+" + time.Duration(tick).String()
}

// clock is what a module gets for a wall clock and for a monotonic one: it goes on
// by being read and by sleeping, which takes no time.
type clock struct{ now int64 }

// read returns nanoseconds of Unix time.
func (c *clock) read() int64 {
	t := c.now
	c.sleep(tick)
	return t
}

// wall is the wall clock.
func (c *clock) wall() (sec int64, nsec int32) {
	t := c.read()
	return t / int64(time.Second), int32(t % int64(time.Second))
}

// sleep goes on by some nanoseconds.
func (c *clock) sleep(ns int64) {
	if ns > 0 {
		c.now = min(farthest-min(farthest, ns), c.now) + min(farthest, ns)
	}
}

// seed is that of the random source.
func seed() [32]byte { return [32]byte{} }

// randomFact is how the record names the random source.
func randomFact() string {
	s := seed()
	return "chacha8:" + hex.EncodeToString(s[:])
}

// random is the random source.
func random() *rand.ChaCha8 { return rand.NewChaCha8(seed()) }
