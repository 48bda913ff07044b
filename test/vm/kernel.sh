#!/usr/bin/env bash
# Unpacks Debian's kernel for clouds (small, and all that matters here is in
# it) below DIR and prints its version. The package is fetched once, not
# installed: nothing of this machine's boot changes. Usage: kernel.sh DIR
set -euo pipefail
cd "$1"
newest() { apt-cache depends linux-image-cloud-amd64 2>/dev/null | awk '$1 == "Depends:" { print $2; exit }'; }
package=$(newest)
[ -n "$package" ] || { apt-get update -qq >&2; package=$(newest); }
[ -n "$package" ] || { echo "no package linux-image-cloud-amd64: does /etc/apt name Debian's archive?" >&2; exit 1; }
version=${package#linux-image-}
if [ ! -d "kernel/lib/modules/$version/kernel" ]; then
    apt-get -o APT::Sandbox::User=root download -qq "$package" >&2
    rm -rf kernel
    dpkg-deb -x "$package"_*.deb kernel
    rm "$package"_*.deb
    depmod -b kernel "$version"
    cp "kernel/boot/vmlinuz-$version" vmlinuz
fi
echo "$version"
