#!/usr/bin/env bash
# Makes testdata/golden anew: three records of one small job on a software TPM,
# the policy of the first, and the maker's root. Keys and salts are random, so
# that every run makes other files; it is run by hand when a format changes, and
# the tests read what is committed. Wants swtpm and swtpm-tools.
set -eu -o pipefail
cd "$(dirname "$0")/../.."

make -s build >/dev/null
sworn=$PWD/bin/sworn
out=$PWD/testdata/golden
tmp=$(mktemp -d)
cleanup() {
	"$sworn" simulate tpm --dir "$tmp/tpm" --stop >/dev/null 2>&1 || true
	rm -rf "$tmp"
}
trap cleanup EXIT
cd "$tmp"

# One nonce for each record; the relying party of these files chose them.
golden=11111111111111111111111111111111
page=00112233445566778899aabbccddeeff
full=ffeeddccbbaa99887766554433221100

printf 'weights of the golden job\n' >weights.bin
printf 'the known-good input\n' >golden.txt
printf 'the page\n' >page.txt
printf 'the page, disclosed: Rechnung über 1.284,50 €\n' >full.txt

"$sworn" simulate tpm --dir tpm --detach
export SWORN_GOLDEN=plain
for name in golden page full; do
	disclose=hash
	[ "$name" != full ] || disclose=full
	"$sworn" run --tpm unix:tpm/tpm.sock --state state --nonce "${!name}" --disclose "$disclose" \
		--weights weights.bin --env SWORN_GOLDEN --param seed=7 --param note=declared \
		--input "$name.txt" --output "$name.out" --record "$name.cer.json" -- cat '{weights}' -
done
"$sworn" policy from-record golden.cer.json --roots tpm/roots -o policy.json --name "golden job, software TPM" \
	--waive "slot.measurement=software TPM: nothing was booted" \
	--waive "launcher.rooted=software TPM: nothing was booted"
for name in page full; do
	"$sworn" verify --policy policy.json --roots tpm/roots --nonce "${!name}" \
		--input "$name.txt" --output "$name.out" --weights weights.bin "$name.cer.json"
done

rm -rf "$out/roots"
mkdir -p "$out/roots/tpm-ak"
cp tpm/roots/tpm-ak/*.pem "$out/roots/tpm-ak/"
for name in golden page full; do
	cp "$name.cer.json" "$out/"
	printf '%s\n' "${!name}" >"$out/$name.nonce"
	cp "$name.txt" "$out/$name.input"
	cp "$name.out" "$out/$name.output"
done
cp policy.json "$out/"
cp weights.bin "$out/"
date -u +%Y-%m-%dT%H:%M:%SZ >"$out/time"
