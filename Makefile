# Type "make" for the list of targets, "make check test" before a commit.

GO       ?= go
SEED     ?=
RUNS     ?=
TIME     ?= 30s
PACKAGES ?= ./...

.DEFAULT_GOAL := help
.PHONY: help build check test race golden sim fuzz process bench demo cluster soak clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/epaxos
	$(GO) build -o bin/epaxos ./cmd/epaxos

check: ## formatting, vet, tidy module, architecture
	.ci/run check

test: ## all tests
	$(GO) test ./...

race: ## all tests under the race detector
	.ci/run race

golden: ## rewrite golden files and docs/configuration.md; review the diff
	UPDATE_GOLDEN=1 $(GO) test -count=1 ./...

sim: ## simulated cluster: SEED= replays one seed, RUNS= tries that many
	$(GO) test -count=1 -timeout 0 -run TestSeeds ./internal/sim -args $(if $(SEED),-seed=$(SEED)) $(if $(RUNS),-runs=$(RUNS))

fuzz: ## every fuzz target for TIME= each
	FUZZ_TIME=$(TIME) .ci/run fuzz

process: ## real processes: kill -9, restart, verify the history
	$(GO) test -count=1 -timeout 20m ./internal/process

bench: ## benchmarks beside the code
	$(GO) test -run '^$$' -bench . -benchmem $(PACKAGES)

demo: ## a cluster in this process, with load, for ten seconds
	$(GO) run ./cmd/epaxos demo --duration 10s --verify

cluster: build ## three replicas on this machine, until interrupted
	bin/epaxos demo --replicas 3 --duration 0s

soak: ## the long proofs: many seeds, half an hour per fuzz target
	$(MAKE) sim RUNS=100000
	$(MAKE) fuzz TIME=30m

clean: ## remove what the other targets made
	rm -rf bin cluster
	$(GO) clean -testcache -fuzzcache
