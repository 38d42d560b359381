# Everything that is done here by typing make; make help lists it.
#
# The Go tool knows best what is out of date, so every program is built anew
# whenever it is asked for, and no rule names a source file.

# A container's first process runs in a root file system that may be empty:
# the programs bring their own code along.
export CGO_ENABLED = 0

stages   := 01 02 03 04 05 06
programs := $(stages:%=bin/stage%) bin/skiff bin/skiff-oci bin/final

# How long the tests of one package may take.
patience := 10m

.DEFAULT_GOAL := help
.PHONY: help build demo final test test-v2 conformance race lint text lines bench deps doctor clean FORCE
.PHONY: $(stages:%=stage%) $(stages:0%=stage%)

## stageN: build the program of stage N, 1 to 6, and let it show the stage's idea (root)
$(stages:0%=stage%): stage%: stage0%
	@:

$(stages:%=stage%): stage%: bin/stage%
	@$< demo

## final: the same for the finished runtime (root)
final: bin/final
	@$< demo

## demo: build everything, then pull an image and run it, before your eyes (root)
demo: build
	@bin/final demo

## build: build all programs into bin
build: $(programs)

$(stages:%=bin/stage%): bin/stage%: FORCE
	@go build -o $@ ./$(wildcard stage$*-*)

# A program's file ldflags has what the linker is told; tests build it so, too. Without
# symbols (-s -w), and skiff without the generator of manual pages in urfave/cli, a program
# that lives for some milliseconds starts half a millisecond sooner.
# What the linker writes lies in single pages in the page cache. A copy lies there
# in large pieces, as an installed program does, and starts sooner.
# Go's newer garbage collector keeps its marks on a page more of each piece of the heap
# (runtime/mgcmark_greenteagc.go, spanInlineMarkBits); in the life of skiff-oci nothing is collected. A Go that has no other is used as it is.
bin/skiff-oci: export GOEXPERIMENT = $(shell GOEXPERIMENT=nogreenteagc go version >/dev/null 2>&1 && echo nogreenteagc)
bin/skiff: tags = -tags urfave_cli_no_docs

bin/skiff bin/skiff-oci: bin/%: FORCE
	@go build $(tags) -ldflags '$(file < final/cmd/$*/ldflags)' -o $@.linked ./final/cmd/$*
	@install -m 755 $@.linked $@ && rm $@.linked

bin/final: FORCE
	@go build -o $@ ./final

FORCE:

## test: install what the tests need, where that may be done; lint; run all tests (root, or some are skipped)
test:
	@course/deps.sh || echo "make test: a test that needs one of these programs says so and is skipped; with CI=true it fails"
	@$(MAKE) --no-print-directory lint
	go test -count=1 -p 1 -timeout $(patience) work
	@$(MAKE) --no-print-directory test-v2 v2flags=-maybe

## test-v2: run the tests of what cgroup v2 changes, in a virtual machine that has no v1 (QEMU)
test-v2:
	go run ./course/cmd/vm $(v2flags)

## conformance: run the OCI's validation suite against skiff-oci; beside runc and crun: conformanceflags=-compare (root)
conformance: bin/skiff-oci
	@go run ./course/cmd/conformance $(conformanceflags)

## race: run the tests of the core under Go's race detector, and with its counters of coverage (root, gcc)
race:
	CGO_ENABLED=1 go test -race -count=1 -p 1 -timeout $(patience) \
		./stage01-chroot/plan/... ./stage02-namespaces/launch/... ./final/container/...
	go test -cover -count=1 -p 1 -timeout $(patience) ./stage01-chroot/plan/... ./stage02-namespaces/launch/...

## lint: look for mistakes (go vet for both machines, staticcheck) and for unformatted files (gofumpt)
lint:
	go vet work
	GOARCH=arm64 go vet work
	go tool staticcheck work
	@unformatted=$$(go tool gofumpt -l .) || exit 1; test -z "$$unformatted" || \
		{ echo "not formatted; go tool gofumpt -w mends it:" $$unformatted >&2; exit 1; }

## text: bring the code and transcripts shown in the text up to date, and check its links
text:
	@go run ./course/cmd/text -update

## lines: count the lines of our own source that skiff-oci stands on, by package
lines:
	@go run ./course/cmd/lines

## bench: compare skiff-oci with runc, crun and the same calls in C, pulls with podman's and containerd's, and launch with C, each in turn (root, gcc)
bench: bin/skiff-oci bin/skiff
	@go run ./course/bench
	@echo && go test -run '^$$' -bench . ./stage02-namespaces/launch

## deps: install the programs that tests and bench need, from Debian's packages (root)
deps:
	@course/deps.sh

## doctor: say what this machine lacks, and which stage needs it
doctor:
	@command -v go >/dev/null || { echo "MISSING Go: version 1.26 or newer builds skiff, https://go.dev/doc/install; under sudo keep PATH: sudo env PATH=\"\$$PATH\" make doctor" >&2; exit 1; }
	@$(MAKE) --no-print-directory bin/skiff
	@bin/skiff doctor

## clean: remove what make built
clean:
	@rm -rf bin

## help: this list
help:
	@awk -F ': ' '/^## / { printf "make %-11s %s\n", substr($$1, 4), $$2 }' Makefile
