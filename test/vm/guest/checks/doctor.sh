# The doctor's questions to this kernel: one healthy set-up, and some that are
# broken in one way.
finds() { # finds NAME CAUSE ARGS...
    cause=$2 what=$1
    shift 2
    is "$what" "$cause" "$(netctl doctor --timeout 20s "$@" 2>&1)"
}
serve() { # serve NAME PORT LISTEN: a web server that listens
    netctl run -d --name "$1" --network net -p "$2:80" --rootfs $rootfs -- /bin/httpd -f -p "$3" -h /www >/dev/null
    until_is "$1 listens" LISTEN netctl exec "$1" /bin/netstat -ltn
}
netctl network create net --subnet 10.88.0.0/24 >/dev/null
serve web 8080 80
serve wrong 8081 81
serve inner 8082 127.0.0.1:80
finds "all is well" "nothing is wrong" web --port 8080
finds "another port" "nothing in wrong listens on port 80/tcp; its program listens on 81" wrong --port 8081
finds "the loopback interface only" "listens on port 80 of its loopback interface only" inner --port 8082
finds "a port of nobody" "no container publishes port 8083" --port 8083
nft add table ip mine
nft add chain ip mine forward '{ type filter hook forward priority 10; }'
nft add rule ip mine forward tcp dport 80 drop
finds "a rule of the host's" "by nft chain ip mine forward, rule: tcp dport == 80 drop" web --port 8080
nft delete table ip mine
iptables -I OUTPUT -p tcp --dport 80 -j DROP
finds "a rule of iptables" "by iptables chain OUTPUT, rule:" web --port 8080
iptables -D OUTPUT -p tcp --dport 80 -j DROP
sysctl -q -w net.ipv4.ip_forward=0
finds "no forwarding" "net.ipv4.ip_forward is 0" web --port 8080
sysctl -q -w net.ipv4.ip_forward=1
netctl network create other --subnet 10.89.0.0/24 >/dev/null
netctl run -d --name far --network other --rootfs $rootfs -- /bin/sleep 1000 >/dev/null
finds "another network" "far and web have no network in common" far --to web --port 80
netctl network connect other web
finds "all is well when they have one" "nothing is wrong" far --to web --port 80
finds "all is well again" "nothing is wrong" web --port 8080
netctl rm -f web wrong inner far >/dev/null
netctl network rm net other >/dev/null
