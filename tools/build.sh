#!/usr/bin/env bash
# Builds the commands into the folder given (default bin) so that the same
# source gives the same bytes wherever it is built: no paths, no build id, no C.
# GOOS and GOARCH choose another target. With --page before the folder it makes the page
# for a browser too, with --sigstore sworn-sigstore, a module of its own with some eighty
# below it; with --pkcs11, sworn-pkcs11, which needs a C compiler and is not the same bytes
# everywhere.
. "$(dirname "$0")/lib.sh"

sigstore='' page='' pkcs11=''
while [ $# -gt 0 ]; do
	case $1 in
	--sigstore) sigstore=yes ;;
	--page) page=yes ;;
	--pkcs11) pkcs11=yes ;;
	*) break ;;
	esac
	shift
done
out=${1:-bin}
mkdir -p "$out"
export CGO_ENABLED=0 GOFLAGS= GOWORK=off GOAMD64=v1
mapfile -t commands < <(go list -f '{{if eq .Name "main"}}{{.ImportPath}}{{end}}' ./cmd/...)
[ ${#commands[@]} -gt 0 ] || fail "there is no command to build"
go build -trimpath -buildvcs=false -ldflags=-buildid= -o "$out/" "${commands[@]}"
rm -f "$out/sworn-wasm" "$out/sworn-wasm.exe" # puts the page together, and is of no use without
if [ -n "$page" ]; then
	parts=$(mktemp -d)
	trap 'rm -rf "$parts"' EXIT
	GOOS=js GOARCH=wasm go build -trimpath -buildvcs=false -ldflags='-buildid= -s -w' -o "$parts/verifier.wasm" ./cmd/sworn-wasm
	GOOS='' GOARCH='' go run ./cmd/sworn-wasm "$parts/verifier.wasm" "$(go env GOROOT)/lib/wasm/wasm_exec.js" \
		testdata/golden/full.cer.json testdata/golden/policy.json "$out/sworn.html"
fi
if [ -n "$sigstore" ]; then
	out=$(cd "$out" && pwd)
	go -C cmd/sworn-sigstore build -trimpath -buildvcs=false -ldflags=-buildid= -o "$out/" .
fi
if [ -n "$pkcs11" ]; then
	out=$(cd "$out" && pwd)
	CGO_ENABLED=1 go -C cmd/sworn-pkcs11 build -trimpath -buildvcs=false -ldflags=-buildid= -o "$out/" .
fi
