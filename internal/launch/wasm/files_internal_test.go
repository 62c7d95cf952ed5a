package wasm

import (
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"testing/fstest"
)

// The tree keeps the contract of a file system.
func TestTree(t *testing.T) {
	f := func(path, content string) File {
		return File{Path: path, Size: int64(len(content)), Open: func() (io.ReaderAt, error) { return strings.NewReader(content), nil }}
	}
	tree, err := newTree([]File{f("/model/a", "aaa"), f("/model/deep/er/b", ""), f("/c", "c")})
	if err != nil {
		t.Fatal(err)
	}
	if err := fstest.TestFS(tree, "model/a", "model/deep/er/b", "c"); err != nil {
		t.Error(err)
	}
}

// A clock goes on, and never back, whatever it is asked to sleep.
func TestClock(t *testing.T) {
	c := clock{now: epoch}
	last := int64(0)
	for _, ns := range []int64{0, -1, 1, math.MinInt64, math.MaxInt64, math.MaxInt64, 1, 0} {
		c.sleep(ns)
		now := c.read()
		if now < last || now < epoch || now > farthest {
			t.Errorf("after a sleep of %d: %d, before %d", ns, now, last)
		}
		last = now
	}
	if last != farthest {
		t.Errorf("the clock stays at %d, want %d", last, farthest)
	}
}

// What an engine says is shown without its stack, whose addresses are no two times
// the same.
func TestFirstLine(t *testing.T) {
	if got := firstLine(errors.New("unreachable\nwasm stack trace:\n\t.$1()")); got != "unreachable" {
		t.Errorf("%q", got)
	}
}
