package main

import (
	"bytes"
	"compress/zlib"
	"errors"
	"image"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// exampleDir holds the committed pages, their text and the configuration.
const exampleDir = ".."

func readExample(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(exampleDir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCommittedPagesAreReproducible(t *testing.T) {
	dir := t.TempDir()
	var stderr bytes.Buffer
	if got := run([]string{"-o", dir}, &stderr); got != 0 {
		t.Fatalf("run = %d, want 0; stderr:\n%s", got, &stderr)
	}
	for _, p := range pages() {
		got, err := os.ReadFile(filepath.Join(dir, p.name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, readExample(t, p.name)) {
			t.Errorf("%s differs from the committed file; write it with: go run ./examples/ocr/render -o examples/ocr", p.name)
		}
	}
}

func TestCommittedTextIsWhatIsDrawn(t *testing.T) {
	for _, p := range pages() {
		text := string(readExample(t, textName(p)))
		if diff := cmp.Diff(strings.Join(p.lines, "\n")+"\n", text); diff != "" {
			t.Errorf("%s: lines drawn (-) and committed text (+) differ:\n%s", p.name, diff)
		}
	}
}

// textName returns the name of the file that holds what OCR makes of p.
func textName(p page) string { return strings.TrimSuffix(p.name, ".png") + ".txt" }

func TestPNGHoldsThePixelsDrawn(t *testing.T) {
	for _, p := range pages() {
		width, height, pixels, err := drawPage(p.lines)
		if err != nil {
			t.Fatal(err)
		}
		img, err := png.Decode(bytes.NewReader(encodePNG(width, height, pixels)))
		if err != nil {
			t.Fatalf("%s: %v", p.name, err)
		}
		gray, ok := img.(*image.Gray)
		if !ok {
			t.Fatalf("%s: decoded as %T, want *image.Gray", p.name, img)
		}
		if gray.Stride != width || gray.Rect.Dy() != height || !bytes.Equal(gray.Pix, pixels) {
			t.Errorf("%s: decoded pixels differ from those drawn", p.name)
		}
	}
}

func TestCompressRoundTrip(t *testing.T) {
	var inputs [][]byte
	for n := range 600 { // Every length of a run, across the limit of 258.
		inputs = append(inputs, bytes.Repeat([]byte{byte(n)}, n))
		inputs = append(inputs, append(bytes.Repeat([]byte{7}, n), 1, 2, 200, 255, 255))
	}
	for _, want := range inputs {
		r, err := zlib.NewReader(bytes.NewReader(compress(want)))
		if err != nil {
			t.Fatalf("%d bytes: %v", len(want), err)
		}
		got, err := io.ReadAll(r)
		if err != nil {
			t.Fatalf("%d bytes: %v", len(want), err)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("%d bytes: decompressed data differs", len(want))
		}
	}
}

func TestEveryGlyphLoadsAndStaysInItsBox(t *testing.T) {
	const all = " .,:-/0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	drawn := map[string]rune{}
	for _, c := range all {
		g, err := loadGlyph(c)
		if err != nil {
			t.Errorf("glyph %q: %v", c, err)
			continue
		}
		if len(g.segments) == 0 && c != ' ' {
			t.Errorf("glyph %q draws nothing", c)
		}
		for _, s := range g.segments {
			for _, p := range []point{s.a, s.b} {
				if p.x < 0 || p.x > g.advance || p.y < -descender || p.y > capHeight+penRadius {
					t.Errorf("glyph %q leaves its box at %v", c, p)
				}
			}
		}
		_, strokes, _ := glyphSource(c)
		if other, ok := drawn[strokes]; ok {
			t.Errorf("glyphs %q and %q look the same", c, other)
		}
		drawn[strokes] = c
	}
}

func TestRefusals(t *testing.T) {
	tests := map[string][]string{
		"no glyph for the character": {"Total due: 5 €"},
		"control character":          {"a\tb"},
		"page too wide":              {strings.Repeat("W", 200)},
		"page too high":              make([]string, 100),
	}
	for name, lines := range tests {
		t.Run(name, func(t *testing.T) {
			out, err := render(lines)
			if !errors.Is(err, errText) || out != nil {
				t.Errorf("render = %d bytes, %v; want no bytes and errText", len(out), err)
			}
		})
	}
}

func TestRunExitStatus(t *testing.T) {
	tests := []struct {
		name string
		args []string
		want int
	}{
		{"no folder", nil, 2},
		{"surplus argument", []string{"-o", t.TempDir(), "x"}, 2},
		{"unknown flag", []string{"-x"}, 2},
		{"folder absent", []string{"-o", filepath.Join(t.TempDir(), "absent")}, 2},
		{"help", []string{"-h"}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var stderr bytes.Buffer
			if got := run(tt.args, &stderr); got != tt.want {
				t.Errorf("run(%q) = %d, want %d", tt.args, got, tt.want)
			}
			if stderr.Len() == 0 {
				t.Errorf("run(%q) says nothing on stderr", tt.args)
			}
		})
	}
}
