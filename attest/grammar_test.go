package attest_test

import (
	"testing"

	"github.com/sworn-run/sworn/attest"
)

// whole is a launch of the tag from launch-begin to end.
func whole(tag byte) []ev {
	return []ev{{begin, tag}, {key, tag}, {component, tag}, {environ, tag}, {separator, tag}, {commit, tag}, {end, tag}}
}

// after returns the origin and then the parts.
func after(parts ...[]ev) []ev {
	out := []ev{{origin, 0}}
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

// segmentWant is what is expected of one segment.
type segmentWant struct {
	first, components, environments, commits int
	key, separator, end                      bool
}

func TestStructure(t *testing.T) {
	full := func(first int) segmentWant { return segmentWant{first, 1, 1, 1, true, true, true} }
	for _, test := range []struct {
		name   string
		events []ev
		want   []segmentWant
	}{
		{"whole", after(whole(1)), []segmentWant{full(1)}},
		{"open", after(whole(1)[:6]), []segmentWant{{1, 1, 1, 1, true, true, false}}},
		{"before its commit", after(whole(1)[:5]), []segmentWant{{1, 1, 1, 0, true, true, false}}},
		{"ended without a commit", after(whole(1)[:5], []ev{{end, 1}}), []segmentWant{{1, 1, 1, 0, true, true, true}}},
		{"smallest", after([]ev{{begin, 1}, {key, 1}, {separator, 1}}), []segmentWant{{1, 0, 0, 0, true, true, false}}},
		{"environments only", after([]ev{{begin, 1}, {key, 1}, {environ, 1}, {environ, 1}, {separator, 1}}), []segmentWant{{1, 0, 2, 0, true, true, false}}},
		{"two commits", after(whole(1)[:6], []ev{{commit, 1}}), []segmentWant{{1, 1, 1, 2, true, true, false}}},
		{"three launches", after(whole(1), whole(2), whole(3)[:6]), []segmentWant{full(1), full(8), {15, 1, 1, 1, true, true, false}}},
		{"cut short after launch-begin", after(whole(1)[:1], whole(2)), []segmentWant{{first: 1}, full(2)}},
		{"cut short after key", after(whole(1)[:2], whole(2)), []segmentWant{{first: 1, key: true}, full(3)}},
		{"cut short after a component", after(whole(1)[:3], whole(2)), []segmentWant{{1, 1, 0, 0, true, false, false}, full(4)}},
		{"cut short after an environment", after(whole(1)[:4], whole(2)), []segmentWant{{1, 1, 1, 0, true, false, false}, full(5)}},
		{"cut short after the separator", after(whole(1)[:5], whole(2)), []segmentWant{{1, 1, 1, 0, true, true, false}, full(6)}},
		{"cut short after the commit", after(whole(1)[:6], whole(2)), []segmentWant{{1, 1, 1, 1, true, true, false}, full(7)}},
		{"two cut short", after(whole(1)[:1], whole(2)[:1], whole(3)), []segmentWant{{first: 1}, {first: 2}, full(3)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := logOf(test.events...)
			s, err := l.Structure()
			if err != nil {
				t.Fatal(err)
			}
			if s.Origin != &l.Events[0] || len(s.Segments) != len(test.want) {
				t.Fatalf("%d segments, want %d", len(s.Segments), len(test.want))
			}
			for i := range s.Segments {
				checkSegment(t, l, &s.Segments[i], test.want[i])
			}
		})
	}
}

func checkSegment(t *testing.T, l *attest.Log, s *attest.Segment, want segmentWant) {
	t.Helper()
	got := segmentWant{s.First, len(s.Components), len(s.Environments), len(s.Commits), s.Key != nil, s.Separator != nil, s.End != nil}
	if got != want {
		t.Errorf("segment %+v, want %+v", got, want)
	}
	if s.Begin != &l.Events[s.First] {
		t.Error("launch-begin is another event")
	}
	id := [32]byte{}
	if s.Separator != nil {
		id = attest.LaunchID(l.Events[s.First : s.Separator.Index+1])
	}
	if s.Launch != id {
		t.Errorf("launch id %x, want %x", s.Launch, id)
	}
}

func TestStructureRefuses(t *testing.T) {
	w := whole(1)
	for name, events := range map[string][]ev{
		"origin alone":                      after(),
		"no origin":                         w,
		"origin with a tag":                 append([]ev{{origin, 1}}, whole(2)...),
		"origin twice":                      after([]ev{{origin, 0}}, w),
		"origin again at the end":           after(w, []ev{{origin, 0}}),
		"origin between launches":           after(w, []ev{{origin, 0}}, whole(2)),
		"origin inside a launch":            after(w[:3], []ev{{origin, 1}}, w[3:]),
		"launch tag zeros":                  after(whole(0)),
		"no launch-begin":                   after(w[1:]),
		"launch-begin twice":                after(w[:1], w),
		"no key":                            after(w[:1], w[2:]),
		"key twice":                         after(w[:2], w[1:]),
		"key after a component":             after([]ev{{begin, 1}, {component, 1}, {key, 1}, {separator, 1}}),
		"key after the separator":           after([]ev{{begin, 1}, {separator, 1}, {key, 1}}),
		"component after an environment":    after(w[:4], w[2:]),
		"component after the separator":     after(w[:5], w[2:3]),
		"environment after the separator":   after(w[:5], w[3:4]),
		"separator twice":                   after(w[:5], w[4:]),
		"no separator":                      after(w[:4]),
		"no separator, commit":              after(w[:4], w[5:]),
		"last launch is its begin":          after(whole(2), w[:1]),
		"last launch without its separator": after(whole(2), w[:4]),
		"commit before the separator":       after(w[:4], []ev{{commit, 1}, {separator, 1}}),
		"commit after end":                  after(w, []ev{{commit, 1}}),
		"component after end":               after(w, []ev{{component, 1}}),
		"end twice":                         after(w, []ev{{end, 1}}),
		"end before the separator":          after(w[:4], []ev{{end, 1}}),
		"end of another launch":             after(w[:6], []ev{{end, 2}}),
		"foreign component":                 after(w[:3], []ev{{component, 2}}, w[3:]),
		"foreign environment":               after(w[:4], []ev{{environ, 2}}, w[4:]),
		"foreign separator":                 after(w[:4], []ev{{separator, 2}}),
		"foreign key":                       after(w[:1], []ev{{key, 2}}, w[2:]),
		"foreign commit":                    after(w[:5], []ev{{commit, 2}}),
		"foreign launch inside, then on":    after(w[:3], whole(2), w[3:]),
		"launch-begin inside":               after(w[:4], []ev{{begin, 1}}, w[4:]),
		"tag twice":                         after(w, whole(2), whole(1)),
		"tag of a launch cut short twice":   after(w[:2], whole(1)),
		"tag zeros later":                   after(w, whole(0)),
	} {
		t.Run(name, func(t *testing.T) {
			s, err := logOf(events...).Structure()
			wantForm(t, err)
			if s != nil {
				t.Error("a structure beside an error")
			}
		})
	}
}
