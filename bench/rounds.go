//go:build linux

package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// cost is what one turn took: time on the clock, and the processor's time of the
// process and its children, as far as they can be told (zero: not told).
type cost struct{ wall, cpu time.Duration }

// contender does a piece of work, over and over.
type contender struct {
	name string
	turn func(context.Context) (cost, error)
}

// interleave gives each contender its turn, round by round, beginning with
// another one each time; a first round is not counted. It returns the costs of
// each contender in the order of the rounds.
func interleave(ctx context.Context, rounds int, all []contender) ([][]cost, error) {
	costs := make([][]cost, len(all))
	for round := -1; round < rounds; round++ {
		for i := range all {
			n := (i + round + 1) % len(all)
			c, err := all[n].turn(ctx)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", all[n].name, err)
			}
			if round >= 0 {
				costs[n] = append(costs[n], c)
			}
		}
	}
	return costs, nil
}

// median returns the middle of the values, the mean of the middle two of an even
// number, and zero of none.
func median[T ~int64 | ~float64](values []T) T {
	if len(values) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(values))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// walls and cpus take one of the two times of each cost.
func walls(costs []cost) []time.Duration {
	return each(costs, func(c cost) time.Duration { return c.wall })
}

func cpus(costs []cost) []time.Duration {
	return each(costs, func(c cost) time.Duration { return c.cpu })
}

// each applies f to every value.
func each[A, B any](list []A, f func(A) B) []B {
	out := make([]B, len(list))
	for i, a := range list {
		out[i] = f(a)
	}
	return out
}

// ratio returns the median of the rounds' ratios of a to b, and the least and
// the greatest of them. Rounds without a time of b do not count; ok is false if
// none does.
func ratio(a, b []time.Duration) (mid, low, high float64, ok bool) {
	var all []float64
	for i := range min(len(a), len(b)) {
		if a[i] > 0 && b[i] > 0 {
			all = append(all, float64(a[i])/float64(b[i]))
		}
	}
	if len(all) == 0 {
		return 0, 0, 0, false
	}
	return median(all), slices.Min(all), slices.Max(all), true
}

// ms writes a time in milliseconds, with three digits that count.
func ms(d time.Duration) string {
	x := float64(d) / 1e6
	switch {
	case d == 0:
		return "–"
	case x < 1:
		return fmt.Sprintf("%.3f", x)
	case x < 10:
		return fmt.Sprintf("%.2f", x)
	case x < 100:
		return fmt.Sprintf("%.1f", x)
	default:
		return fmt.Sprintf("%.0f", x)
	}
}

// times writes a ratio and its range.
func times(a, b []time.Duration) string {
	mid, low, high, ok := ratio(a, b)
	if !ok {
		return "–"
	}
	return fmt.Sprintf("**%s** (%s–%s)", digits(mid), digits(low), digits(high))
}

// digits writes a ratio with three digits that count, or two below one.
func digits(x float64) string {
	switch {
	case x < 10:
		return fmt.Sprintf("%.2f", x)
	case x < 100:
		return fmt.Sprintf("%.1f", x)
	default:
		return fmt.Sprintf("%.0f", x)
	}
}

// compare runs contenders and prints a table; each is compared with the first.
func (b *bench) compare(ctx context.Context, rounds int, all []contender) ([][]cost, error) {
	costs, err := interleave(ctx, rounds, all)
	if err != nil {
		return nil, err
	}
	if err := b.printf("\n| | time, ms | processor, ms | time ÷ first row's | processor ÷ first row's |\n|---|---|---|---|---|\n"); err != nil {
		return nil, err
	}
	for i, c := range all {
		against := [2]string{"1", "1"}
		if i > 0 {
			against = [2]string{times(walls(costs[i]), walls(costs[0])), times(cpus(costs[i]), cpus(costs[0]))}
		}
		if err := b.printf("| %s | %s | %s | %s | %s |\n", c.name, ms(median(walls(costs[i]))), ms(median(cpus(costs[i]))), against[0], against[1]); err != nil {
			return nil, err
		}
	}
	return costs, nil
}
