#!/usr/bin/env bash
# The checks, one function each; the argument names one. What a check looks at
# is found in the tree, and a check that finds nothing where there should be
# something fails.
. "$(dirname "$0")/lib.sh"

tmp=$(mktemp -d)
trap 'chmod -R u+w "$tmp"; rm -rf "$tmp"' EXIT

mapfile -t every < <(packages)
# For what makes much garbage and keeps little: a fifth less time, for some memory.
spacious=400
# In CI no result is taken from a cache.
fresh=(${CI:+-count=1})
# How gotest calls the go command.
go=(go)

# portable fills the array pure; it is empty only while no package is pure.
portable() {
	local list
	list=$(purelist)
	mapfile -t pure < <([ -z "$list" ] || say "$list")
	[ ${#pure[@]} -gt 0 ] || nothing "pure package" attest cer tpm verifier
}

# commands prints the pattern of the commands, if there are any.
commands() { [ ! -d cmd ] || say ./cmd/...; }

# page prints the command that is built for a browser, if it is there.
page() { [ ! -d cmd/sworn-wasm ] || say ./cmd/sworn-wasm; }

# target OS ARCH COMMAND... runs a command for a target, without C.
target() { GOOS=$1 GOARCH=$2 CGO_ENABLED=0 "${@:3}"; }

# gotest ARG...: go test, with its closing lines, what failed, and what was
# skipped and why; fails too if no test ran. Vet has steps of its own.
gotest() {
	[ -x "$tmp/testlog" ] || go build -C tools -o "$tmp/testlog" ./testlog
	"${go[@]}" test -json -vet=off -timeout 15m "${fresh[@]}" "$@" | "$tmp/testlog"
}

# nested prints the folders of the modules below the root.
nested() { files '*/go.mod' | xargs -r -n 1 dirname; }

format() {
	local list bin
	bin=$(tool gofumpt)
	list=$(files '*.go' | xargs -d '\n' "$bin" -l)
	[ -z "$list" ] || fail "not formatted, run gofumpt -w on:" $list
}

# The import table, purity, layout and sizes: first, because it takes a second.
arch() { go test -count=1 ./internal/archtest/...; }

# What the linters do not see: the files of other systems. The rest of go vet is among
# them, and staticcheck.
vet() {
	local os list
	portable
	list="${pure[*]} $(commands)"
	for os in darwin windows; do
		[ "$list" = " " ] || target $os amd64 go vet $list
	done
	list="${pure[*]} $(page)"
	[ "$list" = " " ] || target js wasm go vet $list
}

# One run sees the files of every tag, another those that a tag takes away.
lint() {
	local bin dir list root=$PWD
	bin=$(tool golangci-lint)
	export GOGC=$spacious
	"$bin" config verify
	CGO_ENABLED=1 "$bin" run --allow-parallel-runners --build-tags simulator,vm,ego "${every[@]}"
	list=$(tagged '!(simulator|vm|ego)')
	[ -z "$list" ] || "$bin" run --allow-parallel-runners $list
	for dir in $(nested); do
		(cd "$dir" && "$bin" run --allow-parallel-runners --config "$root/.golangci.yml" ./...)
	done
}

# fix is no check: it lets the linters mend what they can.
fix() {
	local bin
	bin=$(tool gofumpt)
	files '*.go' | xargs -d '\n' "$bin" -w
	bin=$(tool golangci-lint)
	"$bin" run --fix "${every[@]}"
}

build() {
	local os
	portable
	mkdir "$tmp/bin"
	target linux amd64 go build -o "$tmp/bin/" "${every[@]}"
	for os in linux darwin windows; do
		[ ${#pure[@]} -eq 0 ] || target $os amd64 go build "${pure[@]}"
		[ -z "$(commands)" ] || target $os amd64 go build -o "$tmp/bin/" $(commands)
	done
	[ -n "$(commands)" ] || nothing command cmd
	[ ${#pure[@]} -eq 0 ] || target js wasm go build "${pure[@]}"
	[ -z "$(page)" ] || target js wasm go build -o "$tmp/bin/" "$(page)"
	say "${#pure[@]} pure packages for linux, darwin, windows and js/wasm"
}

# "test" is a word of the shell. The race detector looks at every test of what has to do
# with the world. The pure packages have next to no goroutines, and verdicts take ten
# times as long under it: it sees those of their tests which are named for it, and
# internal/archtest wants one wherever there are goroutines.
race() {
	local dir list concurrent
	for dir in $(nested); do
		go=(go -C "$dir")
		gotest ./...
	done
	go=(go)
	portable
	list=$(go list "${every[@]}" | sed "s|^$(go list -m)|.|" | grep -v '^./internal/archtest') # which is a step of its own
	[ ${#pure[@]} -eq 0 ] || list=$(grep -vxF -f <(printf '%s\n' "${pure[@]}") <<<"$list")
	# A program with the race detector sleeps for a second before it ends, also those
	# that the tests run.
	export GORACE="atexit_sleep_ms=20${GORACE:+ $GORACE}" CGO_ENABLED=1
	gotest -race $list
	concurrent=$(purelist concurrent)
	[ -z "$concurrent" ] || gotest -race -run Concurrent $concurrent
}

# Every test of the pure packages: each bit and each member of real records, changed.
alone() {
	portable
	[ ${#pure[@]} -eq 0 ] || GOGC=$spacious CGO_ENABLED=0 gotest -timeout 45m "${pure[@]}"
}

simulator() {
	local list
	list=$(tagged simulator)
	[ -n "$list" ] || { nothing "file with the build tag simulator"; return; }
	CGO_ENABLED=1 gotest -tags simulator $list
}

# What is built for EGo's enclaves, by a plain C compiler: it must refuse to do anything
# outside of one. Where EGo's toolchain is not installed, "make enclave" must say so.
ego() {
	local list status=0
	list=$(tagged ego)
	[ -n "$list" ] || { nothing "file with the build tag ego" enclave/egodev; return; }
	command -v gcc >/dev/null || fail "gcc is missing: run tools/setup.sh"
	CGO_ENABLED=1 go build -tags ego -o "$tmp/sworn-ego" ./cmd/sworn
	CGO_ENABLED=1 gotest -tags ego ./enclave/...
	CGO_ENABLED=1 gotest -tags ego -run SGX ./cmd/sworn
	command -v ego-go >/dev/null && return
	bash tools/enclave.sh "$tmp/enclave" 2>"$tmp/said" || status=$?
	[ "$status" = 2 ] && grep -q 'ego-go is not installed' "$tmp/said" || fail "tools/enclave.sh ended with status $status, and said: $(<"$tmp/said")"
}

# The page runs the pure packages as js/wasm; so do their tests, under node, which takes
# ten to thirty times as long. Left out is what the step pure has seen and no system makes
# different: mutants by the thousand, comparisons with other implementations, what things
# cost, the seeds of fuzz targets, and goroutines, of which one runs at a time here. Every
# other test runs, those of every golden record and verdict among them. The environment is
# cut down because it has to fit into 12 KiB.
wasm() {
	local exec name keep=() but='^Fuzz|Flip|Bits?$|EveryMember|Mutation|Cut$|Edited$|Stripping$|Oracle|Costs?$|CostOf|Concurrent'
	portable
	[ ${#pure[@]} -gt 0 ] || return 0
	exec=$(go env GOROOT)/lib/wasm/go_js_wasm_exec
	[ -x "$exec" ] || fail "this Go has no $exec"
	for name in PATH HOME TMPDIR GOFLAGS GOPROXY GOSUMDB GOTOOLCHAIN GOMODCACHE GOCACHE CI SWORN_SHARED; do
		[ -z "${!name:-}" ] || keep+=("$name=${!name}")
	done
	go=(env -i "${keep[@]}" GOGC=$spacious GOOS=js GOARCH=wasm CGO_ENABLED=0 go)
	say "not here, by their names:" $(printf '%s/*_test.go\n' "${pure[@]/#./:(glob).}" | xargs -d '\n' git grep --untracked -hoE '^func (Test|Fuzz)\w+' -- |
		sed 's/^func //' | grep -E "$but" | sort -u)
	gotest -exec="$exec" -timeout 30m -skip "$but" "${pure[@]}"
}

# NexArt's own package, in the version and with the digest that the lock file
# names, verifies records made here. This project's verifier judges a thousand
# records made by it or by the documented rules, their projects, and what becomes of
# them by change. Without the package the step fails: it never passes unlooked.
nexart() {
	local dir=$tmp/nexart seed=${SWORN_SEED:-$(od -An -tu4 -N4 /dev/urandom | tr -d ' ')}
	command -v npm >/dev/null || fail "npm is missing: run tools/setup.sh"
	mkdir "$dir"
	cp tools/nexart/package.json tools/nexart/package-lock.json tools/nexart/*.mjs "$dir/"
	(cd "$dir" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) ||
		fail "npm cannot install NexArt's package; this step needs it"
	bash tools/build.sh "$dir/bin"
	records "$dir"
	(cd "$dir" && node records.mjs ./*.cer.json)
	go build -C tools/nexart -o "$dir/nexart" .
	say "random records, SWORN_SEED=$seed"
	node "$dir/bundles.mjs" "$seed" 1000 | "$dir/nexart"
}

# records DIR makes records of each kind there, on a software TPM.
records() {
	local dir=$1 sworn=$1/bin/sworn run
	"$sworn" simulate tpm --dir "$dir/tpm" --detach >/dev/null
	trap '"$tmp/nexart/bin/sworn" simulate tpm --dir "$tmp/nexart/tpm" --stop >/dev/null; chmod -R u+w "$tmp"; rm -rf "$tmp"' EXIT
	run=("$sworn" run -q --tpm "unix:$dir/tpm/tpm.sock" --state "$dir/state")
	printf 'Zeile "eins" <&> \\ \xc3\xa9 \xf0\x9f\x98\x80\n' >"$dir/text"
	head -c 3000 /dev/urandom >"$dir/bytes"
	"${run[@]}" --disclose full --input "$dir/text" --output "$dir/out" --record "$dir/full.cer.json" -- cat
	"${run[@]}" --disclose full --input "$dir/bytes" --output "$dir/out" --record "$dir/bytes.cer.json" -- cat
	"${run[@]}" --disclose hash --nonce 00112233445566778899aabbccddeeff --param temperature=0 --config "$dir/text" \
		--input "$dir/text" --output "$dir/out" --record "$dir/hash.cer.json" -- cat {config} -
	"${run[@]}" --disclose commit --param temperature=0 --param note=secret --config "$dir/text" \
		--input "$dir/bytes" --output "$dir/out" --record "$dir/commit.cer.json" -- cat {config} -
	[ -f "$dir/commit.cer.json.opening.json" ] || fail "nothing opens the record that commits"
	"${run[@]}" --disclose full --record "$dir/failed.cer.json" -- cat /no/such/file 2>/dev/null && fail "a job that fails succeeded"
	[ -f "$dir/failed.cer.json" ] || fail "the job that fails left no record"
}

# A machine with measured boot, in a virtual machine: what it needs and other
# tests do not is set up here. SWORN_VM_EVIDENCE names a folder for what it
# measured.
vm() {
	local list
	list=$(tagged vm)
	[ -n "$list" ] || { nothing "file with the build tag vm" simulator/machine; return; }
	bash tools/setup.sh vm
	gotest -timeout 25m -tags vm $list
}

# Every fuzz target for a while: SWORN_FUZZ_SECONDS (default 20) of one processor each,
# less, but never under 3, if all together would take more than SWORN_FUZZ_BUDGET
# (default 150) of all. As many run at a time as there are processors.
fuzz() {
	local jobs pkg dir list targets=() entry each=${SWORN_FUZZ_SECONDS:-20} budget=${SWORN_FUZZ_BUDGET:-150}
	list=$(files '*_test.go' | xargs -r -d '\n' grep -lE '^func Fuzz' | dirs)
	[ -n "$list" ] || { nothing "fuzz target" cer tpm verifier; return; }
	jobs=$(nproc) corpus=$(go env GOCACHE)/fuzz
	[ -z "${CI:-}" ] || corpus=$tmp/corpus # What earlier runs kept says nothing of this tree, and takes its time.
	export tmp corpus
	export -f fuzzbuild fuzzone say fail
	# The one that needs most comes first, so that the others find it built. Each is asked
	# for in its own folder, since it may belong to a module below the root.
	for dir in $list; do
		pkg=$(go -C "$dir" list -f '{{len .Deps}} {{.ImportPath}}' .)
		say "$pkg $dir"
	done | sort -rn | cut -d ' ' -f 2- >"$tmp/fuzzed"
	fuzzbuild $(head -n 1 "$tmp/fuzzed")
	sed 1d "$tmp/fuzzed" | xargs -r -P "$jobs" -L 1 bash -euo pipefail -c 'fuzzbuild "$@"' fuzzbuild
	while read -r pkg dir; do
		for entry in $(<"$tmp/fuzz/$pkg/list"); do
			targets+=("$pkg $dir $entry")
		done
	done <"$tmp/fuzzed"
	if [ $((each * ${#targets[@]})) -gt $((budget * jobs)) ]; then
		each=$((budget * jobs / ${#targets[@]}))
		[ "$each" -ge 3 ] || each=3
	fi
	say "${#targets[@]} fuzz targets, $each s each, $jobs at a time"
	printf '%s\n' "${targets[@]}" | xargs -P "$jobs" -L 1 bash -euo pipefail -c 'fuzzone "$@"' fuzzone "$each"
}

# fuzzbuild PACKAGE FOLDER builds a package's tests for fuzzing, once for all of its
# targets, and lists these.
fuzzbuild() {
	local at=$tmp/fuzz/$1
	mkdir -p "$at"
	go -C "$2" test -c -fuzz=. -ldflags=-w -o "$at/test" .
	(cd "$2" && "$at/test" -test.list '^Fuzz') | grep '^Fuzz' >"$at/list" || fail "$1 has fuzz targets that go test does not see"
}

# fuzzone SECONDS PACKAGE FOLDER TARGET runs a target as go test does. Where seeds and the
# inputs kept from earlier runs took all its time, as on a busy machine, it gets more.
# The testing package may report its own end of time as a failure of the target then,
# which is none if inputs were tried and none failed.
fuzzone() {
	local more execs name=$3 at=$tmp/fuzz/$2
	for more in 1 2 10; do
		[ -x "$at/test" ] || exit 255 # The step was ended: xargs then starts no other target.
		if ! (cd "$name" && "$at/test" -test.run '^$' -test.fuzz "^$4\$" -test.fuzztime "$(($1 * more))s" -test.fuzzminimizetime 1x \
			-test.fuzzcachedir "$corpus/$2" -test.parallel 1 -test.timeout 10m -test.paniconexit0) >"$at/$4" 2>&1; then
			grep -q 'context deadline exceeded' "$at/$4" && ! grep -qE 'Failing input|panic:' "$at/$4" || break
		fi
		if execs=$(grep -oE 'execs: [0-9]+' "$at/$4" | tail -n 1); then
			say "$name $4: $execs"
			return
		fi
	done
	say "$(<"$at/$4")"
	fail "$name $4 failed, or was not fuzzed in time"
}

# Two copies in folders of different names and depth, the second built with an
# empty cache: a cached package would make the comparison worth nothing.
reproducible() {
	local dir
	[ -n "$(commands)" ] || { nothing command cmd; return; }
	for dir in one two/and/deeper; do
		mkdir -p "$tmp/$dir"
		files | tar -c -T - | tar -x -C "$tmp/$dir"
	done
	bash "$tmp/one/tools/build.sh" --page "$tmp/bin1"
	GOCACHE=$tmp/cache bash "$tmp/two/and/deeper/tools/build.sh" --page "$tmp/bin2"
	(cd "$tmp/bin1" && sha256sum -- *) | tee "$tmp/sums"
	(cd "$tmp/bin2" && sha256sum --check --quiet "$tmp/sums") || fail "two builds differ"
	[ "$(ls "$tmp/bin1")" = "$(ls "$tmp/bin2")" ] || fail "two builds gave different files"
}

# state prints what tells one state of the work tree from another.
state() {
	git status --porcelain --untracked-files=all
	git diff HEAD
	git ls-files -z --others --exclude-standard | xargs -0 -r sha256sum
}

generate() {
	state >"$tmp/before"
	go generate "${every[@]}"
	state >"$tmp/after"
	cmp -s "$tmp/before" "$tmp/after" || {
		git --no-pager diff --stat
		fail "generated files were not up to date; the work tree has them now"
	}
}

tidy() {
	local mod bad=()
	for mod in $(files go.mod '*/go.mod'); do
		go -C "$(dirname "$mod")" mod tidy -diff || bad+=("$mod")
	done
	[ ${#bad[@]} -eq 0 ] || fail "not tidy: ${bad[*]}"
}

# No file names a path of the machine that it was written on.
paths() {
	local found folder=/work
	found=$(git grep --untracked -nIF -e "$folder/" -e "$PWD/" || true)
	[ -z "$found" ] || fail "paths of a machine:" "$found"
}

case ${1:-} in
test) race ;;
pure) alone ;;
format | arch | vet | lint | build | simulator | ego | wasm | nexart | vm | fuzz | reproducible | generate | tidy | paths | fix) "$1" ;;
*) fail "no such step: ${1:-}" ;;
esac
