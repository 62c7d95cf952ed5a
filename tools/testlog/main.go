// Command testlog reads what "go test -json" prints and shows what "go test"
// would: the closing line of each package and the output of what failed. It
// then lists the skipped tests by reason, which "go test" keeps to itself, and
// counts. Exit 1 if a test or a build failed, or if no test passed.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

func main() {
	os.Exit(run(os.Stdin, os.Stdout, os.Stderr))
}

// event is one line of "go test -json"; see "go doc test2json".
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
}

// test names a test of a package.
type test struct{ pkg, name string }

// summary is what is known so far of a run.
type summary struct {
	out                     *bufio.Writer
	open                    map[test][]string
	skips                   map[string][]string
	passed, failed, skipped int
	broken                  bool
}

// run shows the events on stdin and returns the exit code.
func run(stdin io.Reader, stdout, stderr io.Writer) int {
	s := &summary{out: bufio.NewWriter(stdout), open: map[test][]string{}, skips: map[string][]string{}}
	in := bufio.NewReader(stdin)
	for {
		line, err := in.ReadString('\n')
		if line != "" {
			s.line(line)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			fmt.Fprintln(stderr, "testlog: error: reading events:", err)
			return 2
		}
	}
	s.close()
	if err := s.out.Flush(); err != nil {
		fmt.Fprintln(stderr, "testlog: error: writing:", err)
		return 2
	}
	switch {
	case s.failed > 0 || s.broken:
		return 1
	case s.passed == 0:
		fmt.Fprintln(stderr, "testlog: error: no test ran")
		return 1
	}
	return 0
}

// line takes one line; what is no event is shown as it is.
func (s *summary) line(line string) {
	var e event
	if err := json.Unmarshal([]byte(line), &e); err != nil || e.Action == "" {
		s.print(line)
		return
	}
	id := test{e.Package, e.Test}
	switch {
	case e.Action == "build-output":
		s.print(e.Output)
	case e.Action == "build-fail":
		s.broken = true
	case e.Action == "output" && e.Test == "":
		if e.Output != "PASS\n" {
			s.print(e.Output)
		}
	case e.Action == "output":
		s.open[id] = append(s.open[id], e.Output)
	case e.Test == "" && e.Action == "fail":
		s.broken = true
		s.abandon(e.Package)
	case e.Test == "":
	default:
		s.end(id, e.Action)
	}
	if e.Test == "" && (e.Action == "pass" || e.Action == "fail") {
		_ = s.out.Flush() // Shown while the next package runs; the end reports a failure.
	}
}

// end takes the end of a test.
func (s *summary) end(id test, action string) {
	switch action {
	case "pass":
		s.passed++
	case "fail":
		s.failed++
		s.show(id)
	case "skip":
		s.skipped++
		reason := s.reason(id)
		s.skips[reason] = append(s.skips[reason], id.pkg+"."+id.name)
	default:
		return
	}
	delete(s.open, id)
}

// show prints the output of a test, without the marks of its progress.
func (s *summary) show(id test) {
	for _, line := range s.open[id] {
		if !strings.HasPrefix(line, "=== ") {
			s.print(line)
		}
	}
}

// abandon shows the tests of a package that failed before they ended.
func (s *summary) abandon(pkg string) {
	for _, id := range s.tests() {
		if id.pkg == pkg {
			s.show(id)
			delete(s.open, id)
		}
	}
}

// tests returns the tests that have output and no end, in order.
func (s *summary) tests() []test {
	var list []test
	for id := range s.open {
		list = append(list, id)
	}
	slices.SortFunc(list, func(a, b test) int { return strings.Compare(a.pkg+a.name, b.pkg+b.name) })
	return list
}

// reason returns why a test was skipped, without the place in the source.
func (s *summary) reason(id test) string {
	var words []string
	for _, line := range s.open[id] {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "=== ") || strings.HasPrefix(line, "--- ") {
			continue
		}
		if place, text, ok := strings.Cut(line, ": "); ok && strings.Contains(place, ".go:") {
			line = text
		}
		words = append(words, line)
	}
	if len(words) == 0 {
		return "no reason given"
	}
	return strings.Join(words, " ")
}

// close prints the skipped tests and the counts.
func (s *summary) close() {
	reasons := make([]string, 0, len(s.skips))
	for reason := range s.skips {
		reasons = append(reasons, reason)
	}
	slices.Sort(reasons)
	for _, reason := range reasons {
		s.print(fmt.Sprintf("skipped (%d): %s\n", len(s.skips[reason]), reason))
		for _, name := range s.skips[reason] {
			s.print("    " + name + "\n")
		}
	}
	s.print(fmt.Sprintf("tests: %d passed, %d failed, %d skipped\n", s.passed, s.failed, s.skipped))
}

// print writes text; run reports a failure when it flushes.
func (s *summary) print(text string) { _, _ = s.out.WriteString(text) }
