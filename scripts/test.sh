#!/bin/sh
# Everything that tells whether this checkout works, and a closing line with the sum.
# usage: test.sh [--fast]      --fast: only what needs no container engine
set -eu
cd "$(dirname "$0")/.."
fast=no
[ "${1:-}" = --fast ] && fast=yes
log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed_steps=0
passed_scenarios=0

# Tests that need an engine or a network are files of their own, named docker_*.
tests() {
  for file in tests/*.rs harness/tests/*.rs; do
    [ -e "$file" ] || continue
    name=$(basename "$file" .rs)
    case $name in
      docker_*) [ "$1" = docker ] && echo "--test $name" ;;
      *) [ "$1" = docker ] || echo "--test $name" ;;
    esac
  done
}

# step COMMAND…: its output is shown and kept; a failure is counted and the rest still runs.
step() {
  status=$(mktemp)
  { "$@" 2>&1 || echo failed > "$status"; } | tee -a "$log"
  [ -s "$status" ] && failed_steps=$((failed_steps + 1))
  rm -f "$status"
}

# shellcheck disable=SC2046
step cargo test --locked --no-fail-fast --workspace --lib --bins $(tests fast)

if [ "$fast" = no ]; then
  step cargo build --locked --workspace --bins
  if assignments=$(target/debug/stormbed images --print); then
    eval "$assignments"
    # Each starts containers of its own: one after another, they don't starve each other on a small machine.
    # shellcheck disable=SC2046
    step cargo test --locked --no-fail-fast --workspace $(tests docker) -- --test-threads=1
  else
    failed_steps=$((failed_steps + 1))
  fi
  for scenario in ${ACCEPTANCE:-scenarios/steady.toml scenarios/leader-loss.toml}; do
    if target/debug/stormbed run "$scenario" </dev/null; then
      passed_scenarios=$((passed_scenarios + 1))
    else
      failed_steps=$((failed_steps + 1))
    fi
  done
fi

sums=$(awk '/^test result:/ { passed += $4; failed += $6 } END { print passed + 0, failed + 0 }' "$log")
passed=$((${sums% *} + passed_scenarios))
failed=${sums#* }
# A step that failed without a failed test (it didn't compile, a scenario didn't pass) counts as one.
[ "$failed" -ge "$failed_steps" ] || failed=$failed_steps
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
