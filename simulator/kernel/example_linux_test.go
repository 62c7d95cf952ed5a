package kernel_test

import (
	"context"
	"fmt"
	"os"

	"github.com/sworn-run/sworn/simulator/kernel"
	"github.com/sworn-run/sworn/tdx/tdxdev"
)

// A TD whose quotes come from a function; a simulated vendor's would sign them.
func Example() {
	regs, err := kernel.NewRegisters(nil)
	if err != nil {
		panic(err)
	}
	dir, err := os.MkdirTemp("", "kernel")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	k, err := kernel.Start(dir, kernel.Options{
		Provider:  kernel.TDXGuest,
		Registers: regs,
		Report: func(inblob []byte, _ uint) (outblob, auxblob []byte, err error) {
			return append(regs.RTMR(3), inblob...), nil, nil
		},
	})
	if err != nil {
		panic(err)
	}
	defer k.Close()
	ok, _ := tdxdev.Probe(context.Background(), tdxdev.Options{ConfigFS: k.ConfigFS(), Measurements: k.Measurements()})
	fmt.Println("a TD:", ok) // as root, who alone can mount it: true
}
