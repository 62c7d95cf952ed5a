package main

import (
	"context"
	"errors"
	"io/fs"
	"os/exec"

	"github.com/sworn-run/sworn/internal/enroll"
	"github.com/sworn-run/sworn/internal/launch"
	"github.com/sworn-run/sworn/internal/launch/jail"
	"github.com/sworn-run/sworn/internal/launch/oci"
	"github.com/sworn-run/sworn/internal/launch/verity"
	"github.com/sworn-run/sworn/internal/launch/wasm"
	"github.com/sworn-run/sworn/sev/sevdev"
	"github.com/sworn-run/sworn/tpm/tpmdev"
)

// platformHint returns the hint for errors of devices and launches.
func platformHint(err error) string {
	if errors.Is(err, verity.ErrUnsupported) {
		return "dm-verity needs root and a kernel with it (modprobe dm-verity); or give what is copied: --weights FOLDER, --image oci:DIR"
	}
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
	if errors.Is(err, enroll.ErrFile) && errors.Is(err, fs.ErrNotExist) {
		return "give the path of a file that exists"
	}
	if errors.Is(err, tpmdev.ErrDevice) && errors.Is(err, fs.ErrPermission) {
		return "may this user open the TPM? sworn doctor"
	}
	for _, h := range []struct {
		is   error
		hint string
	}{
		{context.Canceled, "interrupted: there is no record"},
		{tpmdev.ErrEnrolled, "enrol this TPM again: sworn enroll; or leave its key alone: --ak provider or --ak child"},
		{enroll.ErrRefused, "the enrolling party trusts makers by their roots: --roots DIR with tpm-ek/ there, the maker's CAs by --issuers here"},
		{enroll.ErrServer, "is \"sworn enroll serve\" running there, --ca the CA of its certificate, and --cert of a CA in its --clients?"},
		{enroll.ErrFile, "are --cert and --key a pair in PEM, and the other certificates of CAs? files of kept keys must be this user's, mode 0600, as they were written"},
		{sevdev.ErrAbsent, "is this a confidential VM with Linux 6.7 or later, and the module sev-guest or tdx-guest loaded? sworn doctor"},
		{sevdev.ErrDenied, "reports of confidential VMs are for root"},
		{sevdev.ErrBusy, "another program asks for reports; try again when it has ended"},
		{sevdev.ErrDevice, "sworn doctor"},
		{tpmdev.ErrBusy, "another program holds the TPM; try again when it has ended"},
		{launch.ErrBusy, "wait for the other launch"},
		{tpmdev.ErrAbsent, "is there a TPM? sworn doctor; a software TPM: sworn simulate tpm --dir DIR --detach"},
		{tpmdev.ErrCounter, "choose another index: --tpm-nv 0x01807378; or remove what is there: tpm2_nvundefine INDEX"},
		{tpmdev.ErrUsage, "--tpm /dev/tpmrm0, unix:PATH or tcp:HOST:PORT"},
		{tpmdev.ErrDevice, "sworn doctor"},
		{verity.ErrKind, "weights are given as --weights verity:FILE.json, an image as --image-volume FILE.json"},
		{verity.ErrVolume, "give the FILE.json that sworn protect --volume FILE wrote, with FILE as it was written beside it"},
		{wasm.ErrImport, "build it for WASI preview1, without sockets and without host functions of another runtime; nothing was run"},
		{wasm.ErrModule, "give a command of WASI preview1: GOOS=wasip1 GOARCH=wasm go build, rustc --target wasm32-wasip1; nothing was run"},
		{launch.ErrSignature, "are these the weights that were signed, and is this the signer's key? nothing was run"},
		{jail.ErrSpec, "weights that do not fit into memory want --protect verity: sworn protect --help"},
		{oci.ErrDigest, "the image is not what its digests say: fetch it again; nothing was run"},
		{oci.ErrFormat, "give an OCI image layout, or an archive of one or of docker save; nothing was run"},
		{oci.ErrUsage, "--image oci:DIR:TAG or oci:DIR@sha256:DIGEST; the tags stand in DIR/index.json"},
		{jail.ErrIsolation, "see what the kernel refuses: sworn doctor; or --isolation best-effort"},
		{jail.ErrSource, "may this user read it, and does nothing write to it? nothing was run"},
		{launch.ErrRegister, "start the machine anew: nothing else takes out of a register what is in it"},
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
