//go:build linux

package machine

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Evidence is what a machine's kernel knows of how it booted.
type Evidence struct {
	// EventLog is the log of firmware, loader and kernel, in the TCG's binary
	// format (PC Client Platform Firmware Profile, 10).
	EventLog []byte
	// IMA is the list of IMA in binary, IMAText the same as text.
	IMA, IMAText []byte
	// PCRs holds the values of the registers 0 to 23 for each active bank, by
	// the bank's name, such as "sha256".
	PCRs map[string][][]byte
	// SecureBoot is the content of the firmware's variable: 1 or 0; -1 if there
	// is none.
	SecureBoot int
}

// registers is how many registers a bank has.
const registers = 24

// Evidence reads what the kernel knows of the boot. The registers are read
// after the logs, which may have grown only by what this reading itself is. The
// errors are those of [Machine.Exec].
func (m *Machine) Evidence(ctx context.Context) (*Evidence, error) {
	e := &Evidence{PCRs: map[string][][]byte{}, SecureBoot: -1}
	const security = "/sys/kernel/security/"
	for name, to := range map[string]*[]byte{
		security + "tpm0/binary_bios_measurements":   &e.EventLog,
		security + "ima/binary_runtime_measurements": &e.IMA,
		security + "ima/ascii_runtime_measurements":  &e.IMAText,
	} {
		b, err := m.ReadFile(ctx, name)
		if err != nil {
			return nil, err
		}
		*to = b
	}
	for _, bank := range []string{"sha256", "sha384"} {
		for i := range registers {
			b, err := m.ReadFile(ctx, fmt.Sprintf("/sys/class/tpm/tpm0/pcr-%s/%d", bank, i))
			if err != nil {
				return nil, err
			}
			value, err := hex.DecodeString(strings.TrimSpace(string(b)))
			if err != nil || len(value) == 0 {
				return nil, fmt.Errorf("register %d of %s is %q: %w", i, bank, b, ErrGuest)
			}
			e.PCRs[bank] = append(e.PCRs[bank], value)
		}
	}
	if m.config.Boot == Legacy {
		return e, nil
	}
	const variable = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
	b, err := m.ReadFile(ctx, variable)
	if err != nil {
		return nil, err
	}
	if len(b) != 5 { // the attributes, 4 bytes, come first
		return nil, fmt.Errorf("the variable SecureBoot has %d bytes: %w", len(b), ErrGuest)
	}
	e.SecureBoot = int(b[4])
	return e, nil
}

// Save writes the evidence into a folder, which is made if need be: the files
// eventlog, ima_binary, ima_ascii, and pcrs_BANK, a JSON object of the register's
// number and its value in hexadecimal. The error wraps [ErrFiles].
func (e *Evidence) Save(dir string) error {
	files := map[string][]byte{"eventlog": e.EventLog, "ima_binary": e.IMA, "ima_ascii": e.IMAText}
	for bank, values := range e.PCRs {
		text := map[string]string{}
		for i, v := range values {
			text[strconv.Itoa(i)] = hex.EncodeToString(v)
		}
		b, err := json.Marshal(text)
		if err != nil {
			return fmt.Errorf("saving evidence: %w: %w", ErrFiles, err)
		}
		files["pcrs_"+bank] = b
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // G301: evidence is for everybody to read.
		return fmt.Errorf("saving evidence: %w: %w", ErrFiles, err)
	}
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil { //nolint:gosec // G306: as above.
			return fmt.Errorf("saving evidence: %w: %w", ErrFiles, err)
		}
	}
	return nil
}
