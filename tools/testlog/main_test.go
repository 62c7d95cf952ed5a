package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	tests := []struct {
		name, in, want string
		code           int
	}{
		{
			"passed",
			`{"Action":"start","Package":"p"}
{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:3: chatter\n"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Output":"PASS\n"}
{"Action":"output","Package":"p","Output":"ok  \tp\t0.1s\n"}
{"Action":"pass","Package":"p"}
`,
			"ok  \tp\t0.1s\ntests: 1 passed, 0 failed, 0 skipped\n", 0,
		},
		{
			"failed",
			`{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:3: wrong\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"--- FAIL: TestA (0.00s)\n"}
{"Action":"fail","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Output":"FAIL\tp\t0.1s\n"}
{"Action":"fail","Package":"p"}
`,
			"    a_test.go:3: wrong\n--- FAIL: TestA (0.00s)\nFAIL\tp\t0.1s\ntests: 0 passed, 1 failed, 0 skipped\n", 1,
		},
		{
			"skipped",
			`{"Action":"pass","Package":"p","Test":"TestB"}
{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:3: no evidence: absent\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"--- SKIP: TestA (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestA"}
{"Action":"skip","Package":"q"}
`,
			"skipped (1): no evidence: absent\n    p.TestA\ntests: 1 passed, 0 failed, 1 skipped\n", 0,
		},
		{
			"died", // A panic or a time-out ends the package, not the test.
			`{"Action":"pass","Package":"p","Test":"TestB"}
{"Action":"output","Package":"p","Test":"TestA","Output":"panic: no\n"}
{"Action":"fail","Package":"p"}
`,
			"panic: no\ntests: 1 passed, 0 failed, 0 skipped\n", 1,
		},
		{
			"not built",
			`{"Action":"pass","Package":"p","Test":"TestB"}
{"ImportPath":"q","Action":"build-output","Output":"q.go:1: wrong\n"}
{"ImportPath":"q","Action":"build-fail"}
`,
			"q.go:1: wrong\ntests: 1 passed, 0 failed, 0 skipped\n", 1,
		},
		{"no event", "warning: x\n", "warning: x\ntests: 0 passed, 0 failed, 0 skipped\n", 1},
		{"nothing", "", "tests: 0 passed, 0 failed, 0 skipped\n", 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			if code := run(strings.NewReader(test.in), &stdout, &stderr); code != test.code {
				t.Errorf("exit %d, want %d", code, test.code)
			}
			if got := stdout.String(); got != test.want {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
		})
	}
}
