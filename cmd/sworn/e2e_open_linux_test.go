package main

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// A run where no namespaces can be had is made, and says at once what its record
// is worth.
func TestOpenRunIsNoted(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	p := m.files(t, nil, job(t), "copy")
	args := slices.DeleteFunc(m.runArgs("open", copyFlags(), job(t), "copy"), func(a string) bool { return a == "-q" })
	sworn := m.command(context.Background(), args...)
	// A user namespace in which nobody may make another, and root is nobody.
	const cage = `echo 0 >/proc/sys/user/max_user_namespaces && exec setpriv --securebits +noroot -- "$@"`
	cmd := exec.Command("unshare", slices.Concat([]string{"--user", "--map-root-user", "--", "sh", "-c", cage, "sh", sworn.Path}, sworn.Args[1:])...)
	cmd.Env, cmd.Dir = sworn.Env, sworn.Dir
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var note string
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "note: the job was not isolated") {
			note += line
		}
	}
	if strings.Count(note, "\n") != 1 {
		t.Fatalf("want one line that says so, got %q in\n%s", note, out)
	}
	r := m.verify(t, m.read(t, "open.cer.json"), p)
	var blocked []string
	for _, c := range r.Checks {
		if c.Class == "required" && c.Waived == "" && !strings.HasPrefix(c.ID, "time.") && c.Status != "passed" && c.Status != "not applicable" {
			blocked = append(blocked, c.ID)
		}
	}
	for _, id := range openFails() {
		if !slices.Contains(blocked, id) || !strings.Contains(note, id) {
			t.Errorf("%s: blocked are %v, the note is %s", id, blocked, note)
		}
	}
	for _, id := range blocked {
		if !slices.Contains(openFails(), id) {
			t.Errorf("%s does not pass either, and the note does not say so", id)
		}
	}
	closed := slices.DeleteFunc(m.runArgs("closed", copyFlags(), job(t), "copy"), func(a string) bool { return a == "-q" })
	if d := m.do(t, closed...); d.code != 0 || strings.Contains(d.err, "not isolated") {
		t.Errorf("a closed run: exit status %d: %s", d.code, d.err)
	}
}
