package main

import (
	"context"
	"errors"
	"io/fs"
	"os/exec"

	"github.com/sworn-run/sworn/internal/launch"
	"github.com/sworn-run/sworn/internal/launch/jail"
	"github.com/sworn-run/sworn/tpm/tpmdev"
)

// platformHint returns the hint for errors of devices and launches.
func platformHint(err error) string {
	// What is wrong with a file of the job, before what is wrong with the job.
	if errors.Is(err, launch.ErrUsage) {
		switch {
		case errors.Is(err, exec.ErrNotFound):
			return "is it installed, and its folder in $PATH? or give the program's path"
		case errors.Is(err, fs.ErrNotExist):
			return "give the path of a file that exists"
		case errors.Is(err, fs.ErrPermission):
			return "may this user read it, and is it a program where one is wanted?"
		}
	}
	if errors.Is(err, tpmdev.ErrDevice) && errors.Is(err, fs.ErrPermission) {
		return "may this user open the TPM? sworn doctor"
	}
	for _, h := range []struct {
		is   error
		hint string
	}{
		{context.Canceled, "interrupted: there is no record"},
		{tpmdev.ErrBusy, "another program holds the TPM; try again when it has ended"},
		{launch.ErrBusy, "wait for the other launch, or use another TPM"},
		{tpmdev.ErrAbsent, "is there a TPM? sworn doctor; a software TPM: sworn simulate tpm --dir DIR --detach"},
		{tpmdev.ErrUsage, "--tpm /dev/tpmrm0, unix:PATH or tcp:HOST:PORT"},
		{tpmdev.ErrDevice, "sworn doctor"},
		{jail.ErrIsolation, "see what the kernel refuses: sworn doctor; or --isolation best-effort"},
		{jail.ErrSource, "a file changed or vanished while it was measured; nothing was run"},
		{launch.ErrState, "--state DIR, on a disk with space that belongs to this user"},
		{launch.ErrRecord, "the record would not verify; nothing was written"},
		{launch.ErrUsage, "sworn run --help"},
	} {
		if errors.Is(err, h.is) {
			return h.hint
		}
	}
	return ""
}
