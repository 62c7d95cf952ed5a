#!/usr/bin/env bash
# Makes testdata/golden/tee anew: for each kind of confidential VM two records of one
# small job in simulated ones, and the policy of the first, whose image it names. Keys
# and salts are random, so that every run makes other files; it is run by hand when a
# format changes, and the tests read what is committed. Wants root, swtpm,
# swtpm-tools and jq.
set -eu -o pipefail
cd "$(dirname "$0")/../.."

make -s build >/dev/null
sworn=$PWD/bin/sworn
out=$PWD/testdata/golden/tee
tmp=$(mktemp -d)
served=
cleanup() {
	[ -z "$served" ] || kill "$served" 2>/dev/null || true
	"$sworn" simulate tpm --dir "$tmp/tpm" --stop >/dev/null 2>&1 || true
	rm -rf "$tmp"
}
trap cleanup EXIT
cd "$tmp"

# The relying party's nonces, of the first record and the second.
first=11111111111111111111111111111111
second=00112233445566778899aabbccddeeff
url=http://127.0.0.1:8098
cmdline="lockdown=integrity rd.systemd.gpt_auto=0"

"$sworn" simulate vendor --dir vendors --amd Milan --intel >/dev/null
"$sworn" simulate vendor --dir vendors --serve "${url#http://}" >served.log 2>&1 &
served=$!
printf 'the page\n' >input

# records KIND makes both records in one guest, with a TPM of its own.
records() {
	local kind=$1 tees="--tee $1" guest=(--tee "$1") run
	"$sworn" simulate tpm --dir "$tmp/tpm" --detach >/dev/null
	case $kind in
	tpm+sev-snp)
		tees="--tee tpm --tee sev-snp --tpm unix:$tmp/tpm/tpm.sock"
		guest=(--tee sev-snp)
		;;
	azure-*)
		tees="--tee $kind --tpm \$SWORN_TPM --metadata \$SWORN_METADATA"
		guest=(--tee "$kind" --tpm "unix:$tmp/tpm/tpm.sock")
		;;
	esac
	run="'$sworn' run $tees --kds $url --pcs $url --collateral-cache $tmp/cache --state $tmp/state-$kind --input input --output output"
	"$sworn" simulate tee --dir vendors "${guest[@]}" -- sh -ec \
		"$run --nonce $first --record first.cer.json -- cat -; $run --nonce $second --record second.cer.json -- cat -"
	cp -r tpm/roots/. vendors/roots/
	"$sworn" simulate tpm --dir "$tmp/tpm" --stop >/dev/null
	[ "$kind" = tpm+sev-snp ] || rm -r vendors/roots/tpm-ak
	rm -r tpm
}

mkdir made
for kind in sev-snp tdx azure-snp azure-tdx tpm+sev-snp; do
	records "$kind"
	name=${kind/+/-}
	# What is not simulated: what a TPM measured of the boot, and that the TPM beside a
	# confidential VM is that machine's.
	waive=()
	case $kind in
	tpm+sev-snp) waive=(slot.measurement composite.same-machine) ;;
	azure-*) waive=(launcher.rooted) ;;
	esac
	"$sworn" policy from-record first.cer.json --roots vendors/roots -o policy.json --name "golden job, $kind" \
		--waive "launcher.rooted=until the image is named" --waive "log.sole=until the image is named" \
		--waive "slot.measurement=until the image is named" --waive "composite.same-machine=until the image is named"
	"$sworn" policy from-launch --policy policy.json -o rooted.json --tee "${kind#tpm+}" --golden first.cer.json --roots vendors/roots \
		--name "golden guest" --launcher-inside --cmdline "lockdown=integrity rd.systemd.gpt_auto=0"
	jq -c --args '.waive = [$ARGS.positional[] | {check: ., reason: "simulated: nothing was booted, no machine is there"}]' "${waive[@]}" \
		<rooted.json >"made/$name.policy.json"
	cp first.cer.json "made/$name.first.cer.json"
	cp second.cer.json "made/$name.cer.json"
	"$sworn" verify --policy "made/$name.policy.json" --roots vendors/roots --nonce "$second" "made/$name.cer.json"
done
printf '%s\n' "$second" >made/tee.nonce
date -u +%Y-%m-%dT%H:%M:%SZ >made/time
cp -r vendors/roots made/

rm -rf "$out"
cp -r made "$out"
