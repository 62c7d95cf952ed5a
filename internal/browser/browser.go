// Package browser drives a headless Chromium over a pipe, by the DevTools protocol: what
// tests and measurements need to see a document as people do. It belongs to them alone,
// and lets the browser reach no network.
package browser

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

// ErrMissing means that no Chromium is installed.
var ErrMissing = errors.New("no chromium")

// ErrBrowser is wrapped by every other error.
var ErrBrowser = errors.New("browser")

// Find returns the path of the Chromium that is installed. The error is [ErrMissing].
func Find() (string, error) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", ErrMissing
}

// message is one message of the protocol, either way.
type message struct {
	ID      int             `json:"id,omitempty"`
	Session string          `json:"sessionId,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  json.RawMessage `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

// Browser is a running Chromium. Its methods may be used by several goroutines.
type Browser struct {
	cmd     *exec.Cmd
	profile string
	to      *os.File
	from    *os.File

	mu      sync.Mutex
	last    int
	waiting map[int]chan message
	// events are those that came, by session.
	events map[string][]message
	failed error
	gone   chan struct{}
}

// Start starts a browser whose profile is in dir. It ends with the context, or by Close.
func Start(ctx context.Context, dir string) (*Browser, error) {
	path, err := Find()
	if err != nil {
		return nil, err
	}
	in, to, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBrowser, err)
	}
	from, out, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBrowser, err)
	}
	b := &Browser{profile: filepath.Join(dir, "profile"), to: to, from: from, waiting: map[int]chan message{}, events: map[string][]message{}, gone: make(chan struct{})}
	b.cmd = exec.CommandContext(ctx, path, "--headless=new", "--remote-debugging-pipe", "--user-data-dir="+b.profile,
		// Tests may run as root, and then there is no sandbox; what is opened is a test's own.
		"--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--force-color-profile=srgb",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--disable-default-apps", "--no-pings", "--host-resolver-rules=MAP * ~NOTFOUND", "about:blank")
	b.cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_CACHE_HOME="+dir)
	b.cmd.ExtraFiles = []*os.File{in, out}
	b.cmd.WaitDelay = 5 * time.Second
	together(b.cmd)
	if err := b.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBrowser, err)
	}
	_, _ = in.Close(), out.Close()
	go b.read()
	return b, nil
}

// Close ends the browser with all of its processes, and removes its profile, into which the
// last of them write.
func (b *Browser) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if _, err := b.call(ctx, "", "Browser.close", nil); err != nil {
		_ = b.cmd.Process.Kill()
	}
	_ = b.cmd.Wait()
	_ = b.to.Close()
	<-b.gone
	end(b.cmd)
	err := b.from.Close()
	for range 50 {
		if os.RemoveAll(b.profile) == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	return err
}

// read takes what the browser says until it ends.
func (b *Browser) read() {
	defer close(b.gone)
	r := bufio.NewReaderSize(b.from, 1<<16)
	for {
		line, err := r.ReadBytes(0)
		if err != nil {
			b.fail(err)
			return
		}
		var m message
		if err := json.Unmarshal(line[:len(line)-1], &m); err != nil {
			b.fail(err)
			return
		}
		b.mu.Lock()
		if m.ID == 0 {
			b.events[m.Session] = append(b.events[m.Session], m)
		} else if c := b.waiting[m.ID]; c != nil {
			delete(b.waiting, m.ID)
			c <- m
		}
		b.mu.Unlock()
	}
}

// fail ends every call that waits.
func (b *Browser) fail(err error) {
	if errors.Is(err, io.EOF) {
		err = errors.New("it ended")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failed = fmt.Errorf("%w: %w", ErrBrowser, err)
	for id, c := range b.waiting {
		delete(b.waiting, id)
		close(c)
	}
}

// call calls a method of the protocol and returns its result.
func (b *Browser) call(ctx context.Context, session, method string, params any) (json.RawMessage, error) {
	raw, err := json.Marshal(params)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrBrowser, method, err)
	}
	if params == nil {
		raw = nil
	}
	c := make(chan message, 1)
	b.mu.Lock()
	if b.failed != nil {
		defer b.mu.Unlock()
		return nil, b.failed
	}
	b.last++
	b.waiting[b.last] = c
	line, err := json.Marshal(message{ID: b.last, Session: session, Method: method, Params: raw})
	if err == nil {
		_, err = b.to.Write(append(line, 0))
	}
	b.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrBrowser, method, err)
	}
	select {
	case m, ok := <-c:
		switch {
		case !ok:
			return nil, fmt.Errorf("%w: %s: it ended", ErrBrowser, method)
		case m.Error != nil:
			return nil, fmt.Errorf("%w: %s: %s", ErrBrowser, method, m.Error.Message)
		}
		return m.Result, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %s: %w", ErrBrowser, method, ctx.Err())
	}
}

// seen returns the events of a session so far.
func (b *Browser) seen(session string) []message {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]message(nil), b.events[session]...)
}
