# What checks are written with.
export NETCTL_CNI_PATH=/usr/libexec/netctl/cni
: >/tmp/failed

# is NAME WANT GOT: GOT has WANT in it; the empty WANT wants nothing at all.
is() {
    case "$3" in
        "$2") echo "ok $1" ;;
        *"${2:-$never}"*) echo "ok $1" ;;
        *)
            echo "FAIL $1: want ${2:-nothing}, got: $3"
            echo "$1" >>/tmp/failed
            ;;
    esac
}
never=$(printf '\001')

# until_is NAME WANT COMMAND...: COMMAND prints WANT, within a minute.
until_is() {
    what=$1 want=$2 end=$(($(seconds) + 60))
    shift 2
    while :; do
        got=$("$@" 2>&1)
        case "$got" in *"$want"*) break ;; esac
        [ "$(seconds)" -lt $end ] || break
        sleep 0.2
    done
    is "$what" "$want" "$got"
}
seconds() { cut -d. -f1 /proc/uptime; }

# The root file system of containers: nothing but busybox.
rootfs=/srv/rootfs
if [ ! -d $rootfs ]; then
    mkdir -p $rootfs/bin $rootfs/proc $rootfs/dev $rootfs/sys $rootfs/etc $rootfs/tmp $rootfs/www
    chmod 1777 $rootfs/tmp
    cp /bin/busybox $rootfs/bin/
    $rootfs/bin/busybox --install -s $rootfs/bin 2>/dev/null
    for link in $rootfs/bin/*; do [ ! -L "$link" ] || ln -sfn busybox "$link"; done
    echo hello >$rootfs/www/index.html
fi

# run ARGS...: a container without network, to its end. start NAME ARGS...: one
# that stays until it is removed.
run() { netctl run --rm --network none "$@" 2>&1; }
start() { container=$1; shift; netctl run -d --name "$container" --network none "$@" --rootfs $rootfs -- /bin/sleep 1000 2>&1; }
# cgroup NAME FILE: what the kernel was told.
cgroup() { cat "/sys/fs/cgroup/netctl/$(netctl inspect -f '{{.ID}}' "$1")/$2" 2>&1; }

# left_nothing NAME: all is removed; the resolver ends by itself.
left_nothing() {
    until_is "$1: nothing left" "[]" leftovers
}
leftovers() {
    echo "[$(
        ls /sys/fs/cgroup/netctl 2>/dev/null
        find /run/netctl/c /run/netctl/netns /var/lib/netctl/c -mindepth 1 -maxdepth 1 2>/dev/null
        ip -o link | grep -v ' lo:'
        grep netctl /proc/mounts
        pgrep -a dnsd
    )]"
}
