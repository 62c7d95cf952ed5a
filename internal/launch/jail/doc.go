// Package jail builds the closed root of one job, measures what goes into it,
// and runs the job there.
//
// The closed root is a private tmpfs that holds exactly the files of a [Spec].
// Each is copied into it while it is hashed, so the measured bytes are the bytes
// that the job reads, whatever happens to the sources afterwards. A job is
// started in two steps, so that the launcher can commit to the measurements
// before the first instruction of the job:
//
//	j, err := jail.Start(ctx, spec) // root built, files hashed, privileges dropped; nothing runs yet
//	// extend j.Files() and j.Isolation() into a register, write the separator
//	exit, err := j.Run(ctx, jail.IO{Stdin: in, Stdout: out, Stderr: errs})
//
// Start executes the program's own binary again, twice, as the processes that
// set the namespaces up (init, which stays PID 1) and become the job (stage).
// The program must therefore call [MaybeInit] first thing in main, and a test
// binary in TestMain.
//
// When Start returns, all that [Isolation] states is in force and was read back
// from the kernel: the job's process sits in its namespaces, with its own root,
// uid and without privileges, and waits for one byte to execute the job.
//
// What the kernel or the rights of the user refuse is recorded with its errno
// ([State]); with [Spec.Strict] it is an error instead, and nothing is launched.
package jail
