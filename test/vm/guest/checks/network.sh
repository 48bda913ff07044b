# A bridge of both families, names, published ports, restart: with Debian's
# modules, which the kernel fetches when they are first needed.
get() { curl -s -S -m 20 "$1" 2>&1; }
for NETCTL_FIREWALL in nftables iptables; do
    export NETCTL_FIREWALL
    netctl network create net --subnet 10.88.0.0/24 --subnet fd00:88::/64 >/dev/null
    netctl run -d --name web --network net -p 8080:80 --restart always --rootfs $rootfs -- /bin/httpd -f -h /www >/dev/null
    is "$NETCTL_FIREWALL: a name" hello "$(netctl run --rm --network net --rootfs $rootfs -- /bin/wget -q -O - http://web/ 2>&1)"
    is "$NETCTL_FIREWALL: a published port, 127.0.0.1" hello "$(get http://127.0.0.1:8080/)"
    is "$NETCTL_FIREWALL: a published port, ::1" hello "$(get 'http://[::1]:8080/')"
    is "$NETCTL_FIREWALL: the doctor finds nothing" "" "$(netctl doctor web --port 8080 2>&1 | grep -i -E 'cause|mend')"
    kill -9 "$(netctl inspect -f '{{.State.Pid}}' web)"
    until_is "$NETCTL_FIREWALL: restarted" "1 running" netctl inspect -f '{{.RestartCount}} {{.State.Status}}' web
    is "$NETCTL_FIREWALL: a published port after it" hello "$(netctl exec web true; get http://127.0.0.1:8080/)"
    netctl rm -f web >/dev/null
    netctl network rm net >/dev/null
done
unset NETCTL_FIREWALL
