//go:build linux

package oci

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"regexp"
	"strings"

	"github.com/opencontainers/go-digest"
	ispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// archive is a source in a tar file: where each member begins, and its size.
// If the file changes later, what is read there fails its digest.
type archive struct {
	path    string
	members map[string]member
}

// member is a file in an archive, or a symbolic link.
type member struct {
	offset, size int64
	link         string
}

// openArchive lists the members of an archive.
func openArchive(ctx context.Context, name string) (*archive, error) {
	f, _, err := regular(os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	members, err := listArchive(ctx, f)
	if err != nil {
		return nil, err
	}
	return &archive{path: name, members: members}, nil
}

// listArchive reads the headers of an archive. The tar reader reads blocks and
// no further, so that after a header the file stands where the member begins.
func listArchive(ctx context.Context, f io.ReadSeeker) (map[string]member, error) {
	members := make(map[string]member)
	t := tar.NewReader(f)
	for n := 0; ; n++ {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return members, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%w: archive: %w", ErrFormat, err)
		}
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrIO, err)
		}
		if n == maxArchive {
			return nil, fmt.Errorf("%w: the archive has more than %d members", ErrLimit, maxArchive)
		}
		name := path.Clean(h.Name)
		m := member{size: h.Size}
		switch {
		case sparse(h):
			return nil, fmt.Errorf("%w: archive member %.80q is sparse", ErrFormat, h.Name)
		case h.Typeflag == tar.TypeDir:
			continue
		case h.Typeflag == tar.TypeSymlink && h.Linkname != "":
			m.link = path.Join(path.Dir(name), h.Linkname) //nolint:gosec // A name within the archive, looked up in it alone.
		case h.Typeflag != tar.TypeReg:
			return nil, fmt.Errorf("%w: archive member %.80q is of type %q", ErrFormat, h.Name, h.Typeflag)
		}
		if _, twice := members[name]; twice {
			return nil, fmt.Errorf("%w: archive member %.80q is there twice", ErrFormat, h.Name)
		}
		if m.offset, err = f.Seek(0, io.SeekCurrent); err != nil {
			return nil, fmt.Errorf("%w: archive: %w", ErrIO, err)
		}
		members[name] = m
	}
}

// has reports whether the archive has a file.
func (a *archive) has(name string) bool {
	_, ok := a.members[name]
	return ok
}

// find returns a member; docker save writes a layer that is there twice as a
// link to the first.
func (a *archive) find(name string) (member, error) {
	m, ok := a.members[path.Clean(name)]
	if ok && m.link != "" {
		m, ok = a.members[m.link]
	}
	if !ok || m.link != "" {
		return m, fmt.Errorf("%w: the archive has no file %.200q", ErrFormat, name)
	}
	return m, nil
}

// open opens a member of the archive.
func (a *archive) open(name string) (io.ReadCloser, int64, error) {
	m, err := a.find(name)
	if err != nil {
		return nil, 0, err
	}
	f, _, err := regular(os.OpenFile(a.path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0))
	if err != nil {
		return nil, 0, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.NewSectionReader(f, m.offset, m.size), f}, m.size, nil
}

// saved is one image in the manifest.json of docker save.
type saved struct {
	Config string   `json:"Config"`
	Layers []string `json:"Layers"`
}

// configName matches the names that tools give the config: its digest.
var configName = regexp.MustCompile(`^(?:sha256:|blobs/sha256/)?([0-9a-f]{64})(?:\.json)?$`)

// openSaved opens the image of an archive that has no image layout.
func (img *Image) openSaved(ctx context.Context, a *archive, want digest.Digest) error {
	raw, err := readNamed(ctx, a, "manifest.json")
	if err != nil {
		return err
	}
	var all []saved
	if err := parse(raw, "manifest.json", &all); err != nil {
		return err
	}
	if len(all) != 1 {
		return fmt.Errorf("%w: the archive holds %d images, not 1", ErrUsage, len(all))
	}
	config, c, err := readConfig(ctx, a, all[0].Config)
	if err != nil {
		return err
	}
	layers, err := describeLayers(ctx, a, all[0].Layers, c)
	if err != nil {
		return err
	}
	desc := ispec.Descriptor{MediaType: ispec.MediaTypeImageConfig, Digest: digest.FromBytes(config), Size: int64(len(config))}
	m, made, err := makeManifest(desc, layers)
	if err != nil {
		return err
	}
	if got := digest.FromBytes(made); want != "" && got != want {
		return fmt.Errorf("%w: the manifest is %s, not %s", ErrDigest, got, want)
	}
	img.Made, img.names = true, all[0].Layers
	return img.fill(made, m, config)
}

// readConfig reads the config of an archive; its name is its digest.
func readConfig(ctx context.Context, a *archive, name string) ([]byte, *imageConfig, error) {
	match := configName.FindStringSubmatch(name)
	if match == nil {
		return nil, nil, fmt.Errorf("%w: the config's name %.80q is no digest", ErrFormat, name)
	}
	raw, err := readNamed(ctx, a, name)
	if err != nil {
		return nil, nil, err
	}
	if got := digest.FromBytes(raw); got.Encoded() != match[1] {
		return nil, nil, fmt.Errorf("%w: the config %s is %s", ErrDigest, match[1], got)
	}
	c, err := parseConfig(raw)
	return raw, c, err
}

// describeLayers makes the descriptors of an archive's layers. A layer that is
// not compressed has its diff_id for a digest; whether that is true shows when it
// is unpacked.
func describeLayers(ctx context.Context, a *archive, names []string, c *imageConfig) ([]ispec.Descriptor, error) {
	if len(names) == 0 || len(names) != len(c.RootFS.DiffIDs) {
		return nil, fmt.Errorf("%w: %d layers and %d diff_ids", ErrFormat, len(names), len(c.RootFS.DiffIDs))
	}
	if len(names) > maxLayers {
		return nil, fmt.Errorf("%w: %d layers, at most %d", ErrLimit, len(names), maxLayers)
	}
	list := make([]ispec.Descriptor, len(names))
	for i, name := range names {
		var err error
		if list[i], err = describeLayer(ctx, a, name, c.RootFS.DiffIDs[i]); err != nil {
			return nil, fmt.Errorf("layer %d: %w", i+1, err)
		}
	}
	return list, nil
}

// describeLayer makes the descriptor of one layer.
func describeLayer(ctx context.Context, a *archive, name string, diffID digest.Digest) (ispec.Descriptor, error) {
	d := ispec.Descriptor{MediaType: ispec.MediaTypeImageLayer, Digest: diffID}
	f, size, err := a.open(name)
	if err != nil {
		return d, err
	}
	defer f.Close()
	d.Size = size
	b := bufio.NewReader(f)
	magic, err := b.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return d, fmt.Errorf("%w: %w", ErrIO, err)
	}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		d.MediaType = ispec.MediaTypeImageLayerGzip
	case bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		d.MediaType = ispec.MediaTypeImageLayerZstd
	default:
		return d, nil
	}
	h := sha256.New()
	if _, err := copyBytes(ctx, h, b); err != nil {
		return d, fmt.Errorf("%w: %w", ErrIO, err)
	}
	d.Digest = digest.NewDigest(digest.SHA256, h)
	return d, nil
}

// sparse reports whether a header describes a sparse file, whose size is what
// it claims and not what follows.
func sparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse") {
			return true
		}
	}
	return false
}
