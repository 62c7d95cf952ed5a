//go:build vm

package machine_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/simulator/machine"
	"github.com/sworn-run/sworn/verifier"
)

// noise is reproducible noise.
func noise(size int) []byte {
	b := make([]byte, size)
	r := rand.New(rand.NewPCG(1, uint64(size)))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// protected is a machine with weights that its kernel can check.
type protected struct {
	*machine.Machine
	dir string
	// weights are the content of every weights.bin.
	weights []byte
	// block is where on the disk /dev/vda the first block of weights.bin stands.
	block int
}

// protectedMachine boots a machine with an ext4 disk that knows fs-verity. On it
// are weights, a large file, and a dm-verity volume of the weights.
func protectedMachine(t *testing.T) *protected {
	t.Helper()
	p := &protected{dir: folder(t), weights: noise(3<<20 + 17)}
	tree := filepath.Join(p.dir, "tree")
	for name, b := range map[string][]byte{
		"weights.bin": p.weights, "small.bin": noise(4096), "large.bin": bytes.Repeat([]byte("large\n"), 4<<20),
		"model/weights.bin": p.weights,
	} {
		file := filepath.Join(tree, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	must(t, built(t, sworn), "protect", "--volume", filepath.Join(tree, "model.img"), filepath.Join(tree, "model"))
	ext4 := filepath.Join(p.dir, "ext4.img")
	must(t, "mkfs.ext4", "-q", "-b", "4096", "-O", "verity", "-d", tree, ext4, "96M")
	blocks := must(t, "debugfs", "-R", "blocks /weights.bin", ext4)
	if i := strings.IndexByte(blocks, '\n'); strings.HasPrefix(blocks, "debugfs ") { // its version
		blocks = blocks[i+1:]
	}
	if _, err := fmt.Sscan(blocks, &p.block); err != nil || p.block == 0 {
		t.Fatalf("the disk holds the weights at %q", blocks)
	}
	p.Machine = boot(t.Context(), t, machine.Config{
		Dir: filepath.Join(p.dir, "m"), Boot: machine.Legacy, Init: built(t, guest), Timeout: bootLimit,
		Files: []machine.File{
			{Path: "/bin/sworn", Mode: 0o755, Source: built(t, sworn)},
			{Path: "/bin/busybox", Mode: 0o755, Source: "/bin/busybox"},
		},
		Modules: []string{"ext4", "erofs", "dm-verity", "loop"},
		Disks:   []machine.Disk{{Path: ext4}},
		Memory:  768,
	})
	if err := p.Mount(t.Context(), "/dev/vda", "/mnt", "ext4", 0, ""); err != nil {
		t.Fatal(err)
	}
	return p
}

// shell runs a script in the machine and returns its exit status and output.
func (p *protected) shell(t *testing.T, script string) (int, string) {
	t.Helper()
	r, err := p.Exec(t.Context(), machine.Command{
		Argv: []string{"/bin/busybox", "sh", "-c", script}, Env: []string{"PATH=/bin"}, Timeout: 10 * time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	return r.Code, string(r.Stdout) + string(r.Stderr)
}

// reading is a job that reads its weights, waits until it is attacked and its sleep
// killed, and reads them again.
const reading = `/bin/busybox sh -c '/bin/busybox sha256sum <$0; /bin/busybox sleep 555; /bin/busybox sha256sum <$0' `

// attack starts the job, attacks while it waits, and returns the record and the
// job's output.
func (p *protected) attack(t *testing.T, name, weights, file, attack string) (*cer.Bundle, string) {
	t.Helper()
	return p.attackWith(t, name, "--protect verity --weights "+weights, file, attack)
}

// attackWith is attack on a job that is given by other flags.
func (p *protected) attackWith(t *testing.T, name, flags, file, attack string) (*cer.Bundle, string) {
	t.Helper()
	script := fmt.Sprintf(`
sworn run -q --tpm /dev/tpmrm0 %s --output /tmp/%[2]s.txt --record /tmp/%[2]s.cer.json -- %s %s &
launcher=$!
waiting() { set -- $(busybox ps | busybox grep 'busybox sleep 555$'); echo "$1"; }
n=0; until [ "$(waiting)" ]; do n=$((n+1)); [ $n -lt 3000 ] || break; busybox sleep 0.1; done
%s
busybox sync
echo 3 >/proc/sys/vm/drop_caches
kill $(waiting) || echo "the job does not wait"
wait $launcher
echo "status $?"
`, flags, name, reading, file, attack)
	_, out := p.shell(t, script)
	t.Logf("%s: %s", name, strings.TrimSpace(out))
	record, err := p.ReadFile(t.Context(), "/tmp/"+name+".cer.json")
	if err != nil {
		t.Fatalf("%s: no record: %s", name, out)
	}
	if err := os.WriteFile(filepath.Join(p.dir, name+".cer.json"), record, 0o600); err != nil {
		t.Fatal(err)
	}
	text, err := p.ReadFile(t.Context(), "/tmp/"+name+".txt")
	if err != nil {
		t.Fatal(err)
	}
	c, err := cer.ParseCapsule(record)
	if err != nil {
		t.Fatal(err)
	}
	b, err := cer.ParseBundle(c.CER)
	if err != nil {
		t.Fatal(err)
	}
	return b, string(text)
}

// honest wants a job that read the measured bytes twice or, where the disk itself
// was attacked, failed at the second reading, and a record that says so.
func (p *protected) honest(t *testing.T, name string, b *cer.Bundle, out string, mayFail bool) {
	t.Helper()
	sum := sha256.Sum256(p.weights)
	line := hex.EncodeToString(sum[:]) + "  -\n"
	r, err := cer.ParseRuntime(b.Snapshot.Runtime)
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case out == line+line && r.Exit.Code == 0 && !mayFail:
	case out == line && r.Exit.Code != 0 && mayFail:
	default:
		t.Errorf("%s: the job read %q, exit code %d", name, out, r.Exit.Code)
	}
}

// Weights under fs-verity and on a dm-verity volume, attacked while the job
// reads.
func TestProtected(t *testing.T) {
	p := protectedMachine(t)
	code, out := p.shell(t, "sworn protect /mnt/weights.bin /mnt/small.bin /mnt/large.bin")
	digest := must(t, "fsverity", "digest", filepath.Join(p.dir, "tree", "weights.bin"))
	want := regexp.MustCompile(`sha256:([0-9a-f]{64})`).FindStringSubmatch(digest)[1]
	if code != 0 || !strings.Contains(out, "fsverity-sha256;block=4096:"+want+"  /mnt/weights.bin") {
		t.Fatalf("protect: %d: %s", code, out)
	}
	disk := fmt.Sprintf("busybox dd if=/dev/zero of=/dev/vda bs=4096 seek=%d count=1 conv=notrunc,fsync", p.block)
	back := fmt.Sprintf("busybox dd if=/tmp/block of=/dev/vda bs=4096 seek=%d count=1 conv=notrunc,fsync", p.block)
	if code, out := p.shell(t, fmt.Sprintf("busybox dd if=/dev/vda of=/tmp/block bs=4096 skip=%d count=1", p.block)); code != 0 {
		t.Fatal(out)
	}
	t.Run("fs-verity", func(t *testing.T) {
		for name, c := range map[string]struct {
			attack  string
			mayFail bool
		}{
			"overwritten":  {"echo evil >/mnt/weights.bin", false},
			"truncated":    {"busybox truncate -s 3 /mnt/weights.bin", false},
			"renamed-over": {"busybox cp /mnt/small.bin /mnt/evil; busybox mv /mnt/evil /mnt/weights.moved; busybox mv /mnt/weights.bin /mnt/kept; busybox mv /mnt/weights.moved /mnt/weights.bin", false},
			"covered":      {"busybox mount --bind /mnt/small.bin /mnt/weights.bin", false},
			"disk":         {disk, true},
		} {
			t.Run(name, func(t *testing.T) {
				b, out := p.attack(t, name, "/mnt/weights.bin", "{weights}", c.attack)
				p.honest(t, name, b, out, c.mayFail)
				p.shell(t, "busybox umount /mnt/weights.bin 2>/dev/null; [ ! -e /mnt/kept ] || busybox mv -f /mnt/kept /mnt/weights.bin;"+back+"; echo 3 >/proc/sys/vm/drop_caches")
			})
		}
	})
	t.Run("killed", func(t *testing.T) { p.killed(t) })
	t.Run("dm-verity", func(t *testing.T) {
		// The superblock says something else: nobody reads it.
		offset := mustOffset(t, filepath.Join(p.dir, "tree", "model.img"))
		if code, out := p.shell(t, fmt.Sprintf("busybox dd if=/dev/zero of=/mnt/model.img bs=4096 seek=%d count=1 conv=notrunc", offset/4096)); code != 0 {
			t.Fatal(out)
		}
		b, out := p.attack(t, "image-moved", "verity:/mnt/model.img.json", "{weights.dir}/weights.bin", "busybox mv /mnt/model.img /mnt/gone")
		p.honest(t, "image-moved", b, out, false)
		p.shell(t, "busybox mv /mnt/gone /mnt/model.img")
		image, err := os.ReadFile(filepath.Join(p.dir, "tree", "model.img"))
		if err != nil {
			t.Fatal(err)
		}
		at := bytes.Index(image, p.weights[:4096]) / 4096
		b, out = p.attack(t, "image-written", "verity:/mnt/model.img.json", "{weights.dir}/weights.bin",
			fmt.Sprintf("busybox dd if=/dev/zero of=/mnt/model.img bs=4096 seek=%d count=8 conv=notrunc,fsync", at))
		p.honest(t, "image-written", b, out, true)
		if code, out := p.shell(t, "ls /sys/block | busybox grep -c dm-"); code == 0 {
			t.Errorf("devices are left behind: %s", out)
		}
	})
	t.Run("verdict", func(t *testing.T) { p.verdict(t) })
	t.Run("cost", func(t *testing.T) { p.cost(t) })
}

// killed kills a launcher whose job reads a volume: the device that it leaves goes
// at a later launch, once it is old, and not while a launcher lives.
func (p *protected) killed(t *testing.T) {
	const run = "sworn run -q --tpm /dev/tpmrm0 --weights verity:/mnt/model.img.json --record /tmp/killed.cer.json -- "
	const begun = "n=0; until busybox ps | busybox grep -v sworn | busybox grep -q 'busybox sleep [3]0$'; do n=$((n+1)); [ $n -lt 3000 ] || break; busybox sleep 0.1; done\n"
	const count = "busybox ls /sys/block | busybox grep -c dm-\n"
	const later = "busybox date -s @$(($(busybox date +%s) + 1200)) >/dev/null\n"
	const back = "busybox date -s @$(($(busybox date +%s) - 1200)) >/dev/null\n"
	for _, step := range []struct{ name, script, want string }{
		{"killed", run + "/bin/busybox sleep 30 &\n" + begun + "kill -9 $!; wait $! 2>/dev/null; busybox sleep 1\n" + count, "1\n"},
		{"young", run + "/bin/busybox true && " + count, "1\n"},
		{"of one that lives", run + "/bin/busybox sleep 30 &\n" + begun + later +
			strings.Replace(run, "--tpm", "--pcr 12 --tpm", 1) + "/bin/busybox true && " + count + "kill -9 $!; wait $! 2>/dev/null; busybox sleep 1\n" + back + count, "1\n1\n"},
		{"old", later + run + "/bin/busybox true && " + count + back, "0\n"},
	} {
		if _, out := p.shell(t, step.script); out != step.want {
			t.Errorf("%s: devices are %q, want %q", step.name, out, step.want)
		}
	}
}

// mustOffset returns where the superblock of a volume's hash tree stands.
func mustOffset(t *testing.T, image string) int64 {
	t.Helper()
	b, err := os.ReadFile(image + ".json")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`"data_blocks": (\d+)`).FindSubmatch(b)
	var blocks int64
	if _, err := fmt.Sscan(string(m[1]), &blocks); err != nil {
		t.Fatal(err)
	}
	return blocks * 4096
}

// verdict verifies a record under a policy from another one: verity is what the
// policy accepts, and the kernel's digests are what it compares.
func (p *protected) verdict(t *testing.T) {
	roots := p.TPM().RootsDir()
	for _, pair := range [][3]string{
		{"covered", "overwritten", cer.ProtectionFSVerity},
	} {
		golden, record := filepath.Join(p.dir, pair[0]+".cer.json"), filepath.Join(p.dir, pair[1]+".cer.json")
		policy := filepath.Join(p.dir, pair[0]+".policy.json")
		must(t, built(t, sworn), "policy", "from-record", golden, "--roots", roots, "-o", policy,
			"--waive", "slot.measurement=not appraised here", "--waive", "launcher.rooted=as above")
		out := must(t, built(t, sworn), "verify", "--policy", policy, "--roots", roots, "--format", "json", record)
		if !strings.Contains(out, `"protection":"`+pair[2]+`"`) && !strings.Contains(out, `"protection": "`+pair[2]+`"`) {
			t.Errorf("%s: no file is under %s: %s", pair[1], pair[2], out)
		}
		b, err := os.ReadFile(policy)
		if err != nil {
			t.Fatal(err)
		}
		sealed := filepath.Join(p.dir, "sealed.policy.json")
		if err := os.WriteFile(sealed, bytes.Replace(b, []byte(`"`+verifier.ProtectionVerity+`"`), []byte(`"sealed"`), 1), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// cost launches with weights of 24 MiB under fs-verity that no cache holds: the kernel is
// asked for a digest, and reads next to nothing.
func (p *protected) cost(t *testing.T) {
	const limit = 4 << 20
	code, out := p.shell(t, `echo 3 >/proc/sys/vm/drop_caches
read() { set -- $(busybox cat /sys/block/vda/stat); echo "$3"; }
before=$(read)
sworn run -q --tpm /dev/tpmrm0 --protect verity --weights /mnt/large.bin --record /tmp/cost.cer.json -- /bin/busybox true || exit 1
echo $(($(read) - before))
`)
	const sector = 512
	var read int
	if _, err := fmt.Sscan(out, &read); err != nil || code != 0 || read == 0 || read*sector > limit {
		t.Errorf("a launch read %d bytes of the disk, want %d at most: exit status %d, %v: %s", read*sector, limit, code, err, out)
	}
}
