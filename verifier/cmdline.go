package verifier

import (
	"path"
	"slices"
	"strings"

	"github.com/sworn-run/sworn/internal/bootlog"
)

// exposing are the parameters of a kernel's command line that open what a measured
// boot closes, by name, with the values that do; nil for any value. Names have "_"
// for "-", as the kernel compares them, and are lower-case.
func exposing() map[string]func(value string) bool {
	off := func(v string) bool { return v == "0" || v == "n" || v == "off" || v == "no" || v == "N" }
	open := func(v string) bool { return strings.Contains(v, "rescue") || strings.Contains(v, "emergency") }
	return map[string]func(string) bool{
		"init": shell, "rdinit": shell,
		"lockdown": func(v string) bool { return v != "integrity" && v != "confidentiality" },
		// A kernel that does not start this module early asks nobody what is locked.
		"lsm":                    func(v string) bool { return !slices.Contains(strings.Split(v, ","), "lockdown") },
		"module.sig_enforce":     func(v string) bool { return v != "" && v != "1" && v != "y" && v != "Y" && v != "on" },
		"systemd.debug_shell":    nil,
		"rd.systemd.debug_shell": nil,
		"systemd.crash_shell":    func(v string) bool { return !off(v) },
		"systemd.break":          nil,
		"rd.systemd.break":       nil,
		"systemd.run":            nil,
		"systemd.setenv":         func(v string) bool { return strings.Contains(v, "SULOGIN") },
		"systemd.unit":           open,
		"rd.systemd.unit":        open,
		"rd.shell":               func(v string) bool { return !off(v) },
		"rd.cmdline":             nil,
		"rd.break":               nil,
		"break":                  nil,
		"single":                 nil,
		"s":                      nil,
		"_s":                     nil,
		"1":                      nil,
		"_b":                     nil,
		"emergency":              nil,
		"rescue":                 nil,
		// More parameters, at the end of the initial file system.
		"bootconfig":         nil,
		"initcall_blacklist": nil,
		"kgdboc":             nil,
		"ekgdboc":            nil,
		"kgdbwait":           nil,
		"ima":                off,
		"ima_appraise":       func(v string) bool { return v != "enforce" },
		"iomem":              func(v string) bool { return v == "relaxed" },
	}
}

// shell reports whether a program does what it is told by whoever sits before it.
func shell(program string) bool {
	base, _, _ := strings.Cut(path.Base(program), ",")
	return strings.HasPrefix(base, "python") ||
		slices.Contains([]string{"sh", "bash", "dash", "ash", "busybox", "zsh", "ksh", "mksh", "fish", "perl", "sulogin", "agetty"}, base)
}

// openKernel says what keeps a command line from rooting a launcher, or nothing: the
// kernel must be locked down by it, no parameter may stand twice but console, and none
// may open a way around what was measured (SPEC, section 8, launcher.rooted).
//
// The kernel, its EFI stub, systemd and the scripts of initial file systems split a
// command line each in its own way, so that only texts in which they agree root
// anything, and each is looked at as all of them read it.
func openKernel(cmdline string) string {
	if strings.ContainsFunc(cmdline, func(r rune) bool { return r < ' ' || r > '~' }) {
		return "its command line is not of printable ASCII alone"
	}
	// The stub looks for these anywhere in the text, and measures no such file.
	for _, file := range []string{"initrd=", "dtb="} {
		if strings.Contains(cmdline, file) {
			return "its command line has " + file + ", and a file that the kernel so loads by itself is not measured"
		}
	}
	ways := exposing()
	for p := range strings.FieldsSeq(strings.Map(unquoted, cmdline)) {
		if p == "--" {
			return "its command line has --, after which programs find what the kernel does not"
		}
		name, value := parameter(p)
		if opens, ok := ways[strings.ToLower(name)]; ok && (opens == nil || opens(value)) {
			return "its command line has " + p
		}
	}
	parameters := bootlog.Parameters(cmdline)
	seen := map[string]bool{}
	for _, p := range parameters {
		name, _ := parameter(strings.Map(unquoted, p))
		if seen[name] && name != "console" {
			return "its command line has " + name + " twice"
		}
		seen[name] = true
	}
	if !slices.Contains(parameters, "lockdown=integrity") && !slices.Contains(parameters, "lockdown=confidentiality") {
		return "its command line does not lock the kernel down (lockdown=integrity or confidentiality)"
	}
	return ""
}

// unquoted drops what some readers of a command line quote with.
func unquoted(r rune) rune {
	if r == '"' || r == '\'' || r == '\\' {
		return -1
	}
	return r
}

// parameter splits a parameter; the name has "_" for "-".
func parameter(p string) (name, value string) {
	name, value, _ = strings.Cut(p, "=")
	return strings.ReplaceAll(name, "-", "_"), value
}

// openRoot says what keeps a launcher in the initial file system from being what runs,
// or nothing: a root file system that the command line names must be under dm-verity by
// it. A kernel that is given no initial file system mounts such a root by itself.
func openRoot(cmdline string) string {
	var root, verity string
	for _, p := range bootlog.Parameters(cmdline) {
		switch name, value := parameter(p); name {
		case "root":
			root = value
		case "roothash":
			verity = value
		case "dm_mod.create":
			if strings.Contains(value, " verity ") {
				verity = value
			}
		}
	}
	if root == "" || root == "/dev/ram0" || verity != "" && (strings.HasPrefix(root, "/dev/mapper/") || strings.HasPrefix(root, "/dev/dm-")) {
		return ""
	}
	return "its command line has root=" + root + ", which no dm-verity of it covers"
}

// findsRoot reports whether systemd in an initial file system may mount a root file
// system that nobody named: by a partition's type, of any disk (systemd-gpt-auto-
// generator(8)).
func findsRoot(cmdline string) bool {
	for _, p := range bootlog.Parameters(cmdline) {
		name, value := parameter(p)
		if name == "root" {
			return false
		}
		if (name == "systemd.gpt_auto" || name == "rd.systemd.gpt_auto") && slices.Contains([]string{"0", "no", "off", "false"}, value) {
			return false
		}
	}
	return true
}
