# macvlan on a network card that has the name the container's interface gets, and
# on a VLAN of it; another machine is on the same wire, by the guest's second card.
modprobe virtio_net
until_is "two network cards" eth1 ls /sys/class/net
ip link set eth0 up
ip netns add far
ip link set eth1 netns far
ip -n far link set eth1 up
ip link add link eth0 name eth0.7 type vlan id 7
ip -n far link add link eth1 name eth1.7 type vlan id 7
ip link set eth0.7 up
ip -n far link set eth1.7 up
for parent in eth0 eth0.7; do
    ip -n far addr add 192.0.2.1/24 dev "eth1${parent#eth0}"
    ip netns exec far busybox httpd -f -p 192.0.2.1:80 -h $rootfs/www & server=$!
    netctl network create -d macvlan --subnet 192.0.2.0/24 --gateway 192.0.2.1 -o parent=$parent lan >/dev/null
    netctl run -d --name web --network lan --ip 192.0.2.5 --rootfs $rootfs -- /bin/httpd -f -h /www >/dev/null
    is "$parent: a container's eth0" "eth0@" "$(netctl exec web /bin/ip link show eth0 2>&1)"
    is "$parent: another container, by name" hello "$(netctl run --rm --network lan --rootfs $rootfs -- /bin/wget -q -O - http://web/ 2>&1)"
    is "$parent: the machine on the wire" hello "$(netctl exec web /bin/wget -q -O - http://192.0.2.1/ 2>&1)"
    is "$parent: from the machine on the wire" hello "$(ip netns exec far curl -s -S -m 20 http://192.0.2.5/ 2>&1)"
    netctl rm -f web >/dev/null
    netctl network rm lan >/dev/null
    kill $server
    ip -n far addr flush dev "eth1${parent#eth0}"
done
ip netns del far
modprobe -r virtio_net
