package attest

import "fmt"

// Segment is one launch in the log: launch-begin, key, components,
// environments, separator, commits, end.
type Segment struct {
	// First is the index of launch-begin in the log.
	First int
	// Begin and Key are the segment's first two events.
	Begin, Key *Event
	// Components and Environments are what was measured before the separator.
	Components, Environments []*Event
	// Separator ends what is measured.
	Separator *Event
	// Commits are the statements' commits, in order.
	Commits []*Event
	// End closes the launch; nil while it is open, or if it was cut short.
	End *Event
	// Launch is the launch id.
	Launch [32]byte
}

// Structure is a log read by its grammar.
type Structure struct {
	// Origin is the first event.
	Origin *Event
	// Segments are the launches in order; at least one.
	Segments []Segment
}

// Structure reads the log by the grammar of SPEC, section 5:
//
//	log     = origin segment+
//	segment = launch-begin key component* environment* separator commit* end?
//
// with one launch tag throughout a segment, another in each segment, zeros in
// origin. A segment that is followed by another may be cut short anywhere after
// its launch-begin: a launcher that died. It is reported by a nil End, never
// repaired, and check log.sole judges it; the last segment, the record's own,
// must have its separator. The error wraps ErrForm.
func (l *Log) Structure() (*Structure, error) {
	if err := l.check(); err != nil {
		return nil, err
	}
	if o := &l.Events[0]; o.Type != EventOrigin || o.Launch != [32]byte{} {
		return nil, fmt.Errorf("log does not begin with its origin: %w", ErrForm)
	}
	s := &Structure{Origin: &l.Events[0]}
	seen := map[[32]byte]bool{{}: true}
	for i := 1; i < len(l.Events); {
		seg, next, err := l.segment(i)
		if err != nil {
			return nil, err
		}
		if tag := seg.Begin.Launch; seen[tag] {
			return nil, fmt.Errorf("event %d: launch tag is not new: %w", i, ErrForm)
		}
		seen[seg.Begin.Launch] = true
		s.Segments = append(s.Segments, seg)
		i = next
	}
	if len(s.Segments) == 0 || s.Segments[len(s.Segments)-1].Separator == nil {
		return nil, fmt.Errorf("log without a launch, or one without its separator: %w", ErrForm)
	}
	return s, nil
}

// segment reads one segment from event i and returns the index after it.
func (l *Log) segment(i int) (Segment, int, error) {
	seg := Segment{First: i}
	next := func(t EventType) *Event {
		if i < len(l.Events) && l.Events[i].Type == t && (seg.Begin == nil || l.Events[i].Launch == seg.Begin.Launch) {
			i++
			return &l.Events[i-1]
		}
		return nil
	}
	if seg.Begin = next(EventLaunchBegin); seg.Begin == nil {
		return seg, i, fmt.Errorf("event %d: want launch-begin, got %v: %w", i, l.Events[i].Type, ErrForm)
	}
	want := EventKey
	if seg.Key = next(EventKey); seg.Key != nil {
		for e := next(EventComponent); e != nil; e = next(EventComponent) {
			seg.Components = append(seg.Components, e)
		}
		for e := next(EventEnvironment); e != nil; e = next(EventEnvironment) {
			seg.Environments = append(seg.Environments, e)
		}
		want, seg.Separator = EventSeparator, next(EventSeparator)
	}
	if seg.Separator == nil {
		if i < len(l.Events) && l.Events[i].Type == EventLaunchBegin {
			return seg, i, nil // cut short
		}
		return seg, i, l.wrong(i, want)
	}
	seg.Launch = LaunchID(l.Events[seg.First:i])
	for e := next(EventCommit); e != nil; e = next(EventCommit) {
		seg.Commits = append(seg.Commits, e)
	}
	seg.End = next(EventEnd)
	return seg, i, nil
}

// wrong says which event was wanted at index i of a segment.
func (l *Log) wrong(i int, want EventType) error {
	if i >= len(l.Events) {
		return fmt.Errorf("log ends where %v is wanted: %w", want, ErrForm)
	}
	return fmt.Errorf("event %d: want %v of the same launch, got %v: %w", i, want, l.Events[i].Type, ErrForm)
}
