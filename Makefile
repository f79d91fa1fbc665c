# Stormbed. `make chaos` starts the topology, plays the scenarios on it and judges them; the rest serves that.
#
#   make chaos                          the tour, in six minutes
#   make chaos SCENARIOS="a.toml"       others
#   make acceptance                     every fault on every target that it can be done to, in 30 minutes; JUnit in runs/latest
#   make test                           everything: unit, property, single real parts, two acceptance scenarios
#   make test-fast                      what needs no container engine
#   make up | down | clean | lint | doctor

SHELL := /bin/sh
export PATH := $(HOME)/.cargo/bin:$(PATH)

STORMBED := target/debug/stormbed
# A tour of six minutes, from calm to storm: what a later one breaks, an earlier one has shown to work. More: make acceptance.
SCENARIOS ?= $(addsuffix .toml,$(addprefix scenarios/,steady node-loss leader-loss mesos-master-loss framework-failover \
	zookeeper-leader-loss etcd-partition-stale-leader storm))

# SHARD=1/2 plays every second one; OPTIONS are those of `stormbed run`.
# The loss of a host comes last: it leaves most slots on the hosts that are left, where they stay, and who cuts off such a host cuts off a quorum.
LAST := scenarios/acceptance/host-loss.toml
SUITE ?= $(filter-out $(LAST),$(sort $(wildcard scenarios/acceptance/*.toml))) $(LAST)
SHARD ?= 1/1

.PHONY: build chaos acceptance doctor test test-fast up down clean lint prerequisites prerequisites-fast

build: prerequisites
	cargo build --locked --workspace --bins

chaos: build
	$(STORMBED) run $(SCENARIOS)

acceptance: build
	$(STORMBED) run --fresh --deadline 30m --shard $(SHARD) $(OPTIONS) $(SUITE)

doctor: build
	$(STORMBED) doctor

test: prerequisites
	sh scripts/test.sh

test-fast: prerequisites-fast
	sh scripts/test.sh --fast

up: build
	$(STORMBED) up

down: build
	$(STORMBED) down

# The topologies' cache and images; the build itself is cargo's (`cargo clean`).
clean: build
	$(STORMBED) down --all
	$(STORMBED) clean

lint: prerequisites-fast
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps

prerequisites:
	@sh scripts/prerequisites.sh

prerequisites-fast:
	@sh scripts/prerequisites.sh --no-engine
