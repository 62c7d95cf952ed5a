//go:build linux

package jail

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// prepareOpen prepares a run without namespaces: the files are hashed where they
// are, and the program is copied into a sealed memfd.
func (p *initProcess) prepareOpen() ([]fileDigest, error) {
	// What the job leaves becomes a child of init and can be killed.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("becoming a subreaper: %w", err)
	}
	var total uint64
	var err error
	if p.sources, total, err = planSources(&p.cfg); err != nil {
		return nil, as(failSource, err)
	}
	program, err := memfd()
	if err != nil {
		return nil, err
	}
	path, err := filepath.EvalSymlinks(p.cfg.Command.Path)
	if err != nil {
		return nil, as(failSource, fmt.Errorf("resolving the program: %w", err))
	}
	digests, err := p.measured(total, openCopies(path, program))
	if err != nil {
		return nil, err
	}
	p.iso.SealedProgram = stateOf(sealMemfd(program))
	if p.iso.SealedProgram != Yes {
		return nil, fmt.Errorf("sealing the program: %s", p.iso.SealedProgram)
	}
	if err := p.startStage(program); err != nil {
		return nil, err
	}
	if p.cfg.Command.Dir == "" {
		p.cfg.Command.Dir = "/"
	}
	return digests, errors.Join(p.awaitStage(), program.Close(), p.dropStage())
}

// openCopies returns what measure opens for each source: the sealed program for
// the first source that is the program, nothing for the others.
func openCopies(path string, program *os.File) func(*source) (*os.File, error) {
	taken := make(chan struct{}, 1)
	return func(s *source) (*os.File, error) {
		if s.path != path {
			return nil, nil
		}
		select {
		case taken <- struct{}{}:
		default:
			return nil, nil
		}
		fd, err := unix.FcntlInt(program.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return nil, fmt.Errorf("duplicating the program's descriptor: %w", err)
		}
		return os.NewFile(uintptr(fd), "program"), nil
	}
}

// memfd makes the file that the program is copied to. Kernels before 6.3 do not
// know MFD_EXEC, and make every memfd executable.
func memfd() (*os.File, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate("program", flags|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) {
		fd, err = unix.MemfdCreate("program", flags)
	}
	if err != nil {
		return nil, fmt.Errorf("making a memfd: %w", err)
	}
	return os.NewFile(uintptr(fd), "program"), nil
}

// sealMemfd makes the content of the memfd unchangeable for everybody.
func sealMemfd(f *os.File) error {
	const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if err := f.Chmod(0o555); err != nil {
		return fmt.Errorf("setting the program's mode: %w", err)
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		return fmt.Errorf("sealing the program: %w", err)
	}
	got, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0)
	if err != nil || got&seals != seals {
		return fmt.Errorf("sealing the program, seals %x: %w", got, unix.EPERM)
	}
	return nil
}
