#!/usr/bin/env bash
# Installs the Debian packages that tests use and that are missing, as root on Debian; elsewhere it says what will be skipped.
set -euo pipefail

missing=()
want() { # package program
  command -v "$2" >/dev/null || [ -x "/usr/sbin/$2" ] || missing+=("$1")
}

[ -n "${CHROMIUM:-}" ] || want chromium chromium
want openssl openssl
want default-jre-headless java # for Spark
want mariadb-server mariadbd
want prometheus promtool
want prometheus-alertmanager amtool
want prometheus-pushgateway prometheus-pushgateway
want busybox busybox
want skopeo skopeo
want docker-registry docker-registry
# Debian's own folder of its programs is in no PATH.
[ -n "$(ls /usr/lib/postgresql/*/bin/initdb 2>/dev/null)" ] || want postgresql initdb
# The cluster's node, unless KUBECONFIG names another cluster.
if [ -z "${KUBECONFIG:-}" ]; then
  want containerd containerd
  want runc runc
  want nftables nft
  want conntrack conntrack
  want iproute2 ip
  [ -x /usr/lib/cni/ptp ] || missing+=(containernetworking-plugins)
  # The images, where no registry is reached.
  want buildah buildah
  want mmdebstrap mmdebstrap
  want maven mvn # for Kafka
fi
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  # Debian starts a server when it is installed, unless this file forbids it; tests start their own.
  if [ ! -e /usr/sbin/policy-rc.d ]; then
    trap 'rm --force /usr/sbin/policy-rc.d' EXIT
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod +x /usr/sbin/policy-rc.d
  fi
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
else
  echo "not installed: ${missing[*]}; the tests that need them will skip" >&2
fi
