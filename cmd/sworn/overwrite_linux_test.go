package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestNothingIsOverwritten: neither output nor record may be what the launch reads.
func TestNothingIsOverwritten(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	read := []string{
		file("input"), file("weights"), file("named"), file("volume.img.json"), file("volume.img"), file("model.sig"),
		file("key.pem"), file("config"), file("add"), file("program"),
	}
	flags := jobFlags{
		input: read[0], weights: []string{read[1], "base=" + read[2], "disk=verity:" + read[3]}, signatures: []string{"base=" + read[5]},
		signers: []string{read[6]}, config: []string{read[7]}, add: []string{read[8]},
	}
	command := []string{read[9], "{weights}"}
	check := func(flags jobFlags, command []string, name string) {
		t.Helper()
		for _, f := range []runFlags{{record: name, output: file("free")}, {record: file("free"), output: name}} {
			f.jobFlags = flags
			if f.distinct(command) == nil {
				t.Errorf("%s would be overwritten: record %s, output %s", name, f.record, f.output)
			}
		}
	}
	for _, name := range read {
		check(flags, command, name)
	}
	for _, f := range []signerFlags{{key: file("sign.key")}, {certificates: file("sign.pem")}, {pkcs11: file("sworn-pkcs11")}} {
		for _, used := range f.files() {
			run := runFlags{signerFlags: f, record: used, output: file("free")}
			if used != "" && run.distinct(command) == nil {
				t.Errorf("%s would be overwritten", used)
			}
		}
	}
	archive := file("engine.tar")
	for _, given := range []string{archive, archive + "@sha256:00"} {
		check(jobFlags{imageArchive: given}, nil, archive)
	}
	free := runFlags{jobFlags: flags, record: file("record"), output: file("output")}
	if err := free.distinct(command); err != nil {
		t.Errorf("files of their own: %v", err)
	}
}
