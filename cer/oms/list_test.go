//go:build !js

package oms_test

import (
	"crypto/sha256"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/sworn-run/sworn/cer/oms"
)

// TestListSum: the list is the one that sha256sum prints, whatever files are
// called.
func TestListSum(t *testing.T) {
	names := []string{"a", "a-b", "a/b", ".git/HEAD", "é ü", `back\slash`, "line\nfeed", "carriage\rreturn", "b  c"}
	slices.Sort(names)
	names = slices.DeleteFunc(names, func(n string) bool { return n == "a" }) // a folder
	dir := t.TempDir()
	var files []oms.File
	for _, name := range names {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
		files = append(files, oms.File{Path: name, SHA256: sha256.Sum256([]byte(name))})
	}
	cmd := exec.Command("sha256sum", append([]string{"--"}, names...)...)
	cmd.Dir = dir
	list, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(files)
	if got := oms.ListSum(files); got != sha256.Sum256(list) {
		t.Errorf("%x is not the digest of\n%s", got, list)
	}
	for i := range files {
		was := files[i]
		files[i].Path += "x"
		if oms.ListSum(files) == sha256.Sum256(list) {
			t.Errorf("the same with another name for %q", was.Path)
		}
		files[i] = was
		files[i].SHA256[31]++
		if oms.ListSum(files) == sha256.Sum256(list) {
			t.Errorf("the same with other bytes in %q", was.Path)
		}
		files[i] = was
	}
	if sha256.Sum256(nil) != oms.ListSum(nil) {
		t.Error("the list of nothing is not empty")
	}
}
