# A bridge, names, published ports, restart: on Debian's modules.
netctl network create net --subnet 10.88.0.0/24 >/dev/null
netctl run -d --name web --network net -p 8080:80 --restart always --rootfs $rootfs -- /bin/httpd -f -h /www >/dev/null
is "a name on a bridge" "hello" "$(netctl run --rm --network net --rootfs $rootfs -- /bin/wget -q -O - http://web/ 2>&1)"
is "a published port" "hello" "$(busybox wget -q -O - http://127.0.0.1:8080/ 2>&1)"
kill -9 "$(netctl inspect -f '{{.State.Pid}}' web)"
until_is "restarted" "1 running" netctl inspect -f '{{.RestartCount}} {{.State.Status}}' web
netctl rm -f web >/dev/null
netctl network rm net >/dev/null
