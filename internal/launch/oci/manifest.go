//go:build linux

package oci

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// The media types of Docker, beside those of the image specification.
const (
	dockerIndex     = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerManifest  = "application/vnd.docker.distribution.manifest.v2+json"
	dockerConfig    = "application/vnd.docker.container.image.v1+json"
	dockerLayer     = "application/vnd.docker.image.rootfs.diff.tar"
	dockerLayerGzip = "application/vnd.docker.image.rootfs.diff.tar.gzip"
	dockerLayerZstd = "application/vnd.docker.image.rootfs.diff.tar.zstd"
)

func isIndex(mediaType string) bool {
	return mediaType == ispec.MediaTypeImageIndex || mediaType == dockerIndex
}

func isManifest(mediaType string) bool {
	return mediaType == ispec.MediaTypeImageManifest || mediaType == dockerManifest
}

// checkDigest accepts SHA-256 and nothing else.
func checkDigest(d digest.Digest) error {
	if err := d.Validate(); err != nil {
		return fmt.Errorf("%w: digest %.80q: %w", ErrFormat, string(d), err)
	}
	if d.Algorithm() != digest.SHA256 {
		return fmt.Errorf("%w: digest %.80q is not of SHA-256", ErrFormat, string(d))
	}
	return nil
}

// checkDescriptor checks what every descriptor must have.
func checkDescriptor(d ispec.Descriptor) error {
	if err := checkDigest(d.Digest); err != nil {
		return err
	}
	if d.Size < 0 {
		return fmt.Errorf("%w: %s has %d bytes", ErrFormat, d.Digest, d.Size)
	}
	if len(d.URLs) > 0 {
		return fmt.Errorf("%w: %s lies elsewhere, at URLs", ErrFormat, d.Digest)
	}
	return nil
}

// parse reads one strict JSON text: no duplicate members, no tail. Members that
// v does not have are left alone, as the image specification demands.
func parse(raw []byte, what string, v any) error {
	n := 0
	for _, c := range raw {
		if c == '{' || c == '[' || c == ',' {
			n++
		}
	}
	if n > maxValues {
		return fmt.Errorf("%w: %s has more than %d values", ErrLimit, what, maxValues)
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrFormat, what, err)
	}
	return nil
}

// shape is what tells an index from a manifest in a document itself.
type shape struct {
	SchemaVersion int            `json:"schemaVersion"`
	MediaType     string         `json:"mediaType"`
	Manifests     jsontext.Value `json:"manifests"`
	Config        jsontext.Value `json:"config"`
	Layers        jsontext.Value `json:"layers"`
}

// kind returns the media type of an index or a manifest, which must not be
// readable as both. want is the media type of the descriptor, or empty.
func kind(raw []byte, want string) (string, error) {
	var s shape
	if err := parse(raw, "index or manifest", &s); err != nil {
		return "", err
	}
	if s.SchemaVersion != 2 {
		return "", fmt.Errorf("%w: schema version %d", ErrFormat, s.SchemaVersion)
	}
	got := s.MediaType
	switch {
	case got == "" && want != "":
		got = want
	case got == "" && s.Manifests != nil:
		got = ispec.MediaTypeImageIndex
	case got == "":
		got = ispec.MediaTypeImageManifest
	}
	if want != "" && got != want {
		return "", fmt.Errorf("%w: a document of type %.80q is described as %.80q", ErrFormat, got, want)
	}
	index := s.Manifests != nil && s.Config == nil && s.Layers == nil
	manifest := s.Manifests == nil && s.Config != nil && s.Layers != nil
	if isIndex(got) && index || isManifest(got) && manifest {
		return got, nil
	}
	return "", fmt.Errorf("%w: a document of type %.80q is neither an index nor an image manifest", ErrFormat, got)
}

// parseManifest reads the bytes of an image manifest.
func parseManifest(raw []byte, mediaType string) (*ispec.Manifest, error) {
	mediaType, err := kind(raw, mediaType)
	if err != nil {
		return nil, err
	}
	if !isManifest(mediaType) {
		return nil, fmt.Errorf("%w: no image manifest, but %.80q", ErrFormat, mediaType)
	}
	var m ispec.Manifest
	if err := parse(raw, "manifest", &m); err != nil {
		return nil, err
	}
	if err := checkDescriptor(m.Config); err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	if m.Config.MediaType != ispec.MediaTypeImageConfig && m.Config.MediaType != dockerConfig {
		return nil, fmt.Errorf("%w: config of type %.80q", ErrFormat, m.Config.MediaType)
	}
	if len(m.Layers) == 0 {
		return nil, fmt.Errorf("%w: no layers", ErrFormat)
	}
	if len(m.Layers) > maxLayers {
		return nil, fmt.Errorf("%w: %d layers, at most %d", ErrLimit, len(m.Layers), maxLayers)
	}
	for i, l := range m.Layers {
		if err := checkDescriptor(l); err != nil {
			return nil, fmt.Errorf("layer %d: %w", i+1, err)
		}
		if _, err := compressionOf(l.MediaType); err != nil {
			return nil, fmt.Errorf("layer %d: %w", i+1, err)
		}
	}
	return &m, nil
}

// imageConfig is the part of an image's config that matters here.
type imageConfig struct {
	Architecture string            `json:"architecture"`
	OS           string            `json:"os"`
	Config       ispec.ImageConfig `json:"config"`
	RootFS       ispec.RootFS      `json:"rootfs"`
}

