package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// errURI is a URI that names no key as it should.
var errURI = errors.New("PKCS #11 URI")

// maxURI is the longest URI, in bytes.
const maxURI = 4096

// keyURI is what a URI says (RFC 7512); empty members say nothing.
type keyURI struct {
	token, manufacturer, model, serial string
	object, id                         string
	slot                               *uint
	module, pinSource                  string
}

// parseURI parses a URI. An attribute that it does not know is an error: it would leave
// another key than was meant.
func parseURI(s string) (*keyURI, error) {
	rest, ok := strings.CutPrefix(s, "pkcs11:")
	if !ok || len(s) > maxURI {
		return nil, fmt.Errorf("%w: want pkcs11:… of at most %d bytes", errURI, maxURI)
	}
	u := &keyURI{}
	path, query, _ := strings.Cut(rest, "?")
	seen := map[string]bool{}
	each := func(list, separator string, take func(name, value string) error) error {
		for pair := range strings.SplitSeq(list, separator) {
			if pair == "" {
				continue
			}
			name, raw, ok := strings.Cut(pair, "=")
			value, err := url.PathUnescape(raw)
			if !ok || err != nil || value == "" || seen[name] {
				return fmt.Errorf("%w: attribute %.100q is empty, malformed or stands twice", errURI, name)
			}
			seen[name] = true
			if err := take(name, value); err != nil {
				return err
			}
		}
		return nil
	}
	if err := each(path, ";", u.path); err != nil {
		return nil, err
	}
	if err := each(query, "&", u.query); err != nil {
		return nil, err
	}
	if !filepath.IsAbs(u.module) {
		return nil, fmt.Errorf("%w: it must name the token's module: ?module-path=/usr/lib/…/….so", errURI)
	}
	return u, nil
}

// path takes one attribute of the path.
func (u *keyURI) path(name, value string) error {
	text := map[string]*string{
		"token": &u.token, "manufacturer": &u.manufacturer, "model": &u.model, "serial": &u.serial, "object": &u.object, "id": &u.id,
	}[name]
	switch {
	case text != nil:
		*text = value
	case name == "type" && value == "private":
	case name == "slot-id":
		n, err := strconv.ParseUint(value, 10, 32)
		if err != nil {
			return fmt.Errorf("%w: slot-id %.100q is no number", errURI, value)
		}
		u.slot = new(uint(n))
	default:
		return fmt.Errorf("%w: attribute %.100q is not known, or does not name a private key", errURI, name)
	}
	return nil
}

// query takes one attribute of the query.
func (u *keyURI) query(name, value string) error {
	switch name {
	case "module-path":
		u.module = value
	case "pin-source":
		u.pinSource = value
	case "pin-value":
		return fmt.Errorf("%w: pin-value would show in the list of processes; pin-source=file:PATH names a file", errURI)
	default:
		return fmt.Errorf("%w: attribute %.100q is not known", errURI, name)
	}
	return nil
}

// pin reads the PIN from where the URI says it is; empty if it says nothing.
func (u *keyURI) pin() (string, error) {
	if u.pinSource == "" {
		return "", nil
	}
	path := strings.TrimPrefix(strings.TrimPrefix(u.pinSource, "file:"), "//")
	st, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("pin-source: %w", err)
	}
	if !st.Mode().IsRegular() || st.Mode().Perm()&0o077 != 0 || st.Size() > 1024 {
		return "", fmt.Errorf("%w: pin-source %s is no small file that nobody else can read: chmod 600", errURI, path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("pin-source: %w", err)
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}
