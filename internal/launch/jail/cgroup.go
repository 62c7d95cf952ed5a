//go:build linux

package jail

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cgroup is a control group (cgroups(7), version 2) of one job, in which init
// starts, so that nothing of the job can be outside of it.
type cgroup struct {
	path string
	dir  *os.File
}

// newCgroup makes a control group below the root of the hierarchy, which a
// launcher that is root may, or below the launcher's own. With memory, that
// controller is asked for.
func newCgroup(memory bool) (*cgroup, error) {
	mount, err := cgroupMount()
	if err != nil {
		return nil, err
	}
	own, err := ownCgroup()
	if err != nil {
		return nil, err
	}
	var id [8]byte
	_, _ = rand.Read(id[:])
	name := fmt.Sprintf(cgroupPrefix+"%x", id)
	var errs []error
	for _, parent := range []string{mount, filepath.Join(mount, own)} {
		path := filepath.Join(parent, name)
		sweep(parent)
		if memory {
			// Where it is there already, or cannot be had, cgroup.limit will tell.
			_ = os.WriteFile(filepath.Join(parent, "cgroup.subtree_control"), []byte("+memory"), 0)
		}
		if err := os.Mkdir(path, 0o750); err != nil {
			errs = append(errs, err)
			continue
		}
		dir, err := os.Open(path)
		if err != nil {
			return nil, errors.Join(err, os.Remove(path))
		}
		return &cgroup{path: path, dir: dir}, nil
	}
	return nil, fmt.Errorf("making a control group: %w", errors.Join(errs...))
}

// cgroupPrefix begins the names of the groups, and leftAfter is the age at which one
// without processes is no longer one that is being made.
const (
	cgroupPrefix = "sworn-"
	leftAfter    = 10 * time.Minute
)

// sweep takes away groups whose launchers were killed. The kernel keeps one that
// has a process.
func sweep(parent string) {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && e.IsDir() && strings.HasPrefix(e.Name(), cgroupPrefix) && time.Since(info.ModTime()) > leftAfter {
			_ = unix.Rmdir(filepath.Join(parent, e.Name()))
		}
	}
}

// cgroupMount finds where version 2 of the hierarchy is mounted.
func cgroupMount() (string, error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", fmt.Errorf("finding control groups: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		// proc_pid_mountinfo(5): … mount-point options … - type source options
		before, after, ok := strings.Cut(line, " - ")
		fields := strings.Fields(before)
		if ok && len(fields) > 4 && strings.HasPrefix(after, "cgroup2 ") && fields[3] == "/" && !strings.Contains(fields[4], `\`) {
			return fields[4], nil
		}
	}
	return "", fmt.Errorf("finding control groups: none of version 2 is mounted: %w", unix.ENOENT)
}

// ownCgroup returns the launcher's own control group of version 2.
func ownCgroup() (string, error) {
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", fmt.Errorf("finding control groups: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		if path, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::"); ok {
			return path, nil
		}
	}
	return "", fmt.Errorf("finding control groups: the launcher is in none of version 2: %w", unix.ENOENT)
}

// limit bounds the memory that the group may take from now on, beside what it has
// taken already: the measured files.
func (c *cgroup) limit(memory uint64) error {
	b, err := os.ReadFile(filepath.Join(c.path, "memory.current"))
	if err != nil {
		return fmt.Errorf("no memory controller for the job's control group: %w", err)
	}
	current, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return fmt.Errorf("reading the job's memory: %w", err)
	}
	limit := current + memory
	if limit < current {
		return fmt.Errorf("bounding the job's memory: a limit of %d bytes: %w", memory, unix.EOVERFLOW)
	}
	for name, value := range map[string]string{"memory.max": strconv.FormatUint(limit, 10), "memory.swap.max": "0"} {
		err := os.WriteFile(filepath.Join(c.path, name), []byte(value), 0)
		if err != nil && (name != "memory.swap.max" || !errors.Is(err, os.ErrNotExist)) {
			return fmt.Errorf("bounding the job's memory: %w", err)
		}
	}
	return nil
}

// close kills whatever is in the group and takes it away.
func (c *cgroup) close() {
	if c == nil {
		return
	}
	_ = os.WriteFile(filepath.Join(c.path, "cgroup.kill"), []byte("1"), 0) // Linux 5.14
	for range 100 {
		if err := os.Remove(c.path); !errors.Is(err, unix.EBUSY) {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	_ = c.dir.Close()
}
