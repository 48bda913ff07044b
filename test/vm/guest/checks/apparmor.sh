# AppArmor: our profile, another one, none, one that is not there.
is "first process" "netctl-default (enforce)" "$(run --rootfs $rootfs -- /bin/cat /proc/self/attr/current)"
start web >/dev/null
is "exec" "netctl-default (enforce)" "$(netctl exec web /bin/cat /proc/self/attr/current 2>&1)"
is "inspect" "netctl-default" "$(netctl inspect -f '{{.AppArmorProfile}}' web)"
netctl rm -f web >/dev/null
is "the profile keeps mounts away" "ermission denied" "$(run --cap-add SYS_ADMIN --security-opt seccomp=unconfined --rootfs $rootfs -- /bin/mount -t tmpfs x /tmp)"
is "unconfined" "unconfined" "$(run --security-opt apparmor=unconfined --rootfs $rootfs -- /bin/cat /proc/self/attr/current)"
is "not loaded" "no such profile is loaded" "$(run --security-opt apparmor=nope --rootfs $rootfs -- /bin/cat /www/index.html)"
printf 'profile mine flags=(attach_disconnected) {\n  file,\n  deny /www/** r,\n}\n' | apparmor_parser -r
is "one's own profile" "mine (enforce)" "$(run --security-opt apparmor=mine --rootfs $rootfs -- /bin/cat /proc/self/attr/current)"
is "one's own profile is kept" "ermission denied" "$(run --security-opt apparmor=mine --rootfs $rootfs -- /bin/cat /www/index.html)"
