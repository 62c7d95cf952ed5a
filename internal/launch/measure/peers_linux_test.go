package measure_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sworn-run/sworn/internal/launch/measure"
)

// tool runs a program that must be there, and returns what it printed.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	path, err := exec.LookPath(name)
	if err != nil {
		path = "/usr/sbin/" + name
	}
	cmd.Path, cmd.Err = path, nil
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s, of Debian's fsverity, cryptsetup-bin or coreutils: %v", cmd, err)
	}
	return string(out)
}

// file writes a file of the size; one with holes has something in a few places
// only.
func file(t *testing.T, size int64, holes bool) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	from := rand.NewChaCha8([32]byte{byte(size)})
	step := int64(1 << 20)
	for at := int64(0); at < size; at += step {
		if holes && at%(16<<20) != 0 {
			continue
		}
		b := make([]byte, min(step, size-at))
		_, _ = from.Read(b)
		if _, err := f.WriteAt(b, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		t.Fatal(err)
	}
	return name
}

// sums measures a file.
func sums(t *testing.T, name string, w measure.Wanted) measure.Sums {
	t.Helper()
	list, err := measure.Paths(t.Context(), []string{name}, w, measure.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return list[0]
}

// TestPeers compares the digests with those of fsverity and sha256sum.
func TestPeers(t *testing.T) {
	for _, size := range []int64{0, 1, 4095, 4096, 4097, 128*4096 - 1, 128 * 4096, 128*4096 + 1, 100<<20 + 123} {
		name := file(t, size, size > 50<<20)
		got := sums(t, name, measure.Wanted{FSVerity: true, Flat: measure.FlatSmall}).Digests()
		flat, _, _ := strings.Cut(tool(t, "sha256sum", name), " ")
		verity := strings.TrimSpace(tool(t, "fsverity", "digest", "--compact", "--hash-alg=sha256", "--block-size=4096", name))
		want := []string{"sha256:" + flat, "fsverity-sha256;block=4096:" + verity}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%d bytes: got %v, want %v", size, got, want)
		}
	}
}

// TestVeritysetup compares root hash, tree and superblock with those that
// veritysetup makes, and has it verify ours.
func TestVeritysetup(t *testing.T) {
	const uuid = "00112233-4455-6677-8899-aabbccddeeff"
	id, err := hex.DecodeString(strings.ReplaceAll(uuid, "-", ""))
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("5a", measure.MaxSalt)
	for _, size := range []int64{4096, 2 * 4096, 127 * 4096, 128 * 4096, 129 * 4096, 128*128*4096 + 4096, 100<<20 + 4096} {
		name := file(t, size, size > 50<<20)
		for _, salt := range []string{"-", "00ff17", long} {
			for _, superblock := range []bool{true, false} {
				if size > 50<<20 && (!superblock || salt == long) {
					continue // It takes seconds each.
				}
				want, got := name+".want", name+".got"
				flags := []string{
					"--data-block-size", "4096", "--hash-block-size", "4096", "--hash", "sha256", "--format", "1", "--salt", salt,
				}
				if superblock {
					flags = append(flags, "--uuid", uuid)
				} else {
					flags = append(flags, "--no-superblock", "--data-blocks", fmt.Sprint(size/4096))
				}
				_ = os.Remove(want)
				printed := tool(t, "veritysetup", append([]string{"format", name, want}, flags...)...)
				_, root, _ := strings.Cut(printed, "Root hash:")
				root, _, _ = strings.Cut(strings.TrimSpace(root), "\n")

				tree, err := os.Create(got)
				if err != nil {
					t.Fatal(err)
				}
				d := &measure.DMVerity{Tree: tree, Superblock: superblock, UUID: [16]byte(id)}
				if salt != "-" {
					if d.Salt, err = hex.DecodeString(salt); err != nil {
						t.Fatal(err)
					}
				}
				s := sums(t, name, measure.Wanted{DMVerity: d})
				if err := tree.Close(); err != nil {
					t.Fatal(err)
				}
				what := fmt.Sprintf("%d bytes, salt %.8s, superblock %v", size, salt, superblock)
				if d, w := s.Digests()[0], "dmverity-sha256;block=4096;salt="+salt+":"+root; d != w {
					t.Errorf("%s: got %s, want %s", what, d, w)
				}
				a, errA := os.ReadFile(want)
				b, errB := os.ReadFile(got)
				// veritysetup makes a file of one block where there is no tree.
				if size == 4096 && !superblock {
					b = append(b, make([]byte, len(a)-len(b))...)
				}
				if err := errors.Join(errA, errB); err != nil || !bytes.Equal(a, b) || len(b) != int(d.TreeSize(uint64(size))) {
					t.Errorf("%s: tree of %d bytes (%d), want %d: %v", what, len(b), d.TreeSize(uint64(size)), len(a), err)
					continue
				}
				if superblock {
					tool(t, "veritysetup", "verify", name, got, root)
				}
			}
		}
	}
}
