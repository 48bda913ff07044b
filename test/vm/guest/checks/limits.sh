# Pure cgroup v2: what the kernel is told, and that it keeps it.
is "cgroup v2 and nothing else" "Cgroup version:  2" "$(netctl info)"
is "a container" "hello" "$(run --rootfs $rootfs -- /bin/cat /www/index.html)"

start web -m 32m --cpus 1.5 --cpu-shares 512 --cpuset-cpus 0 --pids-limit 7 --device-read-bps /dev/vda:1mb --device-write-iops /dev/vda:50 >/dev/null
is "memory.max" 33554432 "$(cgroup web memory.max)"
is "memory.swap.max: as much again" 33554432 "$(cgroup web memory.swap.max)"
is "cpu.weight: half of what is usual" 59 "$(cgroup web cpu.weight)"
is "cpu.max" "150000 100000" "$(cgroup web cpu.max)"
is "cpuset.cpus" 0 "$(cgroup web cpuset.cpus)"
is "pids.max" 7 "$(cgroup web pids.max)"
is "io.max, bytes" "rbps=1048576" "$(cgroup web io.max)"
is "io.max, operations" "wiops=50" "$(cgroup web io.max)"
is "stats" "32MiB" "$(netctl stats --no-stream web)"
is "pause" web "$(netctl pause web 2>&1)"
is "paused for the kernel" 1 "$(cgroup web cgroup.freeze)"
is "paused in ps" "Paused" "$(netctl ps)"
is "unpause" web "$(netctl unpause web 2>&1)"
is "running for the kernel" 0 "$(cgroup web cgroup.freeze)"
netctl pause web >/dev/null
is "a paused one is removed" web "$(netctl rm -f web 2>&1)"
start web -m 32m --memory-swap 48m --pids-limit -1 --device-write-bps /dev/vda:2mb --device-read-iops /dev/vda:70 >/dev/null
is "memory.swap.max: what --memory-swap leaves" 16777216 "$(cgroup web memory.swap.max)"
is "pids.max: none" max "$(cgroup web pids.max)"
is "io.max, bytes written" "wbps=2097152" "$(cgroup web io.max)"
is "io.max, operations of reading" "riops=70" "$(cgroup web io.max)"
netctl rm -f web >/dev/null
start web >/dev/null
is "pids.max: the default" 2048 "$(cgroup web pids.max)"
is "memory.max: the default" max "$(cgroup web memory.max)"
netctl rm -f web >/dev/null
is "a device that is none" "/dev/none" "$(run --device-read-bps /dev/none:1mb --rootfs $rootfs -- /bin/true)"

netctl run --name oom --network none -m 16m --shm-size 64m --rootfs $rootfs -- /bin/dd if=/dev/zero of=/dev/shm/x bs=1M count=40 2>/dev/null
is "killed for memory" 137 "$?"
is "said to be killed for memory" true "$(netctl inspect -f '{{.State.OOMKilled}}' oom)"
is "oom in the events" oom "$(netctl events --since 1h --until 0s 2>&1)"
netctl rm oom >/dev/null
is "fork refused" "fork" "$(run --pids-limit 16 --rootfs $rootfs -- /bin/sh -c 'for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18; do sleep 1 & done; wait')"
is "device refused" "ot permitted" "$(run --rootfs $rootfs -- /bin/sh -c 'mknod /tmp/mem c 1 1; head -c 1 /tmp/mem')"
is "device allowed" 1 "$(run --rootfs $rootfs -- /bin/sh -c 'head -c 1 /dev/urandom | wc -c')"

# That the kernel keeps them.
netctl run -d --name busy --network none --cpus 0.2 --rootfs $rootfs -- /bin/sh -c 'while :; do :; done' >/dev/null
throttled() { awk '$1 == "nr_throttled" { print ($2 > 0 ? "yes" : "no") }' "/sys/fs/cgroup/netctl/$(netctl inspect -f '{{.ID}}' busy)/cpu.stat"; }
until_is "the processor is taken away" yes throttled
netctl rm -f busy >/dev/null
[ -e $rootfs/large ] || dd if=/dev/urandom of=$rootfs/large bs=1M count=4 2>/dev/null
sync
slow() { # the least time, in seconds, that 4 MiB at 1 MiB a second take: the first second's worth is free
    before=$(seconds)
    run "$@" --rootfs $rootfs -- /bin/dd if=/large of=/dev/null bs=64k iflag=direct >/dev/null
    [ $(($(seconds) - before)) -ge 3 ] && echo yes || echo no
}
is "reading is slowed down" yes "$(slow --device-read-bps /dev/vda:1mb)"
