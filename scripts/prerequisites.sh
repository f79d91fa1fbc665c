#!/bin/sh
# Makes sure that this machine has what Stormbed needs. As root on Debian (12 or newer) or Ubuntu (22.04 or newer) it installs
# missing packages, and a container engine where there is none; anywhere else, and for Rust, it names exactly what to install, and stops.
# usage: prerequisites.sh [--no-engine]
set -eu
rust_least=1.95
engine=yes
[ "${1:-}" = --no-engine ] && engine=no

missing_packages=
need() { missing_packages="$missing_packages $1"; }
have() { command -v "$1" >/dev/null 2>&1; }

have cc || need gcc
have make || need make
have pkg-config || need pkg-config
# ssh2 links OpenSSL; etcd-client and the tests' engine client compile protocol files that include google/protobuf/*.proto.
{ have pkg-config && pkg-config --exists openssl; } || need libssl-dev
have protoc || need protobuf-compiler
[ -e /usr/include/google/protobuf/empty.proto ] || [ -e /usr/local/include/google/protobuf/empty.proto ] || need libprotobuf-dev
have strip || need binutils
if [ "$engine" = yes ]; then have mmdebstrap || need mmdebstrap; fi

# OS_RELEASE: another file for tests.
has_apt_packages() {
  release=${OS_RELEASE:-/etc/os-release}
  [ -r "$release" ] || return 1
  # shellcheck disable=SC1090
  system=$(. "$release" && echo "${ID:-} ${VERSION_ID:-0}")
  version=${system#* }
  case $system in
    "debian "*) [ "${version%%.*}" -ge 12 ] ;;
    "ubuntu "*) [ "${version%%.*}" -ge 22 ] ;;
    *) return 1 ;;
  esac
}
may_install() { [ "$(id -u)" = 0 ] && has_apt_packages; }

install() {
  echo "installing: $*" >&2
  export DEBIAN_FRONTEND=noninteractive
  apt-get install -y --no-install-recommends "$@" </dev/null >/dev/null 2>&1 || {
    apt-get update </dev/null >/dev/null
    apt-get install -y --no-install-recommends "$@" </dev/null >/dev/null
  }
}

if [ -n "$missing_packages" ]; then
  if may_install; then
    # shellcheck disable=SC2086
    install $missing_packages
  else
    echo "Stormbed needs these Debian packages, or what your system calls them:$missing_packages" >&2
    echo "  sudo apt-get install$missing_packages" >&2
    exit 3
  fi
fi

rust_help="install Rust $rust_least or newer: https://rustup.rs (rustup update stable)"
have cargo || { echo "cargo isn't there; $rust_help" >&2; exit 3; }
found=$(rustc --version | awk '{ print $2 }')
lowest=$(printf '%s\n%s\n' "$rust_least" "$found" | sort -V | head -n 1)
[ "$lowest" = "$rust_least" ] || { echo "Rust $found is too old; $rust_help" >&2; exit 3; }

# Starts the engine that was installed just now, and waits until it listens.
start_engine() {
  if [ -d /run/systemd/system ]; then
    systemctl start docker >&2 || return 1
  else
    # Debian's script for the engine raises limits, which a container may not: the engine itself starts there.
    service docker start >&2 || setsid dockerd </dev/null >>/var/log/docker.log 2>&1 &
  fi
  # An engine that starts for the first time makes its keys and networks: some seconds.
  for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
    [ -S "$1" ] && return 0
    sleep 1
  done
  return 1
}

if [ "$engine" = yes ]; then
  endpoint=${DOCKER_HOST:-unix:///var/run/docker.sock}
  case $endpoint in
    unix://*)
      socket=${endpoint#unix://}
      if [ ! -S "$socket" ] && may_install; then
        have dockerd || install docker.io
        start_engine "$socket" || { echo "the container engine doesn't start; its log says why (journalctl -u docker, /var/log/docker.log)" >&2; exit 3; }
      fi
      if [ ! -S "$socket" ]; then
        echo "no container engine at $socket; install Docker Engine (Debian: sudo apt-get install docker.io) and start it, or set DOCKER_HOST" >&2
        exit 3
      fi
      if [ ! -w "$socket" ]; then
        echo "no right to use $socket; run as root, or: sudo usermod -aG docker $(id -un), then log in again" >&2
        exit 3
      fi
      ;;
  esac
fi
