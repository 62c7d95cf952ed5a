#!/usr/bin/env bash
# Runs the steps named (default: all, in this order), each timed, and goes on
# after one that failed, so that a run tells everything that is wrong. Ends with
# a table; fails if a step failed.
. "$(dirname "$0")/lib.sh"

all=(format arch vet staticcheck lint build test mutation simulator wasm nexart vm fuzz reproducible generate tidy paths)
steps=("$@")
[ $# -gt 0 ] || steps=("${all[@]}")

results=() failed=() began=$SECONDS
for step in "${steps[@]}"; do
	say; say "== $step"
	start=$SECONDS
	# A process of its own: strict mode does not hold inside an "if".
	if bash tools/steps.sh "$step" </dev/null; then
		result=ok
	else
		result=FAILED
		failed+=("$step")
	fi
	results+=("$(printf '%-13s %4d s  %s' "$step" $((SECONDS - start)) "$result")")
	say "-- $step: $result, $((SECONDS - start)) s"
done

say; say "== steps"
printf '%s\n' "${results[@]}"
printf '%-13s %4d s\n' all $((SECONDS - began))
[ ${#failed[@]} -eq 0 ] || fail "failed: ${failed[*]}"
