#!/usr/bin/env bash
# Builds the commands into the folder given (default bin) so that the same
# source gives the same bytes wherever it is built: no paths, no build id, no C.
# GOOS and GOARCH choose another target. With --sigstore before the folder it
# builds sworn-sigstore too, a module of its own with some eighty below it.
. "$(dirname "$0")/lib.sh"

sigstore=
if [ "${1:-}" = --sigstore ]; then
	sigstore=yes
	shift
fi
out=${1:-bin}
mkdir -p "$out"
export CGO_ENABLED=0 GOFLAGS= GOWORK=off GOAMD64=v1
mapfile -t commands < <(go list -f '{{if eq .Name "main"}}{{.ImportPath}}{{end}}' ./cmd/...)
[ ${#commands[@]} -gt 0 ] || fail "there is no command to build"
go build -trimpath -buildvcs=false -ldflags=-buildid= -o "$out/" "${commands[@]}"
if [ -n "$sigstore" ]; then
	out=$(cd "$out" && pwd)
	go -C cmd/sworn-sigstore build -trimpath -buildvcs=false -ldflags=-buildid= -o "$out/" .
fi
