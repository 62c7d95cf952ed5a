# Sourced by the other scripts here: strict mode, the root of the checkout as
# working directory, and what several of them need.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# A checkout owned by another user, or none at all, must not change a build.
export GOFLAGS="-buildvcs=false${GOFLAGS:+ $GOFLAGS}"

# say prints one line of the script's own.
say() { printf '%s\n' "$*"; }

# fail says why on stderr and ends the script.
fail() {
	printf 'error: %s\n' "$*" >&2
	exit 1
}

# nothing WHAT [PATH...]: a check found nothing to look at. That is accepted
# while none of the paths is there, and is a failure from then on.
nothing() {
	local path
	for path in "${@:2}"; do
		[ ! -e "$path" ] || fail "found no $1, though $path is there: the check ran on nothing"
	done
	say "nothing yet: no $1"
}

# files [PATHSPEC...] prints what git tracks or would track, and is there.
files() {
	local name
	git ls-files -z --cached --others --exclude-standard --deduplicate -- "$@" |
		while IFS= read -r -d '' name; do
			[ ! -f "$name" ] || printf '%s\n' "$name"
		done
}

# dirs reads file names and prints their folders as "./folder", each once.
dirs() { sed -e 's|^|./|' -e 's|/[^/]*$||' | LC_ALL=C sort -u; }

# packages prints the patterns that name every package of the product; "./..."
# leaves out the data package for its name, as "./testdata/..." would.
packages() {
	say ./...
	[ -z "$(files ':(glob)testdata/*.go')" ] || say ./testdata
}

# purelist [concurrent] prints the pure packages, as the import table ranks them, or
# those of them that start goroutines.
purelist() { go run ./internal/archtest/purelist "$@"; }

# tagged TAG prints the folders of files whose build constraint names TAG.
tagged() {
	files '*.go' | xargs -r -d '\n' grep -lE "^//go:build (.*[^[:alnum:]_])?$1([^[:alnum:]_].*)?\$" | dirs || true
}

# tool NAME prints the path of a developer tool, which is built first if it is
# not there: from source, in the version that tools/go.mod pins, once for each
# version of it and of Go.
tool() {
	local name=$1 pkg version bin
	pkg=$(sed -n "s|^\t\(.*/$name\)\$|\1|p" tools/go.mod)
	[ -n "$pkg" ] || fail "tools/go.mod has no tool $name"
	version=$(awk -v pkg="$pkg/" '$1 !~ /\/\// && index(pkg, $1 "/") == 1 && NF > 1 {print $2}' tools/go.mod)
	[ -n "$version" ] || fail "tools/go.mod pins no version of $name"
	bin=$PWD/bin/tools/$name-$version-$(go env GOVERSION)
	if [ ! -x "$bin" ]; then
		say "building $name $version" >&2
		CGO_ENABLED=0 go build -C tools -trimpath -o "$bin.new" "$pkg"
		mv "$bin.new" "$bin"
	fi
	say "$bin"
}
