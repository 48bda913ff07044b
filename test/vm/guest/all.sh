# The checks of checks/, in order, or those that the kernel's command line names
# (vmtest=limits,vlan).
. /srv/check.sh
echo; echo "# Linux $(uname -r), $(cut -d. -f1 /proc/uptime) s after its start"
names=$(sed -n 's/.*vmtest=\([a-z0-9,]*\).*/\1/p' /proc/cmdline | tr , ' ')
[ -n "$names" ] || names="limits apparmor network vlan"
for name in $names; do
    before=$(cut -d. -f1 /proc/uptime)
    ( . "/srv/checks/$name.sh"; left_nothing "$name" )
    echo "# $name: $(($(cut -d. -f1 /proc/uptime) - before)) s"
done
is "the kernel complained of nothing" "" "$(dmesg | grep -E 'BUG:|WARNING:|Oops|refcount|unregister_netdevice|segfault')"
echo "DONE $(wc -l </tmp/failed) failed"
