#!/usr/bin/env bash
# Installs what the tests (or, with the argument "demo", "bench" or "vm", those)
# need beside Go, git and make, and is not there yet: Debian's packages, by
# apt-get, as root or through sudo. Says nothing where all is present. With "vm",
# apt's lists are renewed as long as there is no kernel in the cache of the tests
# with a virtual machine, which download one.
. "$(dirname "$0")/lib.sh"

missing=()
# want COMMAND PACKAGE...: the packages that bring a command.
want() { command -v "$1" >/dev/null || missing+=("${@:2}"); }

# openssl_headers reports whether a C program can include OpenSSL's.
openssl_headers() { printf '#include <openssl/evp.h>\n' | gcc -E -o /dev/null - 2>/dev/null; }

# english reports whether tesseract has its English weights.
english() { tesseract --list-langs 2>/dev/null | grep -qx eng; }

command -v go >/dev/null || fail "Go is not installed: version $(sed -n 's/^go //p' go.mod) or later is needed"

# stale reports whether the tests will have a kernel to download.
stale() {
	local cache=${SWORN_VM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sworn-vm}
	[ "$1" = vm ] && ! compgen -G "$cache/linux-*/boot/vmlinuz-*" >/dev/null
}

# file PATH PACKAGE: the package that brings a file that is no command.
file() { [ -e "$1" ] || missing+=("$2"); }

want swtpm swtpm
want swtpm_setup swtpm-tools
# What administrators run stands where only their PATH leads.
PATH=$PATH:/usr/sbin:/sbin
case ${1:-test} in
vm) ;;
*)
	want tesseract tesseract-ocr
	english || missing+=(tesseract-ocr-eng)
	;;
esac
case ${1:-test} in
bench)
	want openssl openssl
	want fsverity fsverity
	want node nodejs
	want npm npm
	;;
test)
	want gcc gcc libc6-dev
	want node nodejs
	want npm npm
	want fsverity fsverity
	want veritysetup cryptsetup-bin
	want mkfs.erofs erofs-utils
	want busybox busybox-static
	/usr/bin/python3 -c 'import json, zipfile, sysconfig' 2>/dev/null || missing+=(python3)
	want sbsign sbsigntool
	want chromium chromium fonts-dejavu-core
	[ -x /lib/systemd/systemd-measure ] || missing+=(systemd)
	[ -f /usr/lib/systemd/boot/efi/linuxx64.efi.stub ] || missing+=(systemd-boot-efi)
	openssl_headers || missing+=(libssl-dev)
	want openssl openssl
	want ssh-keygen openssh-client
	want softhsm2-util softhsm2
	;;
vm)
	want qemu-system-x86_64 qemu-system-x86
	want objcopy binutils
	want openssl openssl
	want sbsign sbsigntool
	want mcopy mtools
	want mkfs.vfat dosfstools
	want sfdisk fdisk
	want mkfs.ext4 e2fsprogs
	want debugfs e2fsprogs
	want mkfs.erofs erofs-utils
	want veritysetup cryptsetup-bin
	want fsverity fsverity
	want busybox busybox-static
	file /usr/share/OVMF/OVMF_CODE_4M.fd ovmf
	file /usr/lib/systemd/boot/efi/linuxx64.efi.stub systemd-boot-efi
	;;
esac
[ ${#missing[@]} -gt 0 ] || stale "${1:-test}" || exit 0

[ ${#missing[@]} -eq 0 ] || say "packages missing: ${missing[*]}"
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
[ ${#missing[@]} -gt 0 ] || exit 0
apt install --yes --no-install-recommends "${missing[@]}" || fail "cannot install ${missing[*]}"
say "packages installed"
