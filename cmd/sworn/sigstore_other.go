//go:build !unix

package main

import "os/exec"

// ownGroup returns what kills a program. Here it has no process group; what it
// started is not killed, and is not waited for either.
func ownGroup(cmd *exec.Cmd) func() error {
	return func() error { return cmd.Process.Kill() }
}
