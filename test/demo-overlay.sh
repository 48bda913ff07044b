#!/usr/bin/env bash
# The overlay, shown: three hosts made of network namespaces, an etcd, one
# network over all of them. Containers, names, a published port, a host cut off
# and back, a host that leaves. Then the same with a peers file and no etcd.
# Every command is printed with what came out; the end status is not 0 if
# anything was wrong or is left behind.
set -uo pipefail
cd "$(dirname "$0")/.."

if [ "${1:-}" != inside ]; then
    test/tools.sh etcdctl=etcd-client || exit 1
    exec unshare --net --mount --propagation slave "$0" inside
fi

root=$(mktemp -d)
export PATH=$PWD/bin:$PATH NETCTL_FIREWALL=nftables
failures=0 pids=()

fail() { echo "FAILED: $*"; failures=$((failures + 1)); [ $failures -lt 3 ] || exit 1; }
want() { grep -qE -- "$1" <<<"$out" || fail "no '$1' in the output"; }

# on HOST COMMAND...: runs it on the host, quietly.
on() {
    local h=$1; shift
    NETCTL_STATE_DIR=$root/$h/run NETCTL_DATA_DIR=$root/$h/lib NETCTL_CONF_DIR=$root/$h/net.d nsenter --net="/run/netns/demo-$h" "$@"
}
# show HOST COMMAND...: prints it, runs it on the host, prints what came out.
show() {
    local h=$1; shift
    echo; echo "$h\$ $*"
    out=$(on "$h" "$@" 2>&1); status=$?
    [ -z "$out" ] || echo "$out"
    [ $status = 0 ] || fail "exit status $status"
}
# eventually HOST COMMAND...: waits until it succeeds, half a minute at most.
eventually() {
    for _ in $(seq 300); do on "$@" >/dev/null 2>&1 && return; sleep 0.1; done
    fail "never succeeded: $*"
}

start() { # start HOST ARGUMENTS...
    local h=$1; shift
    # Not by way of the function: $! is to be the program itself.
    NETCTL_STATE_DIR=$root/$h/run NETCTL_DATA_DIR=$root/$h/lib NETCTL_CONF_DIR=$root/$h/net.d \
        nsenter --net="/run/netns/demo-$h" overlayd --name "$h" "$@" 2>>"$root/$h/log" &
    pids+=($!)
}