// parseConfig reads the bytes of an image's config.
func parseConfig(raw []byte) (*imageConfig, error) {
	var c imageConfig
	if err := parse(raw, "config", &c); err != nil {
		return nil, err
	}
	if c.OS != "linux" || c.Architecture != runtime.GOARCH {
		return nil, fmt.Errorf("%w: the image is for %.40q, not for linux/%s", ErrUsage, c.OS+"/"+c.Architecture, runtime.GOARCH)
	}
	if c.RootFS.Type != "layers" {
		return nil, fmt.Errorf("%w: rootfs of type %.40q", ErrFormat, c.RootFS.Type)
	}
	for _, d := range c.RootFS.DiffIDs {
		if err := checkDigest(d); err != nil {
			return nil, fmt.Errorf("diff_ids: %w", err)
		}
	}
	for _, e := range c.Config.Env {
		if strings.Index(e, "=") < 1 {
			return nil, fmt.Errorf("%w: environment variable without a name or a value", ErrFormat)
		}
	}
	texts := slices.Concat(c.Config.Env, c.Config.Entrypoint, c.Config.Cmd, []string{c.Config.WorkingDir, c.Config.User})
	for _, s := range texts {
		if strings.ContainsRune(s, 0) {
			return nil, fmt.Errorf("%w: the config holds a NUL", ErrFormat)
		}
	}
	return &c, nil
}

// checkLayout reads the marker file of a layout.
func checkLayout(ctx context.Context, src source) error {
	raw, err := readNamed(ctx, src, ispec.ImageLayoutFile)
	if err != nil {
		return err
	}
	var l ispec.ImageLayout
	if err := parse(raw, ispec.ImageLayoutFile, &l); err != nil {
		return err
	}
	if l.Version != ispec.ImageLayoutVersion {
		return fmt.Errorf("%w: image layout of version %.40q", ErrFormat, l.Version)
	}
	return nil
}

// findManifest goes from index.json, or from the digest of the reference, to the
// manifest of the image for this machine.
func findManifest(ctx context.Context, src source, tag string, want digest.Digest) (ispec.Descriptor, error) {
	var desc ispec.Descriptor
	if want == "" {
		raw, err := readNamed(ctx, src, ispec.ImageIndexFile)
		if err != nil {
			return desc, err
		}
		if desc, err = choose(raw, ispec.MediaTypeImageIndex, tag); err != nil {
			return desc, fmt.Errorf("choosing from index.json: %w", err)
		}
	} else {
		raw, err := readPinned(ctx, src, want)
		if err != nil {
			return desc, err
		}
		desc = ispec.Descriptor{Digest: want, Size: int64(len(raw))}
		if desc.MediaType, err = kind(raw, ""); err != nil {
			return desc, err
		}
	}
	for range maxIndexes {
		if isManifest(desc.MediaType) {
			return desc, nil
		}
		raw, err := readBlob(ctx, src, desc)
		if err != nil {
			return desc, fmt.Errorf("reading an index: %w", err)
		}
		at := desc.Digest
		if desc, err = choose(raw, desc.MediaType, ""); err != nil {
			return desc, fmt.Errorf("choosing from the index %s: %w", at, err)
		}
	}
	if !isManifest(desc.MediaType) {
		return desc, fmt.Errorf("%w: more than %d indexes one in another", ErrLimit, maxIndexes)
	}
	return desc, nil
}

// choose returns the one descriptor of an index that is for this machine, with
// the tag if there is one.
func choose(raw []byte, mediaType, tag string) (ispec.Descriptor, error) {
	mediaType, err := kind(raw, mediaType)
	if err != nil {
		return ispec.Descriptor{}, err
	}
	if !isIndex(mediaType) {
		return ispec.Descriptor{}, fmt.Errorf("%w: no index, but %.80q", ErrFormat, mediaType)
	}
	var x ispec.Index
	if err := parse(raw, "index", &x); err != nil {
		return ispec.Descriptor{}, err
	}
	// Best first: for this machine, for a variant of it, for none in particular.
	var fit [3][]ispec.Descriptor
	for _, d := range x.Manifests {
		if !isIndex(d.MediaType) && !isManifest(d.MediaType) || tag != "" && d.Annotations[ispec.AnnotationRefName] != tag {
			continue
		}
		if rank, ok := suits(d.Platform); ok {
			fit[rank] = append(fit[rank], d)
		}
	}
	for _, list := range fit {
		if len(list) > 1 {
			return ispec.Descriptor{}, fmt.Errorf("%w: %d images for linux/%s: name one by its tag or digest", ErrUsage, len(list), runtime.GOARCH)
		}
		if len(list) == 1 {
			return list[0], checkDescriptor(list[0])
		}
	}
	if tag != "" {
		return ispec.Descriptor{}, fmt.Errorf("%w: no image with the tag %.80q for linux/%s", ErrUsage, tag, runtime.GOARCH)
	}
	return ispec.Descriptor{}, fmt.Errorf("%w: no image for linux/%s", ErrUsage, runtime.GOARCH)
}

// suits tells how well a platform suits this machine, 0 being best.
func suits(p *ispec.Platform) (rank int, ok bool) {
	if p == nil {
		return 2, true
	}
	if p.OS != "linux" || p.Architecture != runtime.GOARCH {
		return 0, false
	}
	switch runtime.GOARCH + "/" + p.Variant {
	case runtime.GOARCH + "/", "amd64/v1", "arm64/v8":
		return 0, true
	}
	return 1, true
}

// makeManifest makes the manifest of an archive that has none.
func makeManifest(config ispec.Descriptor, layers []ispec.Descriptor) (*ispec.Manifest, []byte, error) {
	m := &ispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ispec.MediaTypeImageManifest,
		Config: config, Layers: layers,
	}
	raw, err := json.Marshal(m, json.Deterministic(true))
	if err != nil {
		return nil, nil, fmt.Errorf("%w: making the manifest: %w", ErrFormat, err)
	}
	return m, raw, nil
}
