# Published SCTP ports, with real associations.
say() { socat -u -T 20 "SCTP:$1,connect-timeout=20" - 2>&1; } # SCTP has no half-closed end
far() { ip netns exec far socat -u -T 20 SCTP:192.0.2.1:9000,connect-timeout=20 - 2>&1; }
for NETCTL_FIREWALL in nftables iptables; do
    export NETCTL_FIREWALL
    netctl network create net --subnet 10.88.0.0/24 >/dev/null
    netctl run -d --name web --network net --ip 10.88.0.9 -p 9000:90/sctp host socat SCTP-LISTEN:90,fork,reuseaddr SYSTEM:'echo hello' >/dev/null
    ip netns add far
    ip link add far0 type veth peer name eth0 netns far
    ip addr add 192.0.2.1/24 dev far0
    ip link set far0 up
    ip -n far addr add 192.0.2.2/24 dev eth0
    ip -n far link set eth0 up
    until_is "$NETCTL_FIREWALL: SCTP, the container" hello say 10.88.0.9:90
    is "$NETCTL_FIREWALL: SCTP, another machine" hello "$(far)"
    is "$NETCTL_FIREWALL: SCTP, 127.0.0.1" hello "$(say 127.0.0.1:9000)"
    is "$NETCTL_FIREWALL: a container's SCTP port is refused" "9000/sctp" "$(netctl run --rm --network net -p 9000:90/sctp host true 2>&1)"
    is "$NETCTL_FIREWALL: and the error names it" "web" "$(netctl run --rm --network net -p 9000:90/sctp host true 2>&1)"
    netctl rm -f web >/dev/null
    socat SCTP-LISTEN:9001,fork,reuseaddr SYSTEM:true & server=$!
    until_is "$NETCTL_FIREWALL: a server of the host's" 9001 cat /proc/net/sctp/eps
    is "$NETCTL_FIREWALL: its SCTP port is refused" "9001/sctp" "$(netctl run --rm --network net -p 9001:90/sctp host true 2>&1)"
    is "$NETCTL_FIREWALL: and the error names the server" "socat" "$(netctl run --rm --network net -p 9001:90/sctp host true 2>&1)"
    is "$NETCTL_FIREWALL: the same number of TCP is free" "" "$(netctl run --rm --network net -p 9001:90/tcp host true 2>&1)"
    kill $server
    ip netns del far
    netctl network rm net >/dev/null
done
unset NETCTL_FIREWALL
