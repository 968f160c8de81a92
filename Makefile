# Type "make" for the list of targets, "make check test" before a commit.

GO       ?= go
SEED     ?=
RUNS     ?=
INPUTS   ?= 200000
WHAT     ?= r1,three,five,r2
PACKAGES ?= ./...
MUTANTS  ?=

.DEFAULT_GOAL := help
.PHONY: help build check test race golden sim baselines schedules coverage mutants explore fuzz process robustness life bench demo experiments experiments-real cluster soak endurance once counting watching locks clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/epaxos
	$(GO) build -o bin/epaxos ./cmd/epaxos

check: ## formatting, vet, tidy module, architecture
	.ci/run check

test: ## all tests
	$(GO) test ./...

race: ## all tests under the race detector
	.ci/run race

golden: ## rewrite golden files, the answers of scripts and docs/configuration.md; review the diff
	UPDATE_GOLDEN=1 $(GO) test -count=1 -skip 'TestRandomSchedules|TestExplore' $$(grep -rl UPDATE_GOLDEN --include='*_test.go' . | xargs -n1 dirname | sort -u)

# Behind -args, since go test has a -trace of its own.
sim: ## simulated clusters: SEED= replays one seed with its trace, RUNS= tries that many
	$(GO) test -count=1 -timeout 0 -v -run 'TestSeeds$$' ./internal/sim -args \
		$(if $(SEED),-seed=$(SEED) -trace) $(if $(RUNS)$(SEED),-runs=$(or $(RUNS),1))

baselines: ## the protocols that the experiments compare with, on simulated clusters: SEED= and RUNS= likewise, for each
	$(GO) test -count=1 -timeout 0 -v -run 'TestBaselines$$' ./internal/sim -args \
		$(if $(SEED),-baseline=$(SEED)) $(if $(RUNS),-baselines=$(RUNS))

schedules: ## random schedules of the bare core: SEED= and RUNS= likewise, for each size of cluster
	$(GO) test -count=1 -timeout 0 -v -run TestRandomSchedules ./epaxos -args \
		$(if $(SEED),-seed=$(SEED)) $(if $(RUNS)$(SEED),-runs=$(or $(RUNS),1))

coverage: ## what simulation alone reaches of the pure packages: RUNS= seeds, 400 by default
	.ci/coverage $(or $(RUNS),400) 95

mutants: ## planted faults, each of which a checker must notice: MUTANTS= a regular expression of names
	$(GO) run ./internal/mutants -v $(if $(MUTANTS),-run '$(MUTANTS)')

explore: ## every schedule of a small cluster: WHAT=quick,r1,r2,three,five, MEMORY= in GiB, TIME= for each
	$(GO) test -count=1 -timeout 0 -v -run 'TestExplore' ./epaxos -args \
		-explore=$(WHAT) $(if $(MEMORY),-explore-memory=$(MEMORY)) $(if $(TIME),-explore-time=$(TIME))

fuzz: ## every fuzz target with INPUTS= each
	FUZZ_RUNS=$(INPUTS) .ci/run fuzz

process: ## real processes under kill -9, bad networks and bad disks: a short selection
	$(GO) test -count=1 -v -timeout 20m ./internal/process

# A seed of its own for each run, unless one is given: the table is for finding, not for comparing.
robustness: ## real processes, the whole table: SCENARIO= runs those with this in their name, SEED= their choices
	$(GO) test -count=1 -v -timeout 60m -run TestScenarios ./internal/process -args \
		$(if $(SCENARIO),-scenario=$(SCENARIO),-robustness) -seed=$(or $(SEED),$$(date +%s))

life: ## real processes, from 3 replicas to 7 and back, one of them killed, under load: OPERATIONS= between changes
	$(GO) test -count=1 -v -timeout 0 -run 'TestLife|TestCatchUp' ./internal/process -args -life=$(or $(OPERATIONS),5000)

bench: ## benchmarks beside the code
	$(GO) test -run '^$$' -bench . -benchmem $(PACKAGES)

demo: ## a cluster in this process, with load, for ten seconds
	$(GO) run ./cmd/epaxos demo --duration 10s --verify

# Virtual time: the two runs of each experiment must write the same bytes.
experiments: build ## EPaxos beside the Paxos family, in virtual time, twice: OUT= is where results go
	for run in first second; do for name in family conflict-rate; do \
		bin/epaxos experiment $$name --replicas 3,5 --out $(or $(OUT),bin/experiments)/$$run/$$name || exit 1; done; done
	for name in family conflict-rate; do for file in results.csv results.json report.html; do \
		cmp $(or $(OUT),bin/experiments)/first/$$name/$$file \
			$(or $(OUT),bin/experiments)/second/$$name/$$file || exit 1; done; done

experiments-real: build ## virtual time beside real replicas, some 20 minutes: OUT= likewise
	for run in "conflict-rate --replicas 3 --conflicts 0,2,10,25,50,100" "conflict-rate --replicas 5 --conflicts 0,2,10,25,50,100" \
		"family --replicas 3,5"; do bin/epaxos experiment $$run --mode both --load open:10 --warmup 2s --duration 10s \
		--protocols epaxos,basicpaxos,multipaxos,flexiblepaxos,fastpaxos \
		--out "$(or $(OUT),bin/experiments)/both/$$(echo $$run | tr -d , | tr ' ' -)" || exit 1; done
	bin/epaxos experiment failover --mode both --load open:30 --protocols epaxos,multipaxos --replicas 5 \
		--out $(or $(OUT),bin/experiments)/both/failover

cluster: build ## three replicas in one process, until interrupted, after a second of load
	bin/epaxos demo --replicas 3 --rtt none --duration 1s --keep

endurance: ## writes for long: COMMANDS= of them, with a line on memory and disk every half million
	$(GO) test -count=1 -timeout 0 -v -run TestEndurance ./server -args -commands=$(or $(COMMANDS),5000000)

locks: ## recipes on simulated clusters, with pauses and clock jumps: SEED= replays one, RUNS= tries that many
	$(GO) test -count=1 -timeout 0 -v -run 'TestLocks$$' ./clients/recipes -args \
		$(if $(SEED),-locks-seed=$(SEED)) $(if $(RUNS),-locks-runs=$(RUNS))

once: ## count while replicas are killed, and compare with what was told: LENGTH= of the run
	ONCE=$(or $(LENGTH),30s) $(GO) test -count=1 -timeout 0 -v -run TestIncrementsTakeEffectOnce ./server

counting: ## increments in simulated sessions, through kills, drops, failovers and restarts of clients: INCREMENTS=
	$(GO) test -count=1 -timeout 0 -v -run TestCounting ./internal/sim -args \
		-increments=$(or $(INCREMENTS),2000000) $(if $(SEED),-seed=$(SEED))

watching: ## watchers that go from replica to replica, through every fault: RECONNECTS=
	$(GO) test -count=1 -timeout 0 -v -run TestWatching ./internal/sim -args \
		-reconnects=$(or $(RECONNECTS),100000) $(if $(SEED),-seed=$(SEED))

soak: ## the long proofs: many seeds, ten million inputs per fuzz target
	$(MAKE) sim RUNS=100000
	$(MAKE) schedules RUNS=100000
	$(MAKE) fuzz INPUTS=10000000

clean: ## remove what the other targets made
	rm -rf bin
	$(GO) clean -testcache -fuzzcache
