#!/usr/bin/env bash
# Makes the guest's disk and the initial RAM file system that mounts it.
# Usage: disk.sh BIN KERNEL-VERSION DIR WANTED... (DIR: where kernel.sh has
# been; WANTED: see run.sh)
set -euo pipefail
bin=$1 version=$2 work=$3
shift 3
here=$(dirname "$(realpath "$0")")
root=$work/root

# The guest's programs are this machine's, whole packages; the libraries are
# what their programs ask for.
packages=(base-files base-passwd bash dash coreutils sed grep mawk findutils util-linux mount procps hostname bsdutils
    iproute2 iptables nftables kmod apparmor busybox-static socat conntrack ethtool curl strace etcd-server netbase)

packed() { # prints the files of the packages and of their programs' libraries
    dpkg -L "${packages[@]}" | grep -v -E '^/usr/share/(doc|man|locale|info|bash-completion|lintian)/' >"$work/files"
    # ldd fails for what is no program.
    { xargs -d '\n' ldd <"$work/files" 2>/dev/null || true; } | grep -o '/[^ :]* (0x' | sed 's/ (0x//' | sort -u >"$work/libraries"
    # Most libraries are a link to a file with its version.
    xargs -d '\n' realpath <"$work/libraries" | cat - "$work/files" "$work/libraries" | sort -u
}

rm -rf "$root"
mkdir -p "$root"/{boot,dev,etc/cni/net.d,proc,sys,run,tmp,root,srv,usr/{bin,sbin,lib,lib64,local/bin,libexec/netctl/cni},var/{lib,log,tmp}}
for dir in bin sbin lib lib64; do ln -s "usr/$dir" "$root/$dir"; done
packed | while read -r file; do [ ! -e "$file" ] || echo "$file"; done |
    tar -C / -c --no-recursion --files-from - 2>/dev/null | tar -C "$root" -x --keep-directory-symlink
printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' >"$root/etc/passwd"
printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
echo 'netctl:100000:65536' | tee "$root/etc/subuid" >"$root/etc/subgid"
# Debian's alternatives are no package's files.
for command in ip{,6}tables{,-save,-restore}; do ln -sf xtables-nft-multi "$root/usr/sbin/$command"; done
ln -sf mawk "$root/usr/bin/awk"
echo debian >"$root/etc/hostname"
printf '127.0.0.1\tlocalhost\n::1\tlocalhost\n' >"$root/etc/hosts"

cp -a "$work/kernel/lib/modules" "$root/usr/lib/"
cp "$bin/netctl" "$bin/netctl-monitor" "$bin/dnsd" "$bin/overlayd" "$root/usr/bin/"
cp -a "$bin/cni/." "$root/usr/libexec/netctl/cni/"
cp -a "$here/guest/." "$root/srv/"

# The tests of packages, where they find their files. The guest has no compiler:
# see guest/go.
mkdir -p "$root"/srv/{src,tests,programs}
for want; do
    case $want in
        ./*=*) echo "${want%%=*} ${want#*=}" ;;
        ./*)   echo "$want ." ;;
        *)     [ -e "$here/guest/checks/$want.sh" ] || { echo "test/vm: no checks named $want" >&2; exit 1; }
               echo "$want" ;;
    esac
done >"$root/srv/wanted"
if grep -q '^\./' "$root/srv/wanted"; then
    git ls-files | grep /testdata/ | tar -c --files-from - | tar -C "$root/srv/src" -x
    mkdir -p "$root/srv/src/bin"
    cp -al "$bin"/{netctl,netctl-monitor,dnsd,overlayd,cni} "$root/srv/src/bin/"
    ln "$bin"/{netctl,netctl-monitor,dnsd,overlayd} "$root/srv/programs/"
    ln "$bin/cni/netctl-cni" "$root/srv/programs/cni"
    go build -o "$root/srv/src/bin/test/killat" ./test/killat
    grep '^\./' "$root/srv/wanted" | cut -d ' ' -f 1 | sort -u | while read -r package; do
        name=${package#./}
        mkdir -p "$root/srv/src/$name"
        go test -c -o "$root/srv/tests/${name//\//_}.test" "$package"
    done
fi

rm -f "$work/disk"
truncate -s 2G "$work/disk"
mke2fs -q -t ext4 -d "$root" "$work/disk"

# The disk's driver and its file system are modules.
initrd=$work/initrd.d
rm -rf "$initrd"
mkdir -p "$initrd"/{bin,dev,proc,mnt}
cp /bin/busybox "$initrd/bin/"
for module in virtio_pci virtio_blk crc32c_generic ext4; do
    modprobe -d "$work/kernel" -S "$version" --show-depends "$module"
done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' >"$work/modules"
while read -r file; do cp "$file" "$initrd/"; basename "$file"; done <"$work/modules" >"$initrd/modules"
cat >"$initrd/init" <<'INIT'
#!/bin/busybox sh
busybox mount -t devtmpfs dev /dev
while read -r module; do busybox insmod "/$module"; done <modules
busybox mount -t ext4 /dev/vda /mnt && exec busybox switch_root /mnt /srv/init
echo "DONE: no disk"
INIT
chmod +x "$initrd/init"
(cd "$initrd" && find . | busybox cpio -o -H newc 2>/dev/null) >"$work/initrd"
