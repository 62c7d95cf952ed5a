//go:build linux

package jail

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sworn-run/sworn/cer"
)

// defaultProcesses is RLIMIT_NPROC where Limits.Processes is zero.
const defaultProcesses = 4096

// reserved are the folders of the root that are not the caller's.
func reserved() []string {
	return []string{ScratchDir, InputDir, "/dev", "/proc"}
}

// check refuses a Spec that is contradictory or over a limit: ErrSpec.
func (s *Spec) check() error {
	for _, step := range []func() error{s.checkShape, s.checkFiles, s.checkDevices, s.checkCommands} {
		if err := step(); err != nil {
			return fmt.Errorf("%w: %w", ErrSpec, err)
		}
	}
	return nil
}

// checkShape checks the members that are not lists.
func (s *Spec) checkShape() error {
	switch {
	case s.Timeout <= 0:
		return fmt.Errorf("timeout is %v, must be positive", s.Timeout)
	case s.ForceOpen && s.Open == nil:
		return fmt.Errorf("an open run is forced and has no command")
	case s.ForceOpen && s.Strict:
		return fmt.Errorf("an open run is forced and isolation is strict")
	case s.InputFile != "" && !path.IsAbs(s.InputFile):
		return fmt.Errorf("input file %q is not absolute", s.InputFile)
	case s.OutputFile != "" && (!strings.HasPrefix(s.OutputFile, ScratchDir+"/") || !canonical(s.OutputFile)):
		return fmt.Errorf("output file %q is not a clean path under %s", s.OutputFile, ScratchDir)
	case s.OutputFile != "" && s.ForceOpen:
		return fmt.Errorf("an open run has no %s for the output file", ScratchDir)
	}
	return nil
}

// checkFiles checks that the targets make a tree, and that it is the caller's.
func (s *Spec) checkFiles() error {
	if len(s.Files) > MaxFiles {
		return fmt.Errorf("%d files, at most %d", len(s.Files), MaxFiles)
	}
	targets := make([]string, 0, len(s.Files))
	for _, f := range s.Files {
		if err := checkFile(f); err != nil {
			return err
		}
		targets = append(targets, f.Target)
	}
	for _, v := range s.Volumes {
		if err := checkFile(File{Source: v.Device, Target: v.Target}); err != nil {
			return err
		}
		targets = append(targets, v.Target)
	}
	slices.Sort(targets)
	files := make(map[string]bool, len(targets))
	for i, target := range targets {
		if i > 0 && target == targets[i-1] {
			return fmt.Errorf("two files have the target %q", target)
		}
		files[target] = true
	}
	for _, target := range targets {
		for dir := path.Dir(target); dir != "/"; dir = path.Dir(dir) {
			if files[dir] {
				return fmt.Errorf("target %q is the folder of %q", dir, target)
			}
		}
	}
	return nil
}

// checkFile checks one file for itself.
func checkFile(f File) error {
	switch f.Protect {
	case ProtectSealed, ProtectAuto, ProtectVerity, ProtectNone:
	default:
		return fmt.Errorf("protection %q of %s is unknown", f.Protect, f.Source)
	}
	if !path.IsAbs(f.Source) || strings.ContainsRune(f.Source, 0) {
		return fmt.Errorf("source %q is not an absolute path", f.Source)
	}
	if !canonical(f.Target) || f.Target == "/" {
		return fmt.Errorf("target %q is not an absolute and clean path", f.Target)
	}
	for _, dir := range reserved() {
		if f.Target == dir || strings.HasPrefix(f.Target, dir+"/") {
			return fmt.Errorf("target %q is in the reserved folder %s", f.Target, dir)
		}
	}
	return nil
}

// checkDevices checks the names of the devices.
func (s *Spec) checkDevices() error {
	for i, d := range s.Devices {
		if !canonical("/"+d) || len(d) > unix.NAME_MAX || !cer.PlainDevice(d) || slices.Contains(s.Devices[:i], d) {
			return fmt.Errorf("device %q is not the path of one device below /dev, in printable ASCII without blanks", d)
		}
		if cer.LauncherDevice(d) {
			return fmt.Errorf("device %q is the launcher's alone: a job that has it could extend and quote for itself, or read memory", d)
		}
	}
	if (len(s.Volumes) > 0 || s.Image != nil || len(s.Devices) > 0) && (s.ForceOpen || s.Open != nil) {
		return fmt.Errorf("an open run has no root for a volume or an image, and has every device")
	}
	if i := s.Image; i != nil && !i.right() {
		return fmt.Errorf("an image without reference and limit or volume, digest, or place to mount it")
	}
	return nil
}

// canonical reports whether p is absolute, clean and within the kernel's limits.
func canonical(p string) bool {
	return path.IsAbs(p) && path.Clean(p) == p && len(p) < unix.PathMax && !strings.ContainsRune(p, 0)
}

// checkCommands checks what is to be executed in either mode.
func (s *Spec) checkCommands() error {
	if !s.ForceOpen {
		inRoot := func(f File) string { return f.Target }
		if err := checkCommand(&s.Command, s.Files, inRoot, s.Image != nil); err != nil {
			return fmt.Errorf("command: %w", err)
		}
	}
	if s.Open != nil {
		outside := func(f File) string { return f.Source }
		if err := checkCommand(s.Open, s.Files, outside, false); err != nil {
			return fmt.Errorf("open command: %w", err)
		}
	}
	return nil
}

// checkCommand checks that the program is one of the measured files and that
// the strings are within bounds.
func checkCommand(c *Command, files []File, pathOf func(File) string, image bool) error {
	switch {
	case image && c.Path == "":
		return fmt.Errorf("no program given")
	case image:
	case !slices.ContainsFunc(files, func(f File) bool { return pathOf(f) == c.Path }):
		return fmt.Errorf("program %q is not one of the files", c.Path)
	}
	if len(c.Argv) == 0 {
		return fmt.Errorf("empty argument vector")
	}
	if c.Dir != "" && !canonical(c.Dir) {
		return fmt.Errorf("working directory %q is not an absolute and clean path", c.Dir)
	}
	total := 0
	for _, s := range slices.Concat(c.Argv, c.Env) {
		total += len(s) + 1
		if strings.ContainsRune(s, 0) {
			return fmt.Errorf("argument or variable %q holds a NUL", s)
		}
	}
	if len(c.Argv) > MaxStrings || len(c.Env) > MaxStrings || total > MaxStringBytes {
		return fmt.Errorf("arguments and environment are over the limit")
	}
	for _, v := range c.Env {
		if i := strings.IndexByte(v, '='); i < 1 {
			return fmt.Errorf("variable %q has no name", v)
		}
	}
	return nil
}
