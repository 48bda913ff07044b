#!/usr/bin/env bash
# Installs what build, tests and demo need and is missing: Debian packages, by
# their names. A tool that can't be had is an error here, never a skipped test.
# Arguments name further needs, COMMAND=PACKAGE.
set -euo pipefail

# command or file -> package
declare -A needs=(
    [iptables]=iptables [ip6tables]=iptables [nft]=nftables [ip]=iproute2
    [ethtool]=ethtool [conntrack]=conntrack [curl]=curl [strace]=strace [gcc]=gcc [pkg-config]=pkg-config
    [/usr/include/seccomp.h]=libseccomp-dev [/usr/bin/python3]=python3 [pgrep]=procps [etcd]=etcd-server [musl-gcc]=musl-tools [unshare]=util-linux
    [/bin/busybox]=busybox-static [systemd-analyze]=systemd [systemd-socket-activate]=systemd [script]=bsdutils [ss]=iproute2 [nsenter]=util-linux
    [/etc/protocols]=netbase
)
for more; do needs[${more%%=*}]=${more#*=}; done
missing=()
for need in "${!needs[@]}"; do
    case $need in
        /*) [ -e "$need" ] || missing+=("${needs[$need]}") ;;
        *)  command -v "$need" >/dev/null || missing+=("${needs[$need]}") ;;
    esac
done
[ ${#missing[@]} -gt 0 ] || exit 0

echo "installing: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
# A mirror that does not answer at once is asked again, and another apt is waited for.
apt() { apt-get -qq -o Acquire::Retries=5 -o DPkg::Lock::Timeout=300 "$@"; }
for pause in 5 20 60 last; do
    apt update && apt install -y --no-install-recommends "${missing[@]}" >/dev/null && exit 0
    [ "$pause" = last ] || sleep "$pause"
done
echo "could not install: ${missing[*]}" >&2
exit 1
