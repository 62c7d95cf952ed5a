#!/usr/bin/env bash
# Runs the steps named (default: all, in this order), each timed, and goes on
# after one that failed, so that a run tells everything that is wrong. Ends with
# a table; fails if a step failed.
#
# What fails most and takes seconds stands first. A virtual machine has one processor,
# and its clocks need it: beside the step vm run the steps after it that mind no clock,
# and give way to it. Those that run jobs on software TPMs have the machine to themselves.
. "$(dirname "$0")/lib.sh"

all=(format arch tidy paths build vm pure vet lint generate wasm reproducible fuzz test simulator ego nexart)
steps=("$@")
[ $# -gt 0 ] || steps=("${all[@]}")

results=() failed=() began=$SECONDS pid=""
tmp=$(mktemp -d)
trap '[ -z "$pid" ] || kill -- "-$pid" 2>/dev/null || true; rm -rf "$tmp"' EXIT

# step NAME [COMMAND...] runs a step, by a command such as nice if there is one.
# A process of its own: strict mode does not hold inside an "if".
step() {
	local start=$SECONDS result=ok
	"${@:2}" bash tools/steps.sh "$1" </dev/null || result=FAILED
	printf '%s %d\n' "$result" $((SECONDS - start)) >"$tmp/$1"
}

# ended NAME says what came of a step.
ended() {
	local result took
	read -r result took <"$tmp/$1"
	[ "$result" = ok ] || failed+=("$1")
	results+=("$(printf '%-13s %4d s  %s' "$1" "$took" "$result")")
	say "-- $1: $result, $took s"
}

# join waits for the step vm if it runs beside the others, and shows what it printed.
join() {
	[ -n "$pid" ] || return 0
	wait "$pid"
	pid=""
	say; say "== vm, beside the steps above"
	cat "$tmp/log"
	ended vm
}

for i in "${!steps[@]}"; do
	name=${steps[i]}
	case $name in
	pure | vet | lint | generate | wasm | reproducible | fuzz) ;;
	*) join ;;
	esac
	if [ "$name" = vm ] && [ $((i + 1)) -lt ${#steps[@]} ]; then
		set -m # a group of its own, to be ended as one
		step vm >"$tmp/log" 2>&1 &
		pid=$!
		set +m
		continue
	fi
	say; say "== $name"
	if [ -n "$pid" ]; then step "$name" nice; else step "$name"; fi
	ended "$name"
done
join

say; say "== steps"
printf '%s\n' "${results[@]}"
printf '%-13s %4d s\n' all $((SECONDS - began))
[ ${#failed[@]} -eq 0 ] || fail "failed: ${failed[*]}"
