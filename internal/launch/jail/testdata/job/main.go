//go:build linux

// Command job is what the tests of package jail run in a jail: its first
// argument vector element names what it does.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// jobTarget is where the program stands in the root.
const jobTarget = "/bin/job"

func main() { os.Exit(jobMain(strings.TrimPrefix(os.Args[0], "job:"), os.Args[1:])) }

// jobMain does what a role says.
func jobMain(role string, args []string) int {
	roles := map[string]func([]string) int{
		"echo": jobEcho, "probe": jobProbe, "cat": jobCat, "flood": jobFlood, "count": jobCount,
		"bomb": jobBomb, "background": jobBackground, "output": jobOutput, "limits": jobLimits,
		"hang":    func([]string) int { time.Sleep(time.Hour); return 0 },
		"nothing": func([]string) int { return 0 },
		"die": func(args []string) int {
			n, _ := strconv.Atoi(args[0])
			_ = unix.Kill(os.Getpid(), unix.Signal(n))
			time.Sleep(time.Hour)
			return 0
		},
		"closeout": func([]string) int {
			fmt.Print("early")
			_ = os.Stdout.Close()
			time.Sleep(100 * time.Millisecond)
			return 5
		},
	}
	work, found := roles[role]
	if !found {
		fmt.Fprintln(os.Stderr, "no such role")
		return 99
	}
	return work(args)
}

// jobEcho answers standard input in capitals and its arguments on standard
// error.
func jobEcho(args []string) int {
	b, err := io.ReadAll(os.Stdin)
	if err != nil {
		return 3
	}
	fmt.Print(strings.ToUpper(string(b)))
	fmt.Fprint(os.Stderr, strings.Join(args, " "))
	return 42
}

// jobCat prints each file after a line of standard input.
func jobCat(args []string) int {
	line := make([]byte, 1)
	for _, name := range args {
		if _, err := io.ReadFull(os.Stdin, line); err != nil {
			return 3
		}
		b, err := os.ReadFile(name)
		if err != nil {
			fmt.Fprint(os.Stderr, err)
			return 4
		}
		_, _ = os.Stdout.Write(b)
	}
	return 0
}

// jobFlood writes so many MiB, or without end.
func jobFlood(args []string) int {
	n, _ := strconv.Atoi(args[0])
	block := bytes.Repeat([]byte{'x'}, 1<<20)
	for i := 0; n < 0 || i < n; i++ {
		if _, err := os.Stdout.Write(block); err != nil {
			return 3
		}
	}
	return 0
}

// jobCount writes blocks of 4 KiB and a dot on standard error after each.
func jobCount([]string) int {
	block := make([]byte, 4096)
	for range 256 {
		if _, err := os.Stdout.Write(block); err != nil {
			return 3
		}
		fmt.Fprint(os.Stderr, ".")
	}
	return 0
}

// jobBomb starts itself again and again until it cannot, and does not end.
func jobBomb([]string) int {
	for range 3 {
		_, err := syscall.ForkExec(os.Args[1], []string{"job:bomb", os.Args[1]}, &syscall.ProcAttr{Files: []uintptr{0, 1, 2}})
		if err != nil {
			fmt.Fprintln(os.Stderr, unix.ErrnoName(errno(err)))
		}
	}
	time.Sleep(time.Hour)
	return 0
}

// jobBackground leaves children that hold all streams and ends.
func jobBackground(args []string) int {
	for range 3 {
		_, err := syscall.ForkExec(args[0], []string{"job:hang"}, &syscall.ProcAttr{
			Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{Setsid: true},
		})
		if err != nil {
			fmt.Fprint(os.Stderr, err)
			return 3
		}
	}
	fmt.Print("left")
	return 0
}

// jobOutput makes the output file in one of several ways.
func jobOutput(args []string) int {
	name := args[1]
	switch args[0] {
	case "file":
		_ = os.MkdirAll(filepath.Dir(name), 0o700)
		return status(os.WriteFile(name, []byte("result"), 0o600))
	case "link":
		return status(errors.Join(os.WriteFile("/scratch/other", []byte("result"), 0o600), os.Symlink("/scratch/other", name)))
	case "folder":
		return status(os.Mkdir(name, 0o700))
	case "fifo":
		return status(unix.Mkfifo(name, 0o600))
	case "large":
		return status(os.WriteFile(name, make([]byte, 2<<20), 0o600))
	}
	return 0
}

// status makes an exit status of an error.
func status(err error) int {
	if err != nil {
		fmt.Fprint(os.Stderr, err)
		return 3
	}
	return 0
}

// jobLimits prints resource limits.
func jobLimits([]string) int {
	for _, resource := range []int{unix.RLIMIT_CORE, unix.RLIMIT_AS, unix.RLIMIT_NOFILE, unix.RLIMIT_NPROC, unix.RLIMIT_FSIZE, unix.RLIMIT_CPU} {
		var l unix.Rlimit
		if err := unix.Prlimit(0, resource, nil, &l); err != nil {
			return 3
		}
		fmt.Println(l.Max)
	}
	return 0
}

