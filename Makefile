# Stormbed. `make chaos` starts the topology, plays the scenarios on it and judges them; the rest serves that.
#
#   make chaos                          all shipped scenarios
#   make chaos SCENARIOS="a.toml"       others
#   make test                           everything: unit, property, single real parts, two acceptance scenarios
#   make test-fast                      what needs no container engine
#   make up | down | clean | lint

SHELL := /bin/sh
export PATH := $(HOME)/.cargo/bin:$(PATH)

STORMBED := target/debug/stormbed
# From calm to storm: what a later one breaks, an earlier one has shown to work.
SCENARIOS ?= $(addsuffix .toml,$(addprefix scenarios/,steady node-loss leader-loss \
	mesos-master-loss mesos-master-frozen mesos-zookeeper-cut mesos-agent-crash \
	framework-failover framework-frozen zookeeper-leader-loss zookeeper-majority-loss \
	etcd-partition-stale-leader host-partition host-loss storm))

.PHONY: build chaos test test-fast up down clean lint prerequisites prerequisites-fast

build: prerequisites
	cargo build --locked --workspace --bins

chaos: build
	$(STORMBED) run $(SCENARIOS)

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
