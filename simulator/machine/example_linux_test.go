package machine_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/sworn-run/sworn/simulator/machine"
)

// This boots a machine, runs a program in it, and takes out what firmware and
// kernel have measured.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "vm")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for name, pkg := range map[string]string{"init": machine.Guest, "sworn": "github.com/sworn-run/sworn/cmd/sworn"} {
		if err := machine.Build(ctx, pkg, filepath.Join(dir, name)); err != nil {
			log.Fatal(err)
		}
	}
	m, err := machine.Start(ctx, machine.Config{
		Dir: filepath.Join(dir, "m"), Boot: machine.SecureBoot, Init: filepath.Join(dir, "init"), IMAPolicy: machine.IMAPolicy,
		Files: []machine.File{{Path: "/bin/sworn", Mode: 0o755, Source: filepath.Join(dir, "sworn")}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	r, err := m.Exec(ctx, machine.Command{Argv: []string{"/bin/sworn", "doctor"}})
	if err != nil {
		log.Fatal(err)
	}
	e, err := m.Evidence(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n%x\n", r.Stdout, e.PCRs["sha256"][4])
}
