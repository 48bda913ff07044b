#!/usr/bin/env bash
# Boots Debian's own kernel in a virtual machine and runs checks there: pure
# cgroup v2, AppArmor, VLAN filtering, SCTP, the overlay's packets, and all that is
# a module on a Debian host; the machines that tests usually run on lack some of it.
#
# Usage: run.sh BIN [WANTED...]
# WANTED: a file of guest/checks without .sh, or ./PACKAGE[=REGEX], the tests
# of a package. By default all in the list below.
# Environment: VMTEST_TIMEOUT, seconds [2400]: a loaded machine makes an emulated run long
set -euo pipefail
here=$(dirname "$(realpath "$0")")
bin=$(realpath "$1")
shift
wanted=("$@")
# What depends on the kernel: packets, routes, rules.
overlay='ContainersOfTwoHosts|FastPath|NetworksAreIsolated|ForgedPackets|DirectRoutes|IPv6|MTU|DamageIsRepaired|RestartWritesNothing'
[ $# -gt 0 ] || wanted=(limits apparmor network users vlan sctp macvlan doctor "./test/overlay=$overlay")
work=$bin/vm limit=${VMTEST_TIMEOUT:-2400}
mkdir -p "$work"

kernel=$("$here/kernel.sh" "$work")
"$here/disk.sh" "$bin" "$kernel" "$work" "${wanted[@]}"

# Two network cards on one wire, which leads nowhere else.
machine=(nice -n 10 qemu-system-x86_64 -nographic -no-reboot -m 1024 -smp 1 -kernel "$work"/vmlinuz
    -netdev hubport,id=one,hubid=0 -device virtio-net-pci,netdev=one,mac=52:54:00:00:00:01
    -netdev hubport,id=two,hubid=0 -device virtio-net-pci,netdev=two,mac=52:54:00:00:00:02)

# kvm_works: /dev/kvm can be there, make a machine, and never run it (in a
# virtual machine whose own host does not nest them). So: a kernel without a
# disk has to print its first line.
kvm_works() {
    [ -w /dev/kvm ] || return 1
    timeout -k 1 10 "${machine[@]}" -machine pc,accel=kvm -cpu host -append "console=ttyS0 earlyprintk=ttyS0 panic=-1" </dev/null 2>&1 |
        grep -a -q -m 1 'Linux version'
}
if kvm_works; then
    machine+=(-machine pc,accel=kvm -cpu host)
else
    echo "no KVM here that runs a kernel: the processor is emulated, some minutes"
    # The guest's clock counts instructions, so that a busy machine makes the run
    # long, and not its programs late.
    machine+=(-machine pc,accel=tcg -cpu max -icount shift=2)
fi

# What the machine's own programs print before the guest is not shown.
timeout -k 5 "$limit" "${machine[@]}" -initrd "$work/initrd" \
    -drive "file=$work/disk,format=raw,if=virtio,cache=unsafe" \
    -append "console=ttyS0 loglevel=4 rcupdate.rcu_cpu_stall_suppress=1 panic=-1 oops=panic apparmor=1 security=apparmor" </dev/null 2>&1 |
    sed -u 's/\r//' | tee "$work/console" | sed -u -n '/# Linux/,/^DONE/p' || true
case $(grep -a '^DONE' "$work/console") in
    "DONE 0 failed") ;;
    "") tail -n 20 "$work/console" >&2
        echo "the guest did not come to its end within $limit s; its console: $work/console" >&2
        exit 1 ;;
    *)  exit 1 ;;
esac
