package wasm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sworn-run/sworn/internal/limits"
)

// Name is the argv[0] under which the program runs a module instead of its own main.
const Name = "sworn-wasm"

// The exit statuses of a module that did not end by itself, as a shell has them for
// what it cannot execute and for what abort(3) ended.
const (
	// ExitModule: the engine refused the module; nothing of it ran.
	ExitModule = 126
	// ExitTrap: it was ended by a trap.
	ExitTrap = 134
)

// maxFiles bounds the files of a module, as the jail does those of a job.
const maxFiles = 65536

// Command is what the process that runs a module is told, in its second argument;
// the module's own follow, with its name as the first.
type Command struct {
	// Module is the path of the module.
	Module string `json:"module"`
	// Engine and Pages are those of Options.
	Engine string `json:"engine"`
	// Pages bounds the memory.
	Pages uint32 `json:"pages"`
	// Roots are the files, and the folders with all below them, that the module can
	// read; one that is not there is none.
	Roots []string `json:"roots"`
	// Env are the module's variables: the process itself must have none of them.
	Env []string `json:"env"`
}

// Argv returns the arguments of the process that runs a module with the given ones.
func (c *Command) Argv(args []string) ([]string, error) {
	b, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encoding the command: %w: %w", ErrOptions, err)
	}
	return append([]string{Name, string(b)}, args...), nil
}

// MaybeRun does nothing in an ordinary process. In one that was started with the
// arguments of a [Command], it runs the module and does not return. The program calls
// it first thing in main.
func MaybeRun() {
	if len(os.Args) == 0 || os.Args[0] != Name {
		return
	}
	status, err := serve(os.Args)
	if err != nil {
		_, _ = fmt.Fprintf(os.Stderr, "sworn: %v\n", err)
		status = ExitModule
		if errors.Is(err, ErrTrap) {
			status = ExitTrap
		}
	}
	os.Exit(status)
}

// serve runs the module that the arguments name.
func serve(args []string) (int, error) {
	var c Command
	if len(args) < 3 {
		return 0, fmt.Errorf("no command: %w", ErrOptions)
	}
	if err := json.Unmarshal([]byte(args[1]), &c); err != nil {
		return 0, fmt.Errorf("reading the command: %w: %w", ErrOptions, err)
	}
	module, err := ReadModule(c.Module)
	if err != nil {
		return 0, err
	}
	files, err := below(c.Roots)
	if err != nil {
		return 0, err
	}
	return Run(context.Background(), Options{
		Module: module, Args: args[2:], Env: c.Env, Engine: c.Engine, Pages: c.Pages, Files: files,
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
	})
}

// ReadModule reads the file of a module. The error wraps ErrModule.
func ReadModule(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrModule, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limits.WasmModule+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w: %w", name, ErrModule, err)
	}
	if len(b) > limits.WasmModule {
		return nil, fmt.Errorf("%s is larger than %d bytes: %w", name, limits.WasmModule, ErrModule)
	}
	return b, nil
}

// below lists the regular files of the roots.
func below(roots []string) ([]File, error) {
	var files []File
	seen := map[string]bool{} // a root may stand below another
	for _, root := range roots {
		err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
			switch {
			case errors.Is(err, fs.ErrNotExist) && name == root:
				return nil
			case err != nil:
				return err
			case !d.Type().IsRegular() || seen[name]:
				return nil
			case len(files) == maxFiles:
				return fmt.Errorf("more than %d files", maxFiles)
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			seen[name] = true
			files = append(files, File{Path: name, Size: info.Size(), Open: func() (io.ReaderAt, error) { return os.Open(name) }})
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("finding files: %w: %w", ErrOptions, err)
		}
	}
	return files, nil
}
