# What /srv/wanted names, a line each: a file of checks/, or a package and the
# names of its tests.
. /srv/check.sh
. /srv/gotest.sh
echo
echo "# Linux $(uname -r), $(cut -d. -f1 /proc/uptime) s after its start"
while read -r name tests; do
    before=$(seconds)
    case "$name" in
        ./*) (gotest "${name#./}" "$tests") ;;
        *) (. "/srv/checks/$name.sh"; left_nothing "$name") ;;
    esac </dev/null
    echo "# $name: $(($(seconds) - before)) s"
done </srv/wanted
is "the kernel complained of nothing" "" "$(dmesg | grep -E 'BUG:|WARNING:|Oops|refcount|unregister_netdevice|segfault')"
echo "DONE $(wc -l </tmp/failed) failed"
