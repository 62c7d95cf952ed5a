//go:build unix

package main

import (
	"os/exec"
	"syscall"
)

// ownGroup puts a program that is to be started into a process group of its own
// and returns what kills that group, with whatever the program started.
func ownGroup(cmd *exec.Cmd) func() error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
