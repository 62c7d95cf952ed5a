//go:build linux

package jail_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/sworn-run/sworn/internal/launch/jail"
)

// fuseVariable is the environment variable that names where the liar is mounted.
const fuseVariable = "JAIL_TEST_FUSE"

// liarSize is the size of the liar's file.
const liarSize = 3<<20 + 5

// liar is a file whose server gives other bytes at every reading, and claims to
// have an fs-verity digest of its choice.
type liar struct {
	fs.Inode
	reads atomic.Uint64
}

func (l *liar) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, fuse.FOPEN_DIRECT_IO, 0
}

func (l *liar) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode, out.Size = 0o444, liarSize
	return 0
}

func (l *liar) Read(_ context.Context, _ fs.FileHandle, dst []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	n := min(int64(len(dst)), max(0, liarSize-off))
	fill := byte('a' + l.reads.Add(1)%26)
	return fuse.ReadResultData(bytes.Repeat([]byte{fill}, int(n))), 0
}

// Ioctl answers FS_IOC_MEASURE_VERITY: SHA-256, 32 bytes, all of them ab.
func (l *liar) Ioctl(_ context.Context, _ fs.FileHandle, cmd uint32, _ uint64, _, output []byte) (int32, syscall.Errno) {
	if cmd != unix.FS_IOC_MEASURE_VERITY {
		return 0, unix.ENOTTY
	}
	answer := binary.LittleEndian.AppendUint16(nil, unix.FS_VERITY_HASH_ALG_SHA256)
	answer = binary.LittleEndian.AppendUint16(answer, 32)
	copy(output, append(answer, bytes.Repeat([]byte{0xab}, 32)...))
	return 0, 0
}

// liarRoot is the folder that holds it.
type liarRoot struct{ fs.Inode }

func (r *liarRoot) OnAdd(ctx context.Context) {
	r.AddChild("weights", r.NewPersistentInode(ctx, &liar{}, fs.StableAttr{Ino: 2}), false)
}

// serveLiar mounts the liar until standard input ends.
func serveLiar() error {
	options := &fs.Options{MountOptions: fuse.MountOptions{DirectMountStrict: true, AllowOther: true}}
	server, err := fs.Mount(os.Getenv(fuseVariable), &liarRoot{}, options)
	if err != nil {
		return err
	}
	fmt.Println("mounted")
	_, _ = os.Stdin.Read(make([]byte, 1))
	return server.Unmount()
}

// mountLiar serves the liar from a process of its own and returns the path of its
// file.
func mountLiar(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{"launcher:fuse"}
	cmd.Env = append(os.Environ(), fuseVariable+"="+dir)
	cmd.Stderr = os.Stderr
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	line := make([]byte, 8)
	if n, err := out.Read(line); err != nil || !strings.HasPrefix(string(line[:n]), "mounted") {
		t.Fatalf("the liar is not mounted: %v", err)
	}
	return filepath.Join(dir, "weights")
}

// A FUSE server can answer the ioctl with any digest, and serve other bytes every
// time. Neither reaches a record: the file is copied, and what was hashed is what
// the job reads.
func TestFUSELies(t *testing.T) {
	if os.Geteuid() != 0 {
		return // FUSE is mounted by root
	}
	source := mountLiar(t)
	f, err := os.Open(source)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var answer struct {
		alg, size uint16
		digest    [64]byte
	}
	answer.size = 64
	if err := ioctlVerity(f, &answer.alg); err != nil || answer.digest[0] != 0xab || answer.size != 32 {
		t.Fatalf("the liar does not lie: %v, %x", err, answer.digest[:4])
	}
	for _, protect := range []string{jail.ProtectAuto, jail.ProtectSealed} {
		spec := with(jobSpec(t, "cat", "/model/w"), jail.File{ID: 1, Source: source, Target: "/model/w", Protect: protect, Verity: true})
		j := start(t, spec)
		d := j.Files()[1]
		if d.Protection != "sealed" || !d.HasSHA256 || d.FSVerity == [32]byte(bytes.Repeat([]byte{0xab}, 32)) {
			t.Fatalf("%q: %+v", protect, d)
		}
		got := finish(t, j, strings.NewReader("1"))
		if sha256.Sum256([]byte(got.out)) != d.SHA256 || len(got.out) != liarSize {
			t.Errorf("%q: the job read %d other bytes than were measured", protect, len(got.out))
		}
	}
	spec := with(jobSpec(t, "cat", "/model/w"), jail.File{Source: source, Target: "/model/w", Protect: jail.ProtectVerity})
	if j, err := jail.Start(context.Background(), spec); !errors.Is(err, jail.ErrSource) || j != nil {
		t.Errorf("taken for fs-verity: %v", err)
	}
}
