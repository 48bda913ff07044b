# VLAN filtering: two containers on one bridge and in two VLANs do not hear each
# other, two in one VLAN do.
attach() { # attach VERB NAME VLAN ADDRESS
    [ -e "/run/netns/$2" ] || ip netns add "$2"
    echo '{"cniVersion":"1.0.0","name":"lan","type":"bridge","bridge":"br0","vlan":'"$3"',"ipam":{"type":"static","addresses":[{"address":"'"$4"'/24"}]}}' |
        CNI_COMMAND=$1 CNI_CONTAINERID=$2 CNI_NETNS=/run/netns/$2 CNI_IFNAME=eth0 CNI_PATH=$NETCTL_CNI_PATH $NETCTL_CNI_PATH/bridge >/tmp/out 2>&1 || cat /tmp/out
}
attach ADD a 100 10.9.0.1; attach ADD b 100 10.9.0.2; attach ADD c 200 10.9.0.3
is "VLANs of the ports" "100 PVID Egress Untagged" "$(bridge vlan show)"
is "same VLAN" "1 packets received" "$(ip netns exec a busybox ping -c 1 -w 20 10.9.0.2)"
is "other VLAN" "0 packets received" "$(ip netns exec a busybox ping -c 1 -w 2 10.9.0.3)"
attach DEL a 100 10.9.0.1; attach DEL b 100 10.9.0.2; attach DEL c 200 10.9.0.3
ip netns del a; ip netns del b; ip netns del c
ip link del br0
