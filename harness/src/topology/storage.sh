#!/bin/sh
# Joins the hosts' GlusterFS servers and makes the volume, from the first host.
# usage: storage.sh LIMIT-S VOLUME BRICK PING-TIMEOUT-S HEAL-TIMEOUT-S ADDRESS…     (the first address is this host's own)
set -eu
end=$(($(date +%s) + $1)) volume=$2 brick=$3 ping=$4 heal=$5
shift 5

# The tool waits 120 s for an answer of its server, and longer than this none came late.
gluster() { timeout 15 gluster --mode=script "$@"; }

# tries COMMAND…: until it works, every 0.2 s; at the end of the time, shows why it didn't, and how the servers see each other.
tries() {
  until said=$("$@" 2>&1); do
    if [ "$(date +%s)" -ge "$end" ]; then
      echo "$*: ${said:-no answer within 15 s}" >&2
      gluster peer status | grep -E 'Hostname|State' >&2
      exit 1
    fi
    sleep 0.2
  done
}
# All the others are in the cluster, as the server at $1 sees it.
knows() { [ "$(gluster --remote-host="$1" peer status | grep -cxF 'State: Peer in Cluster (Connected)')" -eq "$2" ]; }
# `force`: the bricks may lie on a root file system. What was created and not answered is there already.
create() { gluster volume info "$volume" >/dev/null 2>&1 || gluster volume create "$volume" replica $# "$@" force; }
start() { gluster volume info "$volume" | grep -qxF 'Status: Started' || gluster volume start "$volume"; }

tries gluster pool list
met=0
for address in "$@"; do
  [ "$met" -eq 0 ] || tries gluster peer probe "$address"
  # Whoever is still being introduced may lose a transaction that begins meanwhile, and its asker then waits for ever: so all must
  # know each other before the next is introduced, and before there is a volume.
  for server in "$@"; do
    tries knows "$server" "$met"
    [ "$server" != "$address" ] || break
  done
  met=$((met + 1))
done
for address in "$@"; do
  shift
  set -- "$@" "$address:$brick"
done
tries create "$@"
tries gluster volume set "$volume" network.ping-timeout "$ping"
tries gluster volume set "$volume" cluster.heal-timeout "$heal"
tries start
