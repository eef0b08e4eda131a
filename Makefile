# make test | sim SEEDS= SEED= TRACE=1 SHRINK=1 LEDGER=1 | sim-plants | model LEDGER=1 | race | crash N= | demo KEEP=1 | chaos MINUTES= SEED= | chaos-table
# make routing-full LEDGER=1 | guard-margins N= | quiet MINUTES= | bench-failover N= ENGINE= | bench-log | bench-route | bench-services | test-asan | test-tsan | tidy | format
# Everything is built by CMake and Ninja below build/<preset>; this file only knows the commands.
PRESET ?= release
BUILD := build/$(PRESET)
BIN := $(BUILD)/bin
JOBS ?= $(shell nproc)

.PHONY: build test sim sim-plants model race crash demo chaos chaos-table routing-full guard-margins quiet bench-failover bench-log bench-route bench-services drivers test-asan test-tsan tidy format clean bootstrap
.DEFAULT_GOAL := build

bootstrap:
	@deploy/bootstrap

build: bootstrap
	@cmake --preset $(PRESET) > $(or $(TMPDIR),/tmp)/daarion-configure.$$$$.log 2>&1 \
	  || { cat $(or $(TMPDIR),/tmp)/daarion-configure.$$$$.log; rm -f $(or $(TMPDIR),/tmp)/daarion-configure.$$$$.log; exit 1; }; \
	  rm -f $(or $(TMPDIR),/tmp)/daarion-configure.$$$$.log
	@cmake --build --preset $(PRESET) -j $(JOBS)

# Real servers need the machine to themselves: only what is pure runs two at a time.
test: build
	@ctest --test-dir $(BUILD) -L 'unit|scenario|sim' -j $(JOBS) --output-on-failure --no-tests=error
	@ctest --test-dir $(BUILD) -LE 'unit|scenario|sim|full' --output-on-failure --no-tests=error
	@$(BIN)/daarion-sim --seeds 2000
	@tests/model/run.sh --quick build

# LEDGER=1 appends what was run, and with which result, to docs/ledger.tsv: claims of coverage are made from that file alone.
# From 20 000 seeds on the tool is built once more, by a profile of itself: half as fast again.
SEEDS ?= 1000
SIM_TRAINED := build/sim-trained
LEDGER_FILE := $(if $(LEDGER),--ledger docs/ledger.tsv)
sim: build
ifdef SEED
	@$(BIN)/daarion-sim --seed $(SEED) $(if $(TRACE),--trace) $(if $(SHRINK),--shrink)
else
	@if [ $(SEEDS) -lt 20000 ]; then $(BIN)/daarion-sim --seeds $(SEEDS) $(LEDGER_FILE); \
	else tests/sim/trained.sh $(SIM_TRAINED) $(JOBS) && $(SIM_TRAINED)/bin/daarion-sim --seeds $(SEEDS) $(LEDGER_FILE); fi
endif

sim-plants: build
	@tests/sim/trained.sh $(SIM_TRAINED) $(JOBS) && $(SIM_TRAINED)/bin/daarion-sim --plants $(LEDGER_FILE)

model: bootstrap
	@tests/model/run.sh $(LEDGER_FILE) build

race: build
	@ctest --test-dir $(BUILD) -L race --verbose --no-tests=error

N ?= 200
crash: build
	@CRASH_N=$(N) ctest --test-dir $(BUILD) -L crash --verbose --no-tests=error

# A failure in front of your eyes: KEEP=1 leaves the cluster up and says what to try.
demo: build
	@DAARION_FIGURES=build/figures.jsonl $(BIN)/daarion-demo $(if $(KEEP),--keep) --json build/demo.json

# Faults on real processes in network namespaces, as root. 30 minutes make every kind once. LEDGER=1 adds a line to docs/ledger.tsv.
MINUTES ?= 2
chaos: build
	@DAARION_FIGURES=build/figures.jsonl $(BIN)/daarion-chaos --minutes $(MINUTES) --seed $(or $(SEED),1) --history build/chaos-$(or $(SEED),1).jsonl \
	  $(if $(LEDGER),--ledger docs/ledger.tsv)

# What these two runs found, by kind of fault, into docs/failure-modes.md.
chaos-table: build
	@$(BIN)/daarion-chaos --table docs/failure-modes.md --from build/chaos-1.jsonl,build/chaos-2.jsonl

# 10 000 messages per class and node at 3, 5 and 9 nodes, on the packaged nats-server and on the one that NATS_SERVER names: some 40 minutes for both.
routing-full: build
	@DAARION_FIGURES=$(CURDIR)/build/figures.jsonl DAARION_LEDGER=$(if $(LEDGER),$(CURDIR)/docs/ledger.tsv) \
	  ctest --test-dir $(BUILD) -L routing-full --verbose --no-tests=error

# The two write their tables into docs/failure-modes.md.
guard-margins: N = 10
guard-margins: build
	@DAARION_FIGURES=build/figures.jsonl $(BIN)/daarion-guard-margins --n $(N) --table docs/failure-modes.md

quiet: MINUTES = 30
quiet: build
	@DAARION_FIGURES=build/figures.jsonl $(BIN)/daarion-quiet --minutes $(MINUTES) --table docs/failure-modes.md $(if $(LEDGER),--ledger docs/ledger.tsv)

# ENGINE=redis: managed Redis, and Sentinel alone beside it.
ENGINE ?= postgres
bench-failover: N = 20
bench-failover: build
	@DAARION_FIGURES=build/figures.jsonl $(BIN)/daarion-bench-failover --n $(N) --engine $(ENGINE)

bench-log: build
	@$(BIN)/daarion-bench-log

bench-route: build
	@DAARION_FIGURES=build/figures.jsonl $(BIN)/daarion-bench-route

bench-services: build
	@DAARION_FIGURES=build/figures.jsonl $(BIN)/daarion-bench-services

test-asan:
	@$(MAKE) PRESET=asan-ubsan build
	@ctest --test-dir build/asan-ubsan --output-on-failure --no-tests=error

test-tsan:
	@$(MAKE) PRESET=tsan build
	@ctest --test-dir build/tsan --output-on-failure --no-tests=error

tidy: build
	@git ls-files '*.cc' | xargs clang-tidy -p $(BUILD) --quiet

format:
	@git ls-files '*.cc' '*.h' | xargs clang-format -i

clean:
	@rm -rf build