// errno finds the errno of an error; 0 if there is none.
func errno(err error) unix.Errno {
	var e unix.Errno
	if errors.As(err, &e) {
		return e
	}
	return 0
}

// report prints a fact as NAME=ok or NAME=ERRNO.
func report(name string, err error) {
	value := "ok"
	if err != nil {
		if value = unix.ErrnoName(errno(err)); value == "" {
			value = err.Error()
		}
	}
	fmt.Printf("%s=%s\n", name, value)
}

// probeOpen tries to open a file for reading.
func probeOpen(name string) error {
	f, err := os.Open(name)
	if err == nil {
		_ = f.Close()
	}
	return err
}

// probeConnect tries to connect a new socket.
func probeConnect(family int, to unix.Sockaddr) error {
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Connect(fd, to)
}

// jobProbe tries what a job must not be able to do. Its arguments: the
// launcher's process id, the path of a host's socket, the name of an abstract
// one, the port of a listener, and a file of the host.
func jobProbe(args []string) int {
	port, _ := strconv.Atoi(args[3])
	for _, name := range []string{
		"/dev/tpmrm0", "/dev/tpm0", "/dev/tdx_guest", "/dev/sev-guest", "/dev/kmsg", "/dev/mem",
		"/sys", "/sys/kernel/config", "/etc/passwd", "/etc/ld.so.cache", args[4], args[1],
		"/proc/" + args[0] + "/mem", "/proc/1/mem", "/proc/1/root", "/dev/null", "/dev/urandom", jobTarget,
	} {
		report("open:"+name, probeOpen(name))
	}
	report("connect:path", probeConnect(unix.AF_UNIX, &unix.SockaddrUnix{Name: args[1]}))
	report("connect:abstract", probeConnect(unix.AF_UNIX, &unix.SockaddrUnix{Name: "@" + args[2]}))
	report("connect:tcp", probeConnect(unix.AF_INET, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}))
	report("connect:vsock", probeConnect(unix.AF_VSOCK, &unix.SockaddrVM{CID: unix.VMADDR_CID_HOST, Port: 1}))
	report("ptrace:init", unix.PtraceAttach(1))
	report("kill:init", unix.Kill(1, unix.SIGKILL))
	report("write:root", os.WriteFile("/new", nil, 0o600))
	report("write:job", os.WriteFile(jobTarget, nil, 0o600))
	report("write:input", os.WriteFile("/input/x", nil, 0o600))
	report("write:scratch", os.WriteFile("/scratch/x", []byte("x"), 0o600))
	report("write:null", os.WriteFile("/dev/null", []byte("x"), 0o600))
	report("mknod", unix.Mknod("/scratch/tpm", unix.S_IFCHR|0o600, int(unix.Mkdev(10, 224))))
	report("mount", unix.Mount("none", "/scratch", "tmpfs", 0, ""))
	report("unshare", unix.Unshare(unix.CLONE_NEWUSER))
	report("setuid", unix.Setuid(0))
	report("setgroups", unix.Setgroups([]int{0}))
	_, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false)
	report("keyring", err)
	probeSelf()
	return 0
}

// probeSelf prints what the job is.
func probeSelf() {
	groups, _ := unix.Getgroups()
	name := unix.Utsname{}
	_ = unix.Uname(&name)
	dir, _ := os.Getwd()
	nnp, _ := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	dumpable, _ := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	bound := 0
	for c := range uintptr(64) {
		if v, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, c, 0, 0, 0); err == nil {
			bound += v
		}
	}
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	_ = unix.Capget(&head, &caps[0])
	sid, _ := unix.Getsid(0)
	var files []string
	_ = filepath.WalkDir("/", func(p string, d fs.DirEntry, err error) error {
		if p == "/proc" {
			return fs.SkipDir
		}
		if err == nil && !d.IsDir() {
			files = append(files, p)
		}
		return nil
	})
	fmt.Printf("self=uid %d gid %d groups %v host %s dir %s nnp %d dumpable %d bound %d caps %v leader %v env %q\n",
		os.Getuid(), os.Getgid(), groups, unix.ByteSliceToString(name.Nodename[:]), dir, nnp, dumpable, bound,
		caps, sid == os.Getpid(), os.Environ())
	fmt.Printf("files=%v\n", files)
	// The Go runtime opens its own above these, if any.
	var open []int
	for fd := range 1024 {
		var st unix.Stat_t
		if unix.Fstat(fd, &st) == nil && (st.Mode&unix.S_IFMT == unix.S_IFIFO || st.Mode&unix.S_IFMT == unix.S_IFSOCK) {
			open = append(open, fd)
		}
	}
	fmt.Printf("open=%v\n", open)
}
