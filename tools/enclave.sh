#!/usr/bin/env bash
# Builds the launcher as an EGo enclave into the folder given (default bin), signs it, and
# writes down its unique id and signer id, which policies name. Needs EGo's toolchain,
# ego-go and ego (https://docs.edgeless.systems/ego); ends with status 2 where it is not
# installed.
#
# SWORN_SIGNING_KEY names the RSA key of the signer (openssl genrsa -out private.pem -3
# 3072): who has it can sign another enclave with the same signer id. Without it EGo makes a
# key in the folder, which is good for trying out. SWORN_EMBED names files that are
# embedded, below /embedded, and covered by the unique id.
. "$(dirname "$0")/lib.sh"

out=${1:-bin}
for command in ego-go ego; do
	command -v "$command" >/dev/null || {
		printf 'error: %s is not installed: no enclave was built. It is part of EGo: https://docs.edgeless.systems/ego\n' "$command" >&2
		exit 2
	}
done

# embedded prints the files to embed as a list in JSON.
embedded() {
	local file comma=""
	printf '['
	for file in ${SWORN_EMBED:-}; do
		[ -f "$file" ] || fail "SWORN_EMBED: no such file: $file"
		case $file in *[!A-Za-z0-9._/-]*) fail "SWORN_EMBED: letters, digits and ._/- alone: $file" ;; esac
		printf '%s{"source": "%s", "target": "/embedded/%s"}' "$comma" "$(realpath "$file")" "$(basename "$file")"
		comma=", "
	done
	printf ']'
}

mkdir -p "$out"
out=$(cd "$out" && pwd)
files=$(embedded)
key=private.pem
[ -z "${SWORN_SIGNING_KEY:-}" ] || key=$(realpath "$SWORN_SIGNING_KEY")
CGO_ENABLED=1 GOFLAGS= GOWORK=off ego-go build -tags ego -trimpath -buildvcs=false -ldflags=-buildid= -o "$out/sworn-enclave" ./cmd/sworn
sed -e 's|"files": \[\]|"files": '"$files"'|' -e 's|"key": "private.pem"|"key": "'"$key"'"|' enclave/egodev/enclave.json >"$out/enclave.json"
cd "$out"
ego sign enclave.json
ego uniqueid sworn-enclave >unique-id
ego signerid sworn-enclave >signer-id
say "enclave $out/sworn-enclave"
say "unique_id $(<unique-id)"
say "signer_id $(<signer-id)"
