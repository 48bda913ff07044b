#!/usr/bin/env bash
# The main job, shown: a network, two containers, a name, a published port.
# It runs in a private "host" (network and mount namespace) with private state,
# prints each command and what came out, and fails if anything is wrong or
# anything is left behind.
set -uo pipefail
cd "$(dirname "$0")/.."

if [ "${1:-}" != inside ]; then
    # What the machine's own network had of ours before, it has afterwards.
    snapshot() {
        ip -o link | cut -d: -f2 | grep -E '^ (nb-|netctl0|uplink|outside)'
        iptables-save 2>/dev/null | grep NETCTL
        nft list tables | grep netctl
        ls -A /run/netctl 2>/dev/null
    }
    before=$(snapshot)
    unshare --net --mount --propagation slave "$0" inside
    status=$?
    if [ "$before" != "$(snapshot)" ]; then
        echo "FAILED: the machine is not as it was:"
        diff <(echo "$before") <(snapshot)
        status=1
    fi
    exit $status
fi

root=$(mktemp -d)
export NETCTL_STATE_DIR=$root/run NETCTL_DATA_DIR=$root/lib NETCTL_CONF_DIR=$root/net.d PATH=$PWD/bin:$PATH
failures=0

fail() { echo "FAILED: $*"; failures=$((failures + 1)); }

# show COMMAND...: prints it, runs it, prints what came out; $out has it.
show() {
    echo
    echo "\$ $*"
    out=$("$@" 2>&1)
    status=$?
    [ -z "$out" ] || echo "$out"
    [ $status = 0 ] || fail "exit status $status"
}
# want PATTERN: what came out last must have it.
want() { grep -qE -- "$1" <<<"$out" || fail "no '$1' in the output"; }
wantno() { ! grep -qE -- "$1" <<<"$out" || fail "'$1' is in the output"; }

# The private host has an address of its own, and a neighbour who comes from outside.
ip link set lo up
ip link add uplink type veth peer name outside
unshare --net sleep 300 & neighbour=$!
trap 'kill $neighbour 2>/dev/null; rm -rf "$root"' EXIT
until [ "$(readlink /proc/$neighbour/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do :; done
ip link set outside netns $neighbour
ip addr add 192.0.2.1/24 dev uplink && ip link set uplink up
nsenter --net=/proc/$neighbour/ns/net sh -c 'ip link set lo up; ip addr add 192.0.2.2/24 dev outside; ip link set outside up'

mkdir -p "$root/www" && echo "hello from web" >"$root/www/index.html"

echo "== a network and a web server =="
show netctl create my-bridge --subnet 10.88.0.0/16
show netctl run -d --name web --network my-bridge -p 8080:80 -v "$root/www:/www:ro" -w /www host /usr/bin/python3 -m http.server 80
want '^[0-9a-f]{64}$'
web=$out

echo; echo "== by name, from another container =="
show netctl run --rm --network my-bridge host curl -s --retry 50 --retry-connrefused --retry-delay 1 --max-time 20 http://web/
want 'hello from web'

echo; echo "== the published port: from the host, and from outside =="
show curl -s --max-time 5 http://127.0.0.1:8080/
want 'hello from web'
show curl -s --max-time 5 http://192.0.2.1:8080/
want 'hello from web'
show nsenter --net=/proc/$neighbour/ns/net curl -s --max-time 5 http://192.0.2.1:8080/
want 'hello from web'
show netctl run --rm --network my-bridge host curl -s --max-time 5 http://192.0.2.1:8080/
want 'hello from web'

echo; echo "== no network, and the host's =="
show netctl run --rm --network none host ip -brief addr
want '^lo .*127.0.0.1'; wantno eth0
show netctl run --rm --network host host ip -brief addr
want '^uplink'

echo; echo "== looking around =="
show netctl ps
want 'web'; want '0.0.0.0:8080->80/tcp'
show netctl ls
want 'my-bridge +bridge .*10.88.0.0/16'
show netctl inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' web
want '^10\.88\.0\.[0-9]+$'
show netctl logs web
want 'GET /'
show netctl exec web hostname

echo; echo "== and nothing is left =="
show netctl rm -f web
show netctl network rm my-bridge
show ip -brief link
wantno 'veth|nb-'
show iptables-save
wantno 'NETCTL|10\.88'
show nft list ruleset
wantno 'table .* netctl'
show netctl ps -a
wantno web
show find "$root" -mindepth 1 -type f -o -type s
wantno 'sock|state.json|netns/'
# network rm told the resolver to go, and processes need a moment to end.
for _ in $(seq 50); do
    out=$(findmnt -rn -o TARGET | grep -F "$root"; find /sys/fs/cgroup -type d -name "$web"; pgrep -af "$root")
    [ -n "$out" ] || break
    sleep 0.1
done
[ -z "$out" ] || fail "mounts, cgroups or processes left: $out"

echo
[ $failures = 0 ] && echo "All of it worked, and nothing is left behind." || echo "$failures step(s) FAILED."
exit $((failures > 0))
