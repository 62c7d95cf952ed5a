package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sworn-run/sworn/internal/launch"
	"github.com/sworn-run/sworn/internal/launch/jail"
)

// checkProtection refuses weights and flags about them that contradict each other.
func (j *jobFlags) checkProtection() error {
	known := []string{"", launch.ProtectAuto, launch.ProtectVerity, launch.ProtectSealed, launch.ProtectNone}
	if !slices.Contains(known, j.protect) {
		return usage("--protect auto", "protection %q: want auto, verity, sealed or none", j.protect)
	}
	switch {
	case len(j.signatures) > 0 && len(j.signers) == 0:
		return usage("--model-key publisher.pem", "a model signature is given, and no key to check it with")
	case len(j.signers) > 0 && len(j.signatures) == 0:
		return usage("--model-signature model.sig", "a model signer's key is given, and no signature to check with it")
	}
	for _, w := range j.weights {
		name, path := named(w)
		description, volume := strings.CutPrefix(path, "verity:")
		switch {
		case !volume:
		case j.protect == launch.ProtectSealed:
			return usage("--protect auto", "weights %s: a volume is not copied, as --protect sealed wants", description)
		case filepath.Ext(description) == ".img":
			return usage("--weights "+weightsFlag(name, "verity:"+description+".json"), "%s is the volume itself, not its description", description)
		}
	}
	return nil
}

// weightsFlag writes the value of --weights.
func weightsFlag(name, path string) string {
	if name == "" {
		return path
	}
	return name + "=" + path
}

// checkDevices refuses devices that this machine does not have. Without this, a
// misspelt one would cost the job its closed root, and later launches theirs.
func (j *jobFlags) checkDevices() error {
	for _, d := range j.devices {
		st, err := os.Lstat(d)
		switch {
		case err != nil:
			return wrap(err, fileHint(d, err))
		case st.IsDir():
			return usage("ls "+d, "device %s is a folder: give each device in it that the job needs", d)
		case st.Mode()&os.ModeSymlink != 0:
			return usage("give what it leads to", "device %s is a symbolic link", d)
		case st.Mode()&os.ModeDevice == 0:
			return usage("ls /dev", "%s is no device", d)
		}
	}
	return nil
}

// launchError gives an error of a launch the hint that the flags call for.
func (f *runFlags) launchError(err error) error {
	switch {
	case f.protect == launch.ProtectVerity && errors.Is(err, jail.ErrSource):
		return wrap(err, "sworn protect FILE lets the kernel check it; or --protect auto, which copies what it does not check")
	case f.imageVolume != "" && errors.Is(err, jail.ErrSource):
		return wrap(err, "are volume and description as sworn protect wrote them? make the volume again; nothing was run")
	case f.hasImage() && errors.Is(err, jail.ErrSource):
		return wrap(err, "is the image whole? fetch it again, or make it without what the message names; nothing was run")
	case f.hasImage() && errors.Is(err, jail.ErrLaunch) && !errors.Is(err, context.Canceled) && !f.limitsMemory():
		return wrap(err, "the command is looked up in the image: give its path there")
	case f.limitsMemory() && errors.Is(err, jail.ErrLaunch) && !errors.Is(err, context.Canceled):
		return wrap(err, "--limit memory needs control groups of version 2 with the memory controller; --limit address-space needs none")
	}
	return err
}

// limitsMemory reports whether the job's memory is to be limited.
func (f *runFlags) limitsMemory() bool {
	return slices.ContainsFunc(f.limits, func(l string) bool { return strings.HasPrefix(l, "memory=") })
}
