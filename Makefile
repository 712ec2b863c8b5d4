# `make help` lists the targets. Whatever a target needs from Debian it installs through test/deps;
# Go and make are all that must be there.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

GO ?= go
# Before the first tag: a version below any that may follow, which Debian's and rpm's tools accept.
VERSION ?= $(shell git describe --tags --match 'v[0-9]*' --dirty 2>/dev/null || \
	echo "0.0.0-$$(git rev-list --count HEAD 2>/dev/null || echo 0).g$$(git rev-parse --short HEAD 2>/dev/null || echo unknown)")
LDFLAGS := -s -w -X main.version=$(VERSION)
GOBUILD = CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)'
TOOL := $(GO) tool -modfile=tools/go.mod

# Flags for every go test, e.g. TESTFLAGS='-v -run Failover'.
TESTFLAGS ?=
# Packages whose tests need a kernel with IPVS (build tag vm): those that ask only what the kernel
# says, which must pass on the oldest kernel supported, too, and those that measure time.
VM_KERNEL_PACKAGES ?= ./internal/ipvs ./internal/ipvsadm
VM_PACKAGES ?= ./test/lab ./test/e2e
# Tests of the latter that hold baton to no time, and so may run beside others.
VM_PATIENT ?= ^(TestTraffic|TestForwarding|TestIPv6|TestUDP|TestMetrics|TestDrain|TestRollingRestart|TestOverridesAreKept|TestColdStandby|TestSourceNAT|TestPreparedRealServer|TestDiscovery|TestConnectionSync.*|TestChecksThroughTheVIP|TestWeights)$$
VM_RUN := $(CURDIR)/test/vm/run
# The groups of test/deps that the tests need.
TEST_DEPS ?= build vm lab metrics decode servers

FUZZTIME ?= 60s
# A copy of the Go vulnerability database, for machines that cannot reach the service.
VULNDB ?= ../shared/vulndb.tar.gz

# Prefix of commands that need root. Only what must runs as root: Go builds as the user, so the
# user's caches stay the user's.
ifneq ($(shell id -u),0)
ROOT := sudo -E env "PATH=$$PATH:/usr/sbin:/sbin"
# The same for go test -exec, which takes words apart by itself.
ROOT_EXEC := -exec "sudo -E env 'PATH=$$PATH:/usr/sbin:/sbin'"
endif

# The tests measure time: two kinds of them at once would measure each other.
.NOTPARALLEL:

.PHONY: build
build: ## bin/baton, static
	$(GOBUILD) -o bin/baton ./cmd/baton

.PHONY: demo
demo: build ## the main job, shown on whatever machine this is
	test/deps vm lab
	$(GOBUILD) -o bin/demo ./test/demo
	test/vm/run bin/demo $(DEMO_ARGS)

.PHONY: test
test: vet test-unit test-sim test-netns test-vm ## everything that must pass

.PHONY: vet
vet:
	$(GO) vet ./...
	$(GO) vet -tags vm ./...

# Packages sorted by whether their tests build hosts out of namespaces: those need root, and run
# one at a time, because they measure time on the real clock.
LAB_IMPORT := $(shell sed -n 's/^module //p' go.mod)/test/lab
uses_lab = $(GO) list -f '{{.ImportPath}}{{range .Imports}} {{.}}{{end}}{{range .TestImports}} {{.}}{{end}}{{range .XTestImports}} {{.}}{{end}} {{.ImportPath}} ' ./... | \
	awk -v lab='$(LAB_IMPORT)' '{ found = index($$0 " ", " " lab " ") > 0 } found == $(1) { print $$1 }'

.PHONY: test-unit
test-unit: ## the tests that need no root and no network
	packages=$$($(call uses_lab,0))
	$(GO) test $(TESTFLAGS) $$packages

# How many courses of events the simulator of the election plays.
SIM_RUNS ?= 100000

.PHONY: test-sim
test-sim: ## the election, simulated by seeds
	BATON_SIM_RUNS=$(SIM_RUNS) $(GO) test -count=1 -run 'Simulation$$' -timeout 10m $(TESTFLAGS) ./internal/vrrp

.PHONY: test-netns
test-netns: build ## the tests with real sockets, between hosts made of network namespaces; as root
	test/deps $(TEST_DEPS)
	packages=$$($(call uses_lab,1))
	$(GO) test -count=1 -p 1 $(ROOT_EXEC) $(TESTFLAGS) $$packages

