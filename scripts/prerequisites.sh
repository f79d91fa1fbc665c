#!/bin/sh
# Makes sure that this machine has what Stormbed needs. As root on Debian 12 it installs missing packages; anywhere else,
# and for the container engine and Rust, it names exactly what to install, and stops.
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

is_debian_12() { [ -r /etc/os-release ] && (. /etc/os-release && [ "${ID:-}" = debian ] && [ "${VERSION_ID:-}" = 12 ]); }

if [ -n "$missing_packages" ]; then
  if [ "$(id -u)" = 0 ] && is_debian_12; then
    echo "installing:$missing_packages" >&2
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086
    apt-get install -y --no-install-recommends $missing_packages </dev/null >/dev/null 2>&1 || {
      apt-get update </dev/null >/dev/null
      apt-get install -y --no-install-recommends $missing_packages </dev/null >/dev/null
    }
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

if [ "$engine" = yes ]; then
  endpoint=${DOCKER_HOST:-unix:///var/run/docker.sock}
  case $endpoint in
    unix://*)
      socket=${endpoint#unix://}
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
