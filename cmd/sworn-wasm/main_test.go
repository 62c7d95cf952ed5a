//go:build !js

package main

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
)

// TestAssemble: the same parts give the same page, and its policy is of its own script.
func TestAssemble(t *testing.T) {
	a, err := (&parts{code: []byte("code"), loader: []byte("class Go {}\n")}).assemble()
	if err != nil {
		t.Fatal(err)
	}
	b, err := (&parts{code: []byte("code"), loader: []byte("class Go {}\n")}).assemble()
	if err != nil || !bytes.Equal(a, b) {
		t.Error("two pages of the same parts differ", err)
	}
	script := regexp.MustCompile(`(?s)<script>(.*)</script>`).FindSubmatch(a)
	style := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindSubmatch(a)
	if script == nil || style == nil || !bytes.Contains(a, []byte("script-src "+source(string(script[1]))+" ")) || !bytes.Contains(a, []byte("style-src "+source(string(style[1]))+" ")) {
		t.Error("the policy is not of the script and the style that are there")
	}
	if bytes.Contains(a, []byte("{{")) {
		t.Error("a placeholder is left")
	}
	for _, bad := range []string{"x</script>", "<!-- x"} {
		if page, err := (&parts{loader: []byte(bad)}).assemble(); page != nil || err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// TestNoNavigation: a policy cannot keep a page from navigating, so that it has no call
// that does, and none that makes markup or code out of text.
func TestNoNavigation(t *testing.T) {
	text := pageHTML + pageJS
	for _, bad := range []string{
		"location", "window.open", "history.", "navigat", "document.write", "innerHTML", "outerHTML", "insertAdjacent", "eval(", "new Function",
		"XMLHttpRequest", "WebSocket", "EventSource", "sendBeacon", "fetch(", "importScripts", "import(", "submit(", "<form", "<a ", "http://", "https://",
		"localStorage", "sessionStorage", "indexedDB", "document.cookie", "postMessage", "serviceWorker", "http-equiv=\"refresh\"", "target=",
	} {
		if strings.Contains(text, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	if n := strings.Count(text, ".href"); n != 2 {
		t.Errorf("%d uses of href, want those of the file that is saved", n)
	}
}
