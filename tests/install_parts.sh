#!/usr/bin/env bash
# Install the system parts that the tests start: on Debian as root; elsewhere name what is missing.
set -euo pipefail
declare -A package=([prometheus]=prometheus [promtool]=prometheus [chromium]=chromium [amtool]=prometheus-alertmanager [openssl]=openssl [setpriv]=util-linux)
missing=()
for program in "${!package[@]}"; do
  command -v "$program" >/dev/null || missing+=("${package[$program]}")
done
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  apt-get update -qq
  # The services that the packages would start are not wanted: tests start their own on loopback.
  printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d.aiops && chmod +x /usr/sbin/policy-rc.d.aiops
  [ -e /usr/sbin/policy-rc.d ] || { cp /usr/sbin/policy-rc.d.aiops /usr/sbin/policy-rc.d; trap 'rm -f /usr/sbin/policy-rc.d' EXIT; }
  rm -f /usr/sbin/policy-rc.d.aiops
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(printf '%s\n' "${missing[@]}" | sort -u) >/dev/null
else
  echo "not installed: $(printf '%s\n' "${missing[@]}" | sort -u | tr '\n' ' '); the tests that need them are skipped" >&2
fi
