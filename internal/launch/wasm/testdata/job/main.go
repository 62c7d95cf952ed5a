// Command job is what the tests run as a WebAssembly module: its first argument says
// what it does.
package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

func main() {
	if len(os.Args) < 2 {
		os.Exit(99)
	}
	if err := work(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// work does what a role says.
func work(role string, args []string) error {
	switch role {
	case "upper": // standard input, and the files named, in capitals
		b, err := io.ReadAll(os.Stdin)
		if err != nil {
			return err
		}
		for _, name := range args {
			more, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			b = append(b, more...)
		}
		_, err = os.Stdout.WriteString(strings.ToUpper(string(b)))
		return err
	case "world":
		return world(args)
	case "exit":
		n, err := strconv.Atoi(args[0])
		if err != nil {
			return err
		}
		os.Exit(n)
	case "loop":
		fmt.Println("begun")
		for i := 0; ; i++ {
			if i < 0 {
				return errors.New("overflow")
			}
		}
	case "grow":
		var all [][]byte
		for {
			b := make([]byte, 1<<20)
			for i := range b {
				b[i] = byte(i)
			}
			all = append(all, b)
			fmt.Println(len(all))
		}
	case "flood":
		block := []byte(strings.Repeat("x", 1<<16))
		for {
			if _, err := os.Stdout.Write(block); err != nil {
				return err
			}
		}
	}
	return fmt.Errorf("unknown role %q", role)
}

// world prints all that a program can see of where it runs, and what comes of reading
// and changing the files named.
func world(names []string) error {
	fmt.Printf("args %q env %q\n", os.Args, os.Environ())
	began := time.Now()
	fmt.Println("time", began.UTC().Format(time.RFC3339Nano))
	time.Sleep(time.Hour)
	fmt.Println("slept", time.Since(began))
	for deadline := time.Now().Add(100 * time.Millisecond); time.Now().Before(deadline); {
	}
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		return err
	}
	fmt.Printf("random %x map", b)
	for k := range map[int]bool{1: true, 2: true, 3: true, 4: true, 5: true} {
		fmt.Print(" ", k)
	}
	fmt.Println()
	var buf [64]byte
	for {
		n, err := os.Stdin.Read(buf[:])
		fmt.Println("stdin", n, err)
		if err != nil {
			break
		}
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		fmt.Printf("%s reads %q %v\n", name, b, err)
		change(name)
	}
	return filepath.WalkDir("/", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := os.Stat(name)
		if err != nil {
			return err
		}
		fmt.Println(name, st.Mode(), st.Size(), st.ModTime().UTC().Format(time.RFC3339Nano))
		return nil
	})
}

// change tries to change a file in each way, and tells of each whether it failed.
func change(name string) {
	_, create := os.Create(name)
	_, appending := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
	fmt.Println(name, create != nil, appending != nil, os.Remove(name) != nil, os.Mkdir(name+".d", 0o755) != nil,
		os.Rename(name, name+".old") != nil, os.Symlink(name, name+".link") != nil, os.Chtimes(name, time.Time{}, time.Time{}) != nil,
		"changes:", create)
}
