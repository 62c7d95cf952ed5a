//go:build linux

package jail

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sworn-run/sworn/internal/launch/elfdeps"
)

// loaderSpec runs the distribution's loader, a program that needs no library: it
// prints its version.
func loaderSpec(t *testing.T) Spec {
	t.Helper()
	res, err := elfdeps.Closure("/bin/sh", elfdeps.Options{})
	if err != nil || len(res.Deps) == 0 {
		t.Fatalf("no loader: %v", err)
	}
	ldso := res.Deps[0].Target
	source, err := filepath.EvalSymlinks(ldso)
	if err != nil {
		t.Fatal(err)
	}
	c := Command{Path: ldso, Argv: []string{ldso, "--version"}}
	return Spec{
		Files: []File{{Source: source, Target: ldso, Executable: true}}, Command: c, Open: &c, Timeout: 10 * time.Second,
	}
}

// Each way to get namespaces works here, and says what it is.
func TestAttempts(t *testing.T) {
	spec := loaderSpec(t)
	list := attempts(&spec, firstUID)
	want := map[string]Isolation{
		"namespaces":                       {Mode: "closed", UserNS: No, OwnUID: Yes, NoSwap: Yes, UID: firstUID},
		"namespaces with a user namespace": {Mode: "closed", UserNS: Yes, OwnUID: Yes, NoSwap: Refused(unix.EINVAL), UID: firstUID},
		"open run":                         {Mode: "open", UserNS: No, OwnUID: No, NoSwap: No},
	}
	if os.Geteuid() != 0 {
		delete(want, "namespaces")
		want["namespaces with a user namespace"] = Isolation{
			Mode: "closed", UserNS: Yes, OwnUID: Refused(unix.EINVAL), NoSwap: Refused(unix.EINVAL), UID: os.Getuid(),
		}
		want["open run"] = Isolation{Mode: "open", UserNS: No, OwnUID: No, NoSwap: No, UID: os.Getuid()}
	}
	if len(list) != len(want) {
		t.Fatalf("%d attempts, want %d", len(list), len(want))
	}
	for _, a := range list {
		j, err := a.start(context.Background(), spec)
		if err != nil {
			t.Errorf("%s: %v", a.name, err)
			continue
		}
		exit, err := j.Run(context.Background(), IO{})
		if err != nil || exit.Code != 0 || exit.Stdout.Size == 0 {
			t.Errorf("%s: %+v, %v", a.name, exit, err)
		}
		i := j.Isolation()
		got := Isolation{Mode: i.Mode, UserNS: i.UserNS, OwnUID: i.OwnUID, NoSwap: i.NoSwap, UID: i.UID}
		if w := want[a.name]; got.Mode != w.Mode || got.UserNS != w.UserNS || got.OwnUID != w.OwnUID || got.NoSwap != w.NoSwap || got.UID != w.UID {
			t.Errorf("%s: got %+v, want %+v", a.name, got, w)
		}
		if i.NoSwap != Yes && i.Mode == "closed" && i.Locked == No {
			t.Errorf("%s: locking was not tried", a.name)
		}
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	}
}
