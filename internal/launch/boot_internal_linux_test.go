package launch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"testing"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
)

// logs are the logs of a machine, or why they cannot be read.
type logs struct {
	log, list    []byte
	err, listErr error
	after        []byte
}

func (l *logs) EventLog(context.Context) ([]byte, error) { return l.log, l.err }

func (l *logs) FileList(_ context.Context, ev *attest.Evidence) ([]byte, error) {
	if ev == nil {
		return l.list, l.listErr
	}
	return l.after, l.listErr
}

// TestReadBoot: what a launch announces of the boot it has to carry; what its user may
// not read is left out with a word, and any other failure ends the launch.
func TestReadBoot(t *testing.T) {
	denied := fmt.Errorf("open: %w", fs.ErrPermission)
	long := make([]byte, maxFirstList+1)
	for name, c := range map[string]struct {
		logs    logs
		facts   []string // eventlog is there, ima
		carried int
		warned  string
		err     error // of readBoot
		atEnd   error // of bootCollateral
	}{
		"both":                 {logs: logs{log: []byte("log"), list: []byte("list"), after: []byte("list, longer")}, facts: []string{"sha256:", cer.CarriedIMA}, carried: 2},
		"the log":              {logs: logs{log: []byte("log")}, facts: []string{"sha256:", cer.NoBootLog}, carried: 1},
		"the list":             {logs: logs{list: []byte("list"), after: []byte("list")}, facts: []string{cer.NoBootLog, cer.CarriedIMA}, carried: 1},
		"none":                 {},
		"not for this user":    {logs: logs{err: denied, listErr: denied}, warned: "root alone"},
		"a list that is long":  {logs: logs{log: []byte("log"), list: long}, facts: []string{"sha256:", cer.NoBootLog}, carried: 1, warned: "without it"},
		"a device that failed": {logs: logs{err: errors.New("no medium")}, err: ErrDevice},
		"a list that failed":   {logs: logs{listErr: errors.New("no medium")}, err: ErrDevice},
		"a list lost":          {logs: logs{list: []byte("list")}, facts: []string{cer.NoBootLog, cer.CarriedIMA}, atEnd: ErrDevice},
	} {
		var out bytes.Buffer
		l := &launch{o: &Options{Device: Device{Boot: &c.logs}, Log: slog.New(slog.NewTextHandler(&out, nil))}}
		if err := l.readBoot(t.Context()); !errors.Is(err, c.err) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if c.err != nil {
			continue
		}
		e := l.boot.environment()
		if (e == nil) != (c.facts == nil) {
			t.Errorf("%s: environment %+v", name, e)
		} else if e != nil {
			if _, err := e.Encode(); err != nil || !strings.HasPrefix(e.Facts[0].Value, c.facts[0]) || e.Facts[1].Value != c.facts[1] {
				t.Errorf("%s: %+v, %v", name, e, err)
			}
		}
		items, err := l.bootCollateral(t.Context(), &attest.Evidence{})
		if len(items) != c.carried || !errors.Is(err, c.atEnd) {
			t.Errorf("%s: %d items, %v", name, len(items), err)
		}
		if !strings.Contains(out.String(), c.warned) || c.warned == "" && out.Len() > 0 {
			t.Errorf("%s: said %q", name, out.String())
		}
	}
}
