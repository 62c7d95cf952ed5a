package collect

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"

	"github.com/go-json-experiment/json"
)

// cache is a folder of answers, one file each, named by SHA-256 of the URL. Nothing in
// it is trusted: whoever writes there can keep answers away, and forge none that a
// scheme would believe.
type cache struct {
	dir string
	log *slog.Logger
}

// entry is the content of a file.
type entry struct {
	// URL is what was asked for.
	URL string `json:"url"`
	// Chain and Body are the answer.
	Chain string `json:"chain"`
	Body  []byte `json:"body"`
	// Sum is SHA-256 of URL, Chain and Body, each with a zero byte behind it, in
	// hexadecimal: a file that was cut or changed by accident is told so.
	Sum string `json:"sum"`
}

// sum is what Sum is.
func (e *entry) sum() string {
	h := sha256.Sum256(bytes.Join([][]byte{[]byte(e.URL), []byte(e.Chain), e.Body, nil}, []byte{0}))
	return hex.EncodeToString(h[:])
}

// maxChain bounds the header that carries certificates, in bytes.
const maxChain = 128 << 10

// entryName is the name of an answer's file.
func entryName(url string) string {
	h := sha256.Sum256([]byte(url))
	return hex.EncodeToString(h[:]) + ".json"
}

// load returns what is kept of a resource; nil for nothing that can be used.
func (c *cache) load(r *resource) *answer {
	if c == nil {
		return nil
	}
	e, err := c.read(r)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		c.log.Warn("kept collateral cannot be used, and is asked for anew", "item", r.name, "error", err.Error())
		return nil
	}
	return &answer{Body: e.Body, Chain: e.Chain}
}

// read reads the file of a resource.
func (c *cache) read(r *resource) (*entry, error) {
	root, err := os.OpenRoot(c.dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	name := entryName(r.url)
	// Whoever may write here can leave a FIFO, which would wait for ever.
	st, err := root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file: %w", name, ErrAnswer)
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	// Base64, names and a header that may be all escapes.
	limit := int64(2*r.limit + 6*maxChain)
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	var e entry
	if int64(len(b)) > limit || json.Unmarshal(b, &e, json.RejectUnknownMembers(true)) != nil {
		return nil, fmt.Errorf("%s is no kept answer: %w", name, ErrAnswer)
	}
	if e.URL != r.url || len(e.Body) > r.limit || len(e.Chain) > maxChain || e.Sum != e.sum() {
		return nil, fmt.Errorf("%s is damaged, or another answer: %w", name, ErrAnswer)
	}
	return &e, nil
}

// save keeps an answer. A folder that cannot be written is told to the log, and
// nothing else comes of it.
func (c *cache) save(r *resource, a *answer) {
	if c == nil {
		return
	}
	if err := c.write(r, a); err != nil {
		c.log.Warn("collateral cannot be kept", "item", r.name, "error", err.Error())
	}
}

// write writes the file of a resource in one step.
func (c *cache) write(r *resource, a *answer) error {
	e := &entry{URL: r.url, Chain: a.Chain, Body: a.Body}
	e.Sum = e.sum()
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return err
	}
	root, err := os.OpenRoot(c.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	name := entryName(r.url)
	part := "." + name + ".tmp-" + rand.Text()
	f, err := root.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if e := f.Sync(); err == nil {
		err = e
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = root.Rename(part, name)
	}
	if err != nil {
		_ = root.Remove(part)
	}
	return err
}