.PHONY: test-vm
test-vm: build ## the tests on Debian kernels with IPVS, under QEMU
	test/deps $(TEST_DEPS)
	empty=$$($(GO) list -tags vm -f '{{if not (or .TestGoFiles .XTestGoFiles)}}{{.ImportPath}}{{end}}' $(VM_PACKAGES) $(VM_KERNEL_PACKAGES))
	[ -z "$$empty" ] || { echo "no tests for the guest in: $$empty" >&2; exit 1; }
	in_guest() { VM_TIMEOUT=960 $(GO) test -timeout 15m -exec '$(VM_RUN)' -tags vm -count=1 -p 1 $(TESTFLAGS) "$$@"; }
	aside=$$(mktemp)
	both_kernels() {
		local failed=0
		KERNEL=6.12 SMP=1 in_guest $(VM_KERNEL_PACKAGES) || failed=1
		KERNEL=6.1 SMP=1 in_guest $(VM_KERNEL_PACKAGES) || failed=1
		return $$failed
	}
	both_kernels >"$$aside" 2>&1 &
	trap 'kill $$! 2>/dev/null || :; rm -f "$$aside"' EXIT
	failed=0
	KERNEL=6.12 in_guest -run '$(VM_PATIENT)' ./test/e2e || failed=1
	wait $$! || failed=1
	cat "$$aside"
	KERNEL=6.12 in_guest -skip '$(VM_PATIENT)' $(VM_PACKAGES) || failed=1
	exit $$failed

.PHONY: test-race
test-race: ## the unit tests under the race detector (needs a C compiler)
	packages=$$($(call uses_lab,0))
	CGO_ENABLED=1 $(GO) test -race $(TESTFLAGS) $$packages

.PHONY: lint
lint: ## formatting, vet, golangci-lint, shellcheck, known vulnerabilities
	test/deps lint
	unformatted=$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go' | while read -r file; do [ ! -e "$$file" ] || printf '%s\n' "$$file"; done))
	[ -z "$$unformatted" ] || { printf 'gofmt would change:\n%s\n' "$$unformatted" >&2; exit 1; }
	$(MAKE) vet
	$(TOOL) golangci-lint run
	shellcheck test/deps test/vm/run test/vm/init .ci/run
	$(MAKE) vulncheck

.PHONY: vulncheck
vulncheck:
	if [ ! -f '$(VULNDB)' ]; then
		echo "govulncheck: left out, there is no copy of its database at VULNDB=$(VULNDB)"
		exit 0
	fi
	database=$$(mktemp -d)
	trap 'rm -rf "$$database"' EXIT
	tar -xzf '$(VULNDB)' -C "$$database"
	index=$$(find "$$database" -path '*/index/db.json' -print -quit)
	[ -n "$$index" ] || { echo "$(VULNDB) holds no vulnerability database" >&2; exit 1; }
	$(TOOL) govulncheck -db "file://$${index%/index/db.json}" ./...

.PHONY: fuzz
fuzz: ## every fuzz target, each for FUZZTIME
	packages=$$($(GO) list ./...)
	found=0
	for package in $$packages; do
		targets=$$($(GO) test -list '^Fuzz' "$$package" | grep '^Fuzz' || :)
		for target in $$targets; do
			found=$$((found + 1))
			echo "== $$package $$target"
			$(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime '$(FUZZTIME)' -fuzzminimizetime 1x "$$package"
		done
	done
	[ "$$found" -gt 0 ] || { echo "no fuzz targets found" >&2; exit 1; }
	echo "fuzzed $$found targets, $(FUZZTIME) each"

.PHONY: bench
bench: build ## side by side with the peers
	test/deps vm lab bench
	$(GOBUILD) -o bin/bench ./test/bench
	$(ROOT) bin/bench $(BENCH_ARGS)

.PHONY: package
package: build ## deb and rpm, in dist
	mkdir -p dist
	for format in deb rpm; do
		VERSION='$(patsubst v%,%,$(VERSION))' $(TOOL) nfpm package -f packaging/nfpm.yaml -p "$$format" -t dist/
	done

.PHONY: vm
vm: ## RUN="command" as root on a Debian kernel with IPVS; KERNEL=6.12|6.1 MEM=MiB SMP=n
	[ -n "$$RUN" ] || { echo 'usage: make vm RUN="command" [KERNEL=6.12|6.1] [MEM=MiB] [SMP=n]' >&2; exit 2; }
	test/vm/run sh -c "$$RUN"
# The command reaches the shell through the environment and unexpanded, so that make does not
# take it apart.
override export RUN := $(value RUN)

.PHONY: clean
clean: ## what was built; the kernels in ~/.cache/baton stay
	rm -rf bin dist

.PHONY: help
help: ## this list
	awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Recipes are whole scripts; only those that a reader follows line by line are echoed.
.ONESHELL:
.SILENT: help lint vulncheck fuzz vm package
