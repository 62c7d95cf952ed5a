package archtest

import (
	"slices"
	"strings"
)

// directions is the import table, in the notation of go/build's deps_test:
// "a, b < c, d;" means that c and d may import a and b, and whatever those may
// import; "a !< b;" means that b must never import a. NONE stands for no
// package, TEE for every evidence format ([tees]), DEVICE for every package
// NAME/*dev below one of them, and OWN for the package that holds a DEVICE. A
// package below a listed one has its rank.
//
// This is the design. Nobody edits it to make a build pass: a change here goes
// with a decision record.
const directions = `
	# The vocabulary: standard library only.
	NONE
	< attest
	< internal/limits
	< cer, internal/dcap, internal/hcl, internal/bootlog;

	# One evidence format each; a new one needs no line here.
	internal/dcap, internal/hcl, internal/bootlog
	< TEE;
	TEE !< TEE;

	# Time-stamp tokens, which know nothing of records (docs/decisions/0028-time-stamps.md).
	internal/limits
	< verifier/stamp;

	cer, TEE, verifier/stamp
	< verifier;

	# Pure above this line: no device, no network, no files, no clock, no cgo.

	# What device packages share (docs/decisions/0020-configfs-tsm.md).
	attest, internal/limits
	< internal/tsm;

	OWN, internal/tsm
	< DEVICE;

	TEE, tpm/tpmdev
	< simulator;

	# The CA that certifies AKs (docs/decisions/0015-enrolment.md).
	cer, tpm/tpmdev
	< internal/enroll;

	# What vendors publish, from the network (docs/decisions/0023-collateral.md).
	cer, TEE
	< internal/collect;

	# Time-stamping authorities, from the network (docs/decisions/0028-time-stamps.md).
	cer, verifier/stamp
	< internal/tsp;

	# Attesters are handed in.
	cer
	< internal/launch;

	# Data, the checks of the source itself, and the browser that tests and bench look through
	# (docs/decisions/0035-html-report.md): they know no package.
	NONE < testdata, internal/archtest, internal/browser;

	verifier
	< cmd/sworn-wasm;

	verifier, DEVICE, simulator, internal/launch, internal/enroll, internal/collect, internal/tsp, testdata
	< cmd, examples, bench;

	internal/browser
	< bench;
`

// pureNodes names the nodes of the table above its line.
var pureNodes = []string{"attest", "internal/limits", "cer", "internal/dcap", "internal/hcl", "internal/bootlog", "TEE", "verifier/stamp", "verifier"}

// formats are the evidence formats that the design names.
var formats = []string{"tpm", "sev", "tdx", "enclave"}

// devices are the device packages that the design names.
var devices = []string{"tpm/tpmdev", "sev/sevdev", "tdx/tdxdev", "enclave/egodev"}

// topLevel lists the only names at the top level, beside dot-files.
var topLevel = []string{
	// Fixed by the project's owner.
	"cmd", "attest", "tpm", "sev", "tdx", "enclave", "simulator", "verifier", "testdata",
	"go.mod", "go.sum", "README.md",
	// The only others.
	"cer", "internal", "docs", "tools", "examples", "bench", "Makefile", "LICENSE",
}

// notForPure lists what a pure package never imports itself: what opens files,
// devices, sockets or processes, reads the environment, logs, goes past the type
// system, or belongs to tests. A package below one of these is refused too.
var notForPure = []string{"C", "os", "net", "syscall", "testing", "plugin", "log", "unsafe", "golang.org/x/sys"}

// harmless are the exceptions to notForPure: they parse and hold values.
var harmless = []string{"net/netip", "net/url", "net/textproto"}

// clock lists what a pure package never uses of package time.
var clock = []string{
	"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick",
	"NewTimer", "NewTicker", "Local", "LoadLocation",
}

// notBelowPure lists what no package of another module may import if a pure
// package reaches it. The standard library's own imports do not count:
// crypto/x509 has net below it for the sake of net.IP.
var notBelowPure = []string{"C", "net", "net/http", "os/exec", "testing", "plugin"}

// known lists the imports of other modules that notBelowPure forbids and that
// the design accepts, with the reason.
var known = map[string][]string{
	// go-tpm's tpm2 has its transport below it, and that the old tpmutil,
	// which can dial a simulator's socket. No code of ours calls it.
	"github.com/google/go-tpm/tpmutil": {"net"},
}

// deviceModules lists what opens devices, or carries what breaks the page (a
// logger, protobuf): no pure package reaches them.
var deviceModules = []string{
	"github.com/edgelesssys/ego",
	"github.com/google/go-configfs-tsm",
	"github.com/google/go-eventlog",
	"github.com/google/go-sev-guest",
	"github.com/google/go-tdx-guest",
	"github.com/google/go-tpm-tools",
	"github.com/google/go-tpm/tpm2/transport/linuxtpm",
	"github.com/google/go-tpm/tpm2/transport/linuxudstpm",
	"github.com/google/go-tpm/tpm2/transport/simulator",
	"github.com/google/go-tpm/tpm2/transport/tcp",
	"github.com/google/go-tpm/tpm2/transport/windowstpm",
	"github.com/google/logger",
}

// verifierModules lists the modules that the pure packages may import
// themselves: at most six, each with its reason in docs/ARCHITECTURE.md.
var verifierModules = []string{
	"github.com/google/go-tpm",
	"github.com/go-json-experiment/json",
	"github.com/transparency-dev/merkle",
	"golang.org/x/mod",
	"github.com/fxamacker/cbor/v2",
}

// maxFuncLines and maxFileLines bound a function and a file, tests apart.
const (
	maxFuncLines = 100
	maxFileLines = 500
)

// tableDirective exempts a file that is a table from maxFileLines; a reason
// follows it on the same line.
const tableDirective = "//sworn:table "

// sets returns what TEE and DEVICE stand for in a tree with these packages: a
// top-level directory that the design does not name counts as TEE.
func sets(packages []string) map[string][]string {
	tee, dev := slices.Clone(formats), slices.Clone(devices)
	for _, pkg := range packages {
		name := top(pkg)
		if !slices.Contains(tee, name) {
			if name == "." || slices.Contains(topLevel, name) {
				continue
			}
			tee = append(tee, name)
		}
		parts := strings.Split(pkg, "/")
		if len(parts) < 2 || !strings.HasSuffix(parts[1], "dev") {
			continue
		}
		if d := name + "/" + parts[1]; !slices.Contains(dev, d) {
			dev = append(dev, d)
		}
	}
	return map[string][]string{"TEE": tee, "DEVICE": dev, "NONE": nil}
}
