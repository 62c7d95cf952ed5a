# Everything is done by the scripts in tools/; the targets only name it.
.PHONY: help build enclave test vm-test lint fix fuzz bench demo clean

help: ## what can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

build: ## bin/sworn and bin/sworn.html, the same bytes wherever they are built
	@bash tools/build.sh --page bin

enclave: ## the launcher as an SGX enclave, by EGo's toolchain (status 2 where it is not installed)
	@bash tools/enclave.sh bin

test: ## set up what is missing, then all tests and checks
	@bash tools/setup.sh
	@bash tools/check.sh

vm-test: ## a machine with measured boot, in a virtual machine
	@bash tools/check.sh vm

lint: ## the checks that run no code of ours
	@bash tools/check.sh format arch vet lint tidy paths

fix: ## let the linters mend what they can
	@bash tools/steps.sh fix

fuzz: ## every fuzz target for a while (SWORN_FUZZ_SECONDS, SWORN_FUZZ_BUDGET)
	@bash tools/check.sh fuzz

bench: ## what attestation costs here, against peers in the same run (docs/MEASURED.md)
	@bash tools/setup.sh bench
	@bash tools/build.sh --page bin
	@go run ./bench

demo: ## an attested OCR job on a software TPM, from measuring to refusing
	@bash tools/setup.sh demo
	@bash examples/demo.sh

clean: ## remove what was built
	@rm -rf bin dist .demo
