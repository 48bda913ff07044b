# VLAN filtering, as packets see it: a and b are in VLAN 100, c in 200, d in the
# bridge's default one; t carries both, tagged.
attach() { # attach VERB NAME ADDRESS KEYS
    [ -e "/run/netns/$2" ] || ip netns add "$2"
    echo '{"cniVersion":"1.0.0","name":"lan","type":"bridge","bridge":"br0",'"$4"'"ipam":{"type":"static","addresses":[{"address":"'"$3"'/24"}]}'"$5"'}' |
        CNI_COMMAND=$1 CNI_CONTAINERID=$2 CNI_NETNS=/run/netns/$2 CNI_IFNAME=eth0 CNI_PATH=$NETCTL_CNI_PATH "$NETCTL_CNI_PATH/bridge" 2>&1
}
ping1() { ip netns exec "$1" busybox ping -c 1 -w "$2" "$3" 2>&1; }
trunk='"vlanTrunk":[{"id":100},{"minID":199,"maxID":200}],'
result=$(attach ADD a 10.9.0.1 '"vlan":100,')
for arguments in 'b 10.9.0.2 "vlan":100,' 'c 10.9.0.3 "vlan":200,' 'd 10.9.0.4 ' "t 10.9.0.5 $trunk" 'k 10.9.0.6 "vlan":200,"preserveDefaultVlan":true,'; do
    set -- $arguments
    attach ADD "$1" "$2" "$3" >/dev/null
done
is "a port's VLAN" "100 PVID Egress Untagged" "$(bridge vlan show)"
is "ping in one VLAN" "1 packets received" "$(ping1 a 20 10.9.0.2)"
is "no ping between VLANs" "0 packets received" "$(ping1 a 2 10.9.0.3)"
is "no ping into the default VLAN" "0 packets received" "$(ping1 a 2 10.9.0.4)"
is "no ping of a trunk's untagged end" "0 packets received" "$(ping1 t 2 10.9.0.1)"
ip netns exec t sh -ec 'ip addr flush dev eth0
    for id in 100 200; do ip link add link eth0 name eth0.$id type vlan id $id; ip addr add 10.9.0.5/24 dev eth0.$id; done'
for id in 100 200; do
    ip netns exec t sh -ec "ip link set eth0.100 down; ip link set eth0.200 down; ip link set eth0.$id up"
    [ $id = 100 ] && near=10.9.0.1 far=10.9.0.3 || near=10.9.0.3 far=10.9.0.1
    is "a trunk reaches VLAN $id" "1 packets received" "$(ping1 t 20 $near)"
    is "and no other through it" "0 packets received" "$(ping1 t 2 $far)"
done
# What VLAN 1 has to say reaches k, which has kept it beside its own.
is "preserveDefaultVlan" "1 Egress Untagged" "$(bridge -o vlan show | grep '200 PVID' | grep '1 Egress')"
is "CHECK" "" "$(attach CHECK a 10.9.0.1 '"vlan":100,' ',"prevResult":'"$result")"
port=$(ip netns exec a ip -o link show eth0 | sed 's/.*@if\([0-9]*\):.*/\1/')
port=$(ip -o link | sed -n "s/^$port: \([^@]*\)@.*/\1/p")
bridge vlan del dev "$port" vid 100
is "CHECK misses the VLAN" "VLAN 100 is not the native one" "$(attach CHECK a 10.9.0.1 '"vlan":100,' ',"prevResult":'"$result")"
for container in a b c d t k; do attach DEL $container 10.9.0.1 ''; ip netns del $container; done
ip link del br0