cleanup() {
    for h in a b c; do
        [ -d "$root/$h" ] || continue
        on "$h" netctl ps -aq 2>/dev/null | while read -r id; do on "$h" netctl rm -f "$id" >/dev/null 2>&1; done
    done
    [ ${#pids[@]} = 0 ] || kill "${pids[@]}" 2>/dev/null
    wait 2>/dev/null
    [ $failures = 0 ] || tail -n 20 "$root"/*/log
    rm -rf "$root"
}
trap cleanup EXIT

# Names of namespaces live in this mount namespace only, and end with it.
mkdir -p /run/netns && mount -t tmpfs tmpfs /run/netns
ip link set lo up
ip link add switch type bridge && ip addr add 192.0.2.254/24 dev switch && ip link set switch up
n=0
for h in a b c; do
    n=$((n + 1))
    mkdir -p "$root/$h"
    ip netns add "demo-$h"
    ip link add "port-$h" type veth peer name eth0 netns "demo-$h"
    ip link set "port-$h" master switch up
    on "$h" ip link set lo up
    on "$h" ip addr add "192.0.2.$n/24" dev eth0
    on "$h" ip link set eth0 up
    on "$h" ip route add default via 192.0.2.254
done

echo "== three hosts, one etcd =="
etcd --data-dir "$root/etcd" --listen-client-urls http://192.0.2.254:2379 --advertise-client-urls http://192.0.2.254:2379 \
    --listen-peer-urls http://127.0.0.1:2380 --log-level error 2>"$root/etcd.log" &
pids+=($!)
etcd=$!
cat >"$root/overlay.json" <<'JSON'
{ "etcd": { "endpoints": ["http://192.0.2.254:2379"], "sessionSeconds": 5 } }
JSON
for h in a b c; do start $h --config "$root/overlay.json"; done
for h in a b c; do eventually $h netctl overlay doctor; done

work() { # the same for both stores
    show a netctl run -d --name web -p 8080:80 --network blue host python3 -m http.server 80
    show b netctl run -d --name db --network blue host sleep 600
    show c netctl run -d --name worker --network blue host sleep 600
    echo; echo "-- traffic and names across hosts"
    eventually b netctl exec db curl -s -m 2 -o /dev/null http://web/
    eventually c netctl exec worker curl -s -m 2 -o /dev/null http://web/
    show b netctl exec db curl -s -o /dev/null -w 'web answers: %{http_code} from %{remote_ip}' http://web/
    want 'web answers: 200 from 10\.'
    show c netctl exec worker getent hosts web db
    want web; want db
    echo; echo "-- the published port, from another host"
    show c curl -s -o /dev/null -w '192.0.2.1:8080 answers: %{http_code}' http://192.0.2.1:8080/
    want 200
}

echo; echo "== a network made on one host is usable on all =="
show a netctl network create -d overlay --subnet 10.100.0.0/16 blue
for h in b c; do eventually $h netctl network exists blue; done
work
show b netctl overlay status
want 'state +ready'
show a netctl network inspect -f '{{json .Overlay}}' blue
want '"owners"'

echo; echo "== a host is cut off, and comes back =="
echo; echo "switch\$ ip link set port-b down"; ip link set port-b down
on c curl -s -m 1 http://192.0.2.2/ >/dev/null 2>&1
out=$(on b netctl exec db curl -s -m 1 -o /dev/null -w '%{http_code}' http://web/ 2>&1); [ "$out" != 200 ] || fail "traffic over a cut link"
eventually b sh -c 'netctl overlay status | grep -q degraded'
show b sh -c 'netctl overlay status | grep state'
show b netctl run --rm --network blue host echo "containers still start here"
echo; echo "switch\$ ip link set port-b up"; ip link set port-b up
eventually b netctl exec db curl -s -m 2 -o /dev/null http://web/
show b netctl exec db curl -s -o /dev/null -w 'web answers: %{http_code}' http://web/
want 200
eventually b netctl overlay doctor

echo; echo "== a host leaves =="
show c netctl rm -f worker
show c netctl overlay leave
eventually a sh -c '! netctl overlay status | grep -q "^c "'
show a netctl overlay status
show c ip route show proto 86
[ -z "$out" ] || fail "routes are left on c"

echo; echo "== the network is removed everywhere =="
show a netctl rm -f web
show b netctl rm -f db
show a netctl network rm blue
eventually b sh -c '! netctl network exists blue'
for h in a b; do
    eventually $h sh -c '! ip link show netctl-overlay && [ -z "$(ip route show proto 86; nft list ruleset)" ]'
    show $h sh -c 'ip -o link show type bridge; ip route show proto 86; nft list ruleset'
    [ -z "$out" ] || fail "something is left on $h"
done
kill "${pids[@]}" 2>/dev/null; wait; pids=() # that of c has left already

echo; echo "== the same with a peers file, and no etcd =="
rm -rf "$root"/[abc]/{run,lib,net.d}
cat >"$root/peers.json" <<'JSON'
{ "networks": [ { "name": "blue", "ranges": ["10.100.0.0/16"] } ],
  "peers": [
    { "name": "a", "vtep": "192.0.2.1", "pools": { "blue": ["10.100.1.0/24"] } },
    { "name": "b", "vtep": "192.0.2.2", "pools": { "blue": ["10.100.2.0/24"] } },
    { "name": "c", "vtep": "192.0.2.3", "pools": { "blue": ["10.100.3.0/24"] } } ] }
JSON
cat "$root/peers.json"
for h in a b c; do start $h --peers "$root/peers.json"; done
for h in a b c; do eventually $h netctl network exists blue; done
work
show a netctl overlay doctor
show a netctl rm -f web
show b netctl rm -f db
show c netctl rm -f worker

echo
if [ $failures = 0 ]; then echo "demo: everything as it should be"; else echo "demo: $failures failures"; exit 1; fi
