# Users of its own, on ext4 and Linux 6.1.
is "the mapping" "100000" "$(run --userns auto --rootfs $rootfs -- /bin/cat /proc/self/uid_map)"
is "the image's files are root's" "0 0" "$(run --userns auto --rootfs $rootfs -- /bin/stat -c '%u %g' /www/index.html)"
is "root writes" "hello" "$(run --userns auto --rootfs $rootfs -- /bin/sh -c 'echo more >>/www/index.html && cat /www/index.html')"
is "the image is unchanged" "hello" "$(cat $rootfs/www/index.html)"
is "the host's root is out of reach" "ermission denied" "$(run --userns auto -v /root:/host --rootfs $rootfs -- /bin/touch /host/x)"
netctl network create net --subnet 10.88.0.0/24 >/dev/null
netctl run -d --name web --network net -p 8080:80 --userns auto --rootfs $rootfs -- /bin/httpd -f -h /www >/dev/null
is "the host sees another user" 100000 "$(stat -c %u "/proc/$(netctl inspect -f '{{.State.Pid}}' web)")"
is "exec" "uid=0" "$(netctl exec web /bin/id 2>&1)"
is "AppArmor in exec" "netctl-default (enforce)" "$(netctl exec web /bin/cat /proc/self/attr/current 2>&1)"
is "a published port" hello "$(curl -s -S -m 20 http://127.0.0.1:8080/ 2>&1)"
is "limits" "max" "$(cgroup web memory.max)"
netctl rm -f web >/dev/null
netctl run --rm --network none --userns auto -v data:/data --rootfs $rootfs -- /bin/sh -c 'echo kept >/data/x'
is "a volume" "kept" "$(run --userns auto -v data:/data --rootfs $rootfs -- /bin/cat /data/x)"
is "a volume's root is everybody's" "0 0" "$(stat -c '%u %g' /var/lib/netctl/volumes/data/_data/x)"
netctl volume rm data >/dev/null
netctl network rm net >/dev/null
