#!/bin/sh
# Joins the hosts' GlusterFS servers and makes the volume, from the first host.
# usage: storage.sh VOLUME BRICK PING-TIMEOUT-S HEAL-TIMEOUT-S ADDRESS…     (the first address is this host's own)
set -eu
volume=$1 brick=$2 ping=$3 heal=$4
shift 4

# tries LIMIT COMMAND…: until it works, every 0.2 s; then shows why it didn't.
tries() {
  left=$1; shift
  until said=$("$@" 2>&1); do
    left=$((left - 1))
    if [ "$left" -le 0 ]; then echo "$*: $said" >&2; exit 1; fi
    sleep 0.2
  done
}
connected() {
  [ "$(gluster --mode=script pool list | grep -c Connected)" -eq "$1" ] || { gluster --mode=script pool list; return 1; }
}

# 300 x 0.2 s: the caller's own bound is tighter; this one ends the script when the caller is gone.
tries 300 gluster --mode=script pool list
own=$1
for address in "$@"; do
  [ "$address" = "$own" ] || tries 300 gluster --mode=script peer probe "$address"
done
tries 300 connected $#
bricks=
for address in "$@"; do bricks="$bricks $address:$brick"; done
if ! gluster --mode=script volume info "$volume" >/dev/null 2>&1; then
  # `force`: the bricks may lie on a root file system. Refused for a moment after the peers have met.
  # shellcheck disable=SC2086
  tries 50 gluster --mode=script volume create "$volume" replica $# $bricks force
fi
tries 20 gluster --mode=script volume set "$volume" network.ping-timeout "$ping"
tries 20 gluster --mode=script volume set "$volume" cluster.heal-timeout "$heal"
gluster --mode=script volume info "$volume" | grep -q 'Status: Started' || tries 50 gluster --mode=script volume start "$volume"
