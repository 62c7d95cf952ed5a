#!/usr/bin/env bash
# Installs what the tests (or, with the argument "demo" or "bench", those) need beside
# Go, git and make, and is not there yet: Debian's packages, by apt-get, as root
# or through sudo. Says nothing where all is present.
. "$(dirname "$0")/lib.sh"

missing=()
# want COMMAND PACKAGE...: the packages that bring a command.
want() { command -v "$1" >/dev/null || missing+=("${@:2}"); }

# openssl_headers reports whether a C program can include OpenSSL's.
openssl_headers() { printf '#include <openssl/evp.h>\n' | gcc -E -o /dev/null - 2>/dev/null; }

# english reports whether tesseract has its English weights.
english() { tesseract --list-langs 2>/dev/null | grep -qx eng; }

command -v go >/dev/null || fail "Go is not installed: version $(sed -n 's/^go //p' go.mod) or later is needed"

want swtpm swtpm
want swtpm_setup swtpm-tools
want tesseract tesseract-ocr
english || missing+=(tesseract-ocr-eng)
[ "${1:-test}" != bench ] || want openssl openssl
if [ "${1:-test}" = test ]; then
	want gcc gcc libc6-dev
	want node nodejs
	want npm npm
	want sbsign sbsigntool
	[ -x /lib/systemd/systemd-measure ] || missing+=(systemd)
	[ -f /usr/lib/systemd/boot/efi/linuxx64.efi.stub ] || missing+=(systemd-boot-efi)
	openssl_headers || missing+=(libssl-dev)
fi
[ ${#missing[@]} -gt 0 ] || exit 0

say "packages missing: ${missing[*]}"
command -v apt-get >/dev/null || fail "no apt-get here; install them by this system's own means"
sudo=()
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null || fail "neither root nor sudo; run: apt-get install ${missing[*]}"
	sudo=(sudo)
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# apt ARG...: apt-get, its output kept for the case that it fails.
apt() {
	"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
		apt-get -qq -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" >"$log" 2>&1 || {
		cat "$log" >&2
		return 1
	}
}
# A source that does not answer is no reason to stop: the packages may be known.
apt update || say "apt-get update failed, going on"
apt install --yes --no-install-recommends "${missing[@]}" || fail "cannot install ${missing[*]}"
say "packages installed"
