//go:build linux

// Command job is what the end-to-end tests run attested: its first argument says
// what it does. It is built statically, so that the job's root is this one file.
package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) < 2 {
		os.Exit(99)
	}
	os.Exit(work(os.Args[1], os.Args[2:]))
}

// work does what a role says and returns the exit status.
func work(role string, args []string) int {
	switch role {
	case "copy":
		_, err := io.Copy(os.Stdout, os.Stdin)
		return status(err)
	case "shout":
		return shout(args)
	case "say":
		fmt.Println(strings.Join(args, " "))
		return 0
	case "probe":
		return probe(args)
	case "twice":
		return twice(args[0])
	case "again":
		return again()
	case "children":
		return children()
	case "child":
		time.Sleep(time.Hour)
		return 0
	case "hang":
		fmt.Println("begun")
		time.Sleep(time.Hour)
		return 0
	case "closeout":
		fmt.Print("early")
		_ = os.Stdout.Close()
		time.Sleep(50 * time.Millisecond)
		return 0
	case "flood":
		block := bytes.Repeat([]byte{'x'}, 1<<20)
		for {
			if _, err := os.Stdout.Write(block); err != nil {
				return 3
			}
		}
	case "signal":
		n, _ := strconv.Atoi(args[0])
		_ = syscall.Kill(os.Getpid(), syscall.Signal(n))
		time.Sleep(time.Hour)
		return 0
	case "exit":
		n, _ := strconv.Atoi(args[0])
		return n
	default:
		return 99
	}
}

// status makes an exit status of an error.
func status(err error) int {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 4
	}
	return 0
}

// shout writes its input in capitals, and its arguments to standard error.
func shout(args []string) int {
	b, err := io.ReadAll(os.Stdin)
	if err == nil {
		_, err = os.Stdout.Write(bytes.ToUpper(b))
	}
	fmt.Fprintln(os.Stderr, strings.Join(args, " "))
	return status(err)
}

// probe tries to open each path, and to connect to each that is "unix:PATH" or
// "tcp:HOST:PORT", and prints what came of it.
func probe(targets []string) int {
	for _, target := range targets {
		err := reach(target)
		var errno syscall.Errno
		switch {
		case err == nil:
			fmt.Println("REACHED", target)
		case errors.As(err, &errno):
			fmt.Println("refused", target, int(errno))
		default:
			fmt.Println("refused", target, err)
		}
	}
	return 0
}

// reach opens a path or connects to an address.
func reach(target string) error {
	for _, network := range []string{"unix", "tcp"} {
		if address, ok := strings.CutPrefix(target, network+":"); ok {
			c, err := net.Dial(network, address)
			if err != nil {
				return err
			}
			return c.Close()
		}
	}
	f, err := os.Open(target)
	if err != nil {
		return err
	}
	return f.Close()
}

// digest prints what a file holds now.
func digest(name string) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	fmt.Printf("%x\n", sha256.Sum256(b))
	return nil
}

// wait waits for one byte.
func wait() error {
	_, err := io.ReadFull(os.Stdin, make([]byte, 1))
	return err
}

// twice prints a file's digest, waits for a byte, and prints it again.
func twice(name string) int {
	if err := errors.Join(digest(name), wait(), digest(name)); err != nil {
		return status(err)
	}
	return 0
}

// again prints this program's digest, waits for a byte, and executes the program
// again by its path, to print the digest once more.
func again() int {
	if err := errors.Join(digest(os.Args[0]), wait()); err != nil {
		return status(err)
	}
	return status(syscall.Exec(os.Args[0], []string{os.Args[0], "probe", os.Args[0]}, nil))
}

// children leaves processes behind that hold its output.
func children() int {
	for range 3 {
		c := exec.Command(os.Args[0], "child")
		c.Stdout, c.Stderr = os.Stdout, os.Stderr
		c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := c.Start(); err != nil {
			return status(err)
		}
		fmt.Println("left", c.Process.Pid)
	}
	return 0
}
