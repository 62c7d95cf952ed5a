// Command sworn runs inference jobs attested and verifies their records.
//
// Results go to standard output, everything else to standard error as "error:"
// and "hint:" lines. Exit status: 0 trusted or done, 1 not trusted, or the job
// failed and its record says so, 2 usage or I/O.
package main

//go:generate go test -count=1 -run ^(TestManPages|TestChecksPage)$ . -args -update

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	maybeInit()
	ctx, stop := signal.NotifyContext(context.Background(), endings()...)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// endings are the signals that end the program in order. One that was ignored
// when the program began, as nohup(1) does, stays ignored.
func endings() []os.Signal {
	out := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		out = append(out, syscall.SIGHUP)
	}
	return out
}

// run is main without the process: it returns the exit status.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	app := &app{stdin: stdin, stdout: stdout, stderr: stderr}
	root := app.command()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	return app.exit(err)
}
