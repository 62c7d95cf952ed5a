package canon_test

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/cer/internal/canon"
)

// numberOf returns a double's canonical form as the package makes it of a literal,
// or an error.
func numberOf(literal string) (string, error) {
	d, err := canon.Parse([]byte(literal), 1, false, 0)
	if err != nil {
		return "", err
	}
	return string(d.Root().Canonical()), nil
}

// sameNumber holds a literal against the standard library, which reads it its own
// way.
func sameNumber(tb testing.TB, literal string) {
	tb.Helper()
	got, err := numberOf(literal)
	f, wrong := strconv.ParseFloat(literal, 64)
	switch {
	case err != nil && !errors.Is(err, canon.ErrStrict):
		tb.Errorf("%.60s: %v", literal, err)
	case wrong != nil && err == nil:
		tb.Errorf("%.60s: %s, want an error: %v", literal, got, wrong)
	case wrong != nil || f == 0 || math.Abs(f) >= 1<<53:
		// Refused, or not as its digits are; other tests say which.
	case err != nil || got != string(canon.AppendNumber(nil, f)):
		tb.Errorf("%.60s: %s, %v, want %v", literal, got, err, f)
	}
}

// TestNumbers: literals at and between neighbouring doubles of every size are
// read as the standard library reads them.
func TestNumbers(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 5_000 {
		f := math.Float64frombits(r.Uint64())
		switch r.IntN(4) {
		case 0:
			f = math.Float64frombits(r.Uint64N(1 << 53)) // subnormal, or nearly
		case 1:
			f = r.Float64() * 1e15
		}
		if f = math.Abs(f); math.IsNaN(f) || math.IsInf(f, 0) || f == 0 {
			continue
		}
		sameNumber(t, strconv.FormatFloat(f, 'e', -1, 64))
		sameNumber(t, strconv.FormatFloat(f, 'e', 16+r.IntN(10), 64))
		sameNumber(t, "-"+strconv.FormatFloat(f, 'e', r.IntN(900), 64))
		if f < math.MaxFloat64 {
			sameNumber(t, between(f))
			sameNumber(t, strings.Replace(between(f), "e", "1e", 1))
		}
	}
	for _, literal := range []string{
		"5e-324", "4.9e-324", "2.4703282292062328e-324", "2.4703282292062327208e-324", "2e-324", "1e-400", "1e-999999999999999999999",
		"2.2250738585072011e-308", "2.2250738585072014e-308", "1.7976931348623157e308", "1.7976931348623158e308", "1.7976931348623159e308",
		"1e309", "1e308", "0.1e310", "1e99999999999999999999", "0e99999999999999999999", "-1e99999999999999999999",
		strings.Repeat("9", 400), "0." + strings.Repeat("0", 400) + "1e400", "1" + strings.Repeat("0", 800) + "e-800",
	} {
		sameNumber(t, literal)
	}
}

// between is what is halfway to the next double, in all its digits.
func between(f float64) string {
	sum := new(big.Float).SetPrec(64).Add(big.NewFloat(f), big.NewFloat(math.Nextafter(f, math.Inf(1))))
	return new(big.Float).SetMantExp(sum, -1).Text('e', 800)
}

// TestNumberCosts: the shortest literals of the smallest numbers cost not much more
// than others do. What the standard library takes for them is 80 times as much.
func TestNumberCosts(t *testing.T) {
	least := func(literal string) time.Duration {
		text := []byte("[" + strings.Repeat(literal+",", 100) + "0]")
		least := time.Hour
		for range 100 {
			began := time.Now()
			if err := canon.Check(text, 1, false); err != nil {
				t.Fatal(err)
			}
			least = min(least, time.Since(began))
		}
		return least
	}
	usual := least("1e300")
	for _, literal := range []string{"5e-324", "4.9e-324", "1e-310"} {
		if cost := least(literal); cost > 30*usual {
			t.Errorf("%s costs %v, another number %v", literal, cost, usual)
		}
	}
}

func BenchmarkNumber(b *testing.B) {
	for _, literal := range []string{"0.1", "1e300", "5e-324", "4.9e-324", "2.2250738585072011e-308", "0.1000000000000000055511151231257827", between(1e-290)} {
		b.Run(fmt.Sprintf("%.20s", literal), func(b *testing.B) {
			text := []byte("[" + strings.Repeat(literal+",", 100) + "0]")
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if err := canon.Check(text, 1, false); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
