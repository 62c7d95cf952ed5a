#!/usr/bin/env bash
# The main job, attested: Tesseract reads an invoice under a software TPM, a
# relying party verifies the record; then one byte of the weights changes, the
# text stays the same, and the verdict does not. Fails unless every step ends as
# it says. Everything it makes is under .demo.
set -eu -o pipefail
cd "$(dirname "$0")/.."

D=.demo
SWORN=bin/sworn
TPM=unix:$D/tpm/tpm.sock
CMD=(tesseract stdin stdout --tessdata-dir {weights.dir} -l eng {config})

die() { printf 'demo: FAILED: %s\n' "$*" >&2; exit 1; }
step() { printf '[%s/6] %s\n' "$1" "$2"; }
# show prints a command as it can be typed, and runs it.
show() {
	local word line='  $'
	for word; do
		if [[ $word =~ ^[A-Za-z0-9_./:=@{},+-]+$ ]]; then line+=" $word"; else line+=" '$word'"; fi
	done
	printf '%s\n' "$line"
	"$@"
}
# indent shows a command's output two columns in, and keeps its status.
indent() { "$@" 2>&1 | sed 's/^/  /'; }
random() { od -An -tx1 -N16 /dev/urandom | tr -d ' \n'; }

# weights prints where Debian or the user keeps Tesseract's English weights.
weights() {
	for dir in "${TESSDATA_PREFIX:-}" /usr/share/tesseract-ocr/*/tessdata /usr/share/tessdata; do
		[ -z "$dir" ] || [ ! -f "$dir/eng.traineddata" ] || { printf '%s' "$dir/eng.traineddata"; return; }
	done
	die "no eng.traineddata: apt-get install tesseract-ocr-eng"
}

cleanup() { [ ! -x "$SWORN" ] || "$SWORN" simulate tpm --dir "$D/tpm" --stop >/dev/null 2>&1 || true; }
trap cleanup EXIT

step 1 "packages   tesseract-ocr tesseract-ocr-eng swtpm swtpm-tools (apt): present"
for tool in tesseract swtpm swtpm_setup; do command -v "$tool" >/dev/null || die "$tool is missing: run make demo"; done
WEIGHTS=$(weights)

begun=$(date +%s)
make -s build >/dev/null
step 2 "build      $SWORN  $("$SWORN" measure "$SWORN" | cut -c1-19)…  $(($(date +%s) - begun)) s"

step 3 "a software TPM with a maker of its own"
cleanup
rm -rf "$D"
mkdir -p "$D"
if [ "$(id -u)" != 0 ] && [ -z "${XDG_RUNTIME_DIR:-}" ]; then
	mkdir -m 700 "$D/run"
	export XDG_RUNTIME_DIR=$PWD/$D/run
fi
indent show "$SWORN" simulate tpm --dir "$D/tpm" --detach

# attested PAGE-FLAGS…: one attested run of the demo's job.
attested() {
	show "$SWORN" run --tpm "$TPM" --config examples/ocr/invoice.cfg --env OMP_THREAD_LIMIT "$@" -- "${CMD[@]}"
}

step 4 "a known-good run becomes the policy"
export OMP_THREAD_LIMIT=1
indent attested --nonce "$(random)" --weights "$WEIGHTS" --input examples/ocr/golden.png \
	--output "$D/golden.txt" --record "$D/golden.cer.json"
cmp "$D/golden.txt" examples/ocr/golden.txt || die "the golden page reads otherwise"
WAIVE=(--waive "slot.measurement=software TPM: nothing was booted" --waive "launcher.rooted=software TPM: nothing was booted")
if [ -r /proc/swaps ] && awk 'NR > 1 && $1 !~ /zram/ { found = 1 } END { exit !found }' /proc/swaps; then
	printf '  this machine swaps to disk: the policy has to waive protection.memory, and the verdict will say so\n'
	WAIVE+=(--waive "protection.memory=the demo's machine swaps to disk")
fi
indent show "$SWORN" policy from-record "$D/golden.cer.json" --roots "$D/tpm/roots" -o "$D/policy.json" \
	--name "invoice-ocr, software TPM" "${WAIVE[@]}"

step 5 "the job: another page, a nonce chosen by the relying party"
NONCE=$(random)
indent attested --nonce "$NONCE" --disclose full --weights "$WEIGHTS" --input examples/ocr/page.png \
	--output "$D/page.txt" --record "$D/page.cer.json"
indent show cat "$D/page.txt"
cmp "$D/page.txt" examples/ocr/page.txt || die "the page reads otherwise"
verify() { show "$SWORN" verify --policy "$D/policy.json" --nonce "$NONCE" "$@"; }
indent verify --roots "$D/tpm/roots" --input examples/ocr/page.png --output "$D/page.txt" "$D/page.cer.json" |
	tee "$D/verdict.txt" || die "the record is not trusted"
grep -q '^  trusted, assuming: user-supplied root "SIMULATED TPM maker"' "$D/verdict.txt" || die "the headline is not the honest one"
grep -q 'slot.measurement; launcher.rooted' "$D/verdict.txt" || die "the headline hides an assumption"

# refused CHECK FLAGS…: verify must exit 1 and name the check in its first line.
refused() {
	local check=$1 status=0
	shift
	"$SWORN" verify --policy "$D/policy.json" --nonce "$NONCE" "$@" >"$D/refused.txt" 2>&1 || status=$?
	head -1 "$D/refused.txt" | sed 's/^/  /'
	[ "$status" = 1 ] || die "exit $status, wanted 1 ($check)"
	head -1 "$D/refused.txt" | grep -q "^not trusted: $check: " || die "the verdict does not name $check"
}

step 6 "one byte of the weights changed: the text comes out the same, the verdict does not"
mkdir "$D/altered"
cp "$WEIGHTS" "$D/altered/eng.traineddata"
chmod u+w "$D/altered/eng.traineddata"
byte=$(od -An -tu1 -j2000000 -N1 "$WEIGHTS" | tr -d ' ')
printf "$(printf '\\%03o' $((byte ^ 1)))" | dd of="$D/altered/eng.traineddata" bs=1 seek=2000000 conv=notrunc status=none
indent attested --nonce "$NONCE" --weights "$D/altered/eng.traineddata" --input examples/ocr/page.png \
	--output "$D/altered.txt" --record "$D/altered.cer.json"
cmp "$D/page.txt" "$D/altered.txt" || die "the text differs"
printf '  same text\n'
printf '  $ %s verify … %s\n' "$SWORN" "$D/altered.cer.json"
refused components.match --roots "$D/tpm/roots" "$D/altered.cer.json"
printf '  $ %s verify … without --roots %s\n' "$SWORN" "$D/page.cer.json"
refused slot.identity "$D/page.cer.json"
printf 'demo: ok (first verdict trusted, second refused). Next: %s inspect %s\n' "$SWORN" "$D/page.cer.json"
