package elfdeps

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
)

// seed reads a file of this machine as a seed.
func seed(f *testing.F, name string) []byte {
	f.Helper()
	b, err := os.ReadFile(name)
	if err != nil || len(b) == 0 {
		f.Fatalf("no seed: %v", err)
	}
	return b
}

// sound checks a string that was read from a hostile file.
func sound(t *testing.T, s string) {
	t.Helper()
	if len(s) >= maxString || strings.ContainsRune(s, 0) {
		t.Errorf("string of %d bytes", len(s))
	}
}

func FuzzParse(f *testing.F) {
	f.Add(seed(f, "/bin/true"))
	f.Add(seed(f, "/lib64/ld-linux-x86-64.so.2"))
	f.Add([]byte("#!/bin/sh\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := parse(bytes.NewReader(b), int64(len(b)))
		if (o == nil) == (err == nil) {
			t.Fatalf("object %v beside error %v", o, err)
		}
		if err != nil {
			if errors.Is(err, ErrFormat) == errors.Is(err, ErrUnsupported) {
				t.Fatalf("error %v is of no class", err)
			}
			return
		}
		if len(o.needed) > maxNeeded {
			t.Errorf("%d needed libraries", len(o.needed))
		}
		if o.interp != "" && o.interp[0] != '/' {
			t.Errorf("interpreter %q", o.interp)
		}
		for _, s := range append([]string{o.interp, o.soname, o.rpath, o.runpath}, o.needed...) {
			sound(t, s)
		}
		again, err := parse(bytes.NewReader(append(bytes.Clone(b), 0)), int64(len(b))+1)
		if err != nil || again.interp != o.interp || len(again.needed) != len(o.needed) {
			t.Errorf("a byte after the end changes the result: %v", err)
		}
	})
}

func FuzzCache(f *testing.F) {
	whole := seed(f, "/etc/ld.so.cache")
	f.Add(whole)
	// The same behind an empty cache in the old format.
	f.Add(append([]byte(oldMagic+"\x00\x00\x00\x00\x00"), whole...))
	f.Add([]byte(newMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		libs, err := parseCache(b)
		if (libs == nil) == (err == nil) {
			t.Fatalf("%d libraries beside error %v", len(libs), err)
		}
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatalf("error %v is of no class", err)
			}
			return
		}
		total := 0
		for name, candidates := range libs {
			sound(t, name)
			total += len(candidates)
			for _, c := range candidates {
				sound(t, c.path)
				sound(t, c.hwcap)
			}
		}
		if total*newEntrySize > len(b) {
			t.Errorf("%d entries from %d bytes", total, len(b))
		}
	})
}

// A whole closure over hostile files: whatever the program, one of the classes.
func FuzzClosure(f *testing.F) {
	f.Add([]byte("#!/bin/sh -e\n"))
	f.Add([]byte("#!/usr/bin/env -S a=b sh\n"))
	f.Add(seed(f, "/bin/true"))
	root := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		name := root + "/program"
		if err := os.WriteFile(name, b, 0o755); err != nil {
			t.Fatal(err)
		}
		res, err := Closure("/program", Options{Root: root})
		if err == nil {
			return
		}
		if res.Deps != nil || res.LibraryPath != nil {
			t.Errorf("a result beside error %v", err)
		}
		classes := 0
		for _, class := range []error{ErrFormat, ErrUnsupported, ErrNotFound, ErrRead} {
			if errors.Is(err, class) {
				classes++
			}
		}
		if classes != 1 {
			t.Errorf("error %v is of %d classes", err, classes)
		}
	})
}
