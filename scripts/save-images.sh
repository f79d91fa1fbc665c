#!/bin/sh
# Saves the images that take long to make into one file, for a cache: `zstd -dc FILE | docker load` brings them back, with the
# same ids, so that `stormbed images` finds nothing to build but the thin layers with this checkout's program.
# usage: save-images.sh FILE
set -eu
file=${1:?usage: save-images.sh FILE}
images=$(docker images --filter label=stormbed.image --format '{{.Repository}}:{{.Tag}}' |
  grep -E '^stormbed-(zookeeper|node|host-parts|router-parts|corpus):')
# shellcheck disable=SC2086
docker save debian:bookworm-slim $images | zstd -T0 -3 -q -f -o "$file.new"
mv "$file.new" "$file"
