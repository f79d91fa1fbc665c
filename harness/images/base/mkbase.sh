#!/bin/sh
# Makes the base image's file system with mmdebstrap and writes it as a tar to standard output.
# usage: mkbase.sh SUITE SOURCES-FILE     (SOURCES-FILE: apt sources, deb822 or one line per source; Debian's own only)
#
# Why the options: no translations, recommends or package caches keep every later layer small; a policy-rc.d that refuses
# keeps package scripts from starting daemons; the man directories must exist, or openjdk's postinst fails.
set -eu
suite=$1
sources=$2
exec mmdebstrap --quiet --variant=minbase --components=main \
  --aptopt='Acquire::Languages "none"' \
  --aptopt='APT::Install-Recommends "false"' \
  --aptopt='APT::Install-Suggests "false"' \
  --aptopt='Acquire::GzipIndexes "true"' \
  --aptopt='Dir::Cache::pkgcache ""' \
  --aptopt='Dir::Cache::srcpkgcache ""' \
  --dpkgopt='path-exclude=/usr/share/man/*' \
  --dpkgopt='path-exclude=/usr/share/info/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' \
  --dpkgopt='path-exclude=/usr/share/doc/*' \
  --dpkgopt='path-include=/usr/share/doc/*/copyright' \
  --dpkgopt='force-unsafe-io' \
  --customize-hook='printf "#!/bin/sh\nexit 101\n" > "$1/usr/sbin/policy-rc.d"; chmod 755 "$1/usr/sbin/policy-rc.d"' \
  --customize-hook='for i in 1 2 3 4 5 6 7 8; do mkdir -p "$1/usr/share/man/man$i"; done' \
  "$suite" - "$sources"
