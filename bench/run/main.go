// Command run times a whole container: start /bin/true, wait for its end, take
// everything away. netctl on no network, on the host's and on a bridge stands
// beside runc and crun, which make no network at all and mount no layers, and
// podman, on the same directory as root. All of them take turns (A B C A B C) in
// one run, in one private host, so that a disturbance of the machine hits all
// alike; what counts are the ratios.
//
// runc and crun are given netctl's own specification of the container, seccomp
// filter and limits included, or they would do less. What belongs to a boot is on a
// tmpfs for all of them, as /run is on any host. netctl has its network's rules once
// by iptables and once by nftables.
//
// It also counts what 200 starts and removals leave behind, and measures the
// memory of a container's monitor.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

type options struct {
	bin, page    string
	rounds, many int
}

func main() {
	var o options
	flag.StringVar(&o.bin, "bin", "bin", "directory of netctl and dnsd")
	flag.IntVar(&o.rounds, "n", 50, "rounds that count; three more warm up")
	flag.IntVar(&o.many, "many", 200, "starts and removals after which nothing may be left")
	flag.StringVar(&o.page, "page", "", "page of documentation that gets the result")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	bin, err := filepath.Abs(o.bin)
	if err != nil {
		return err
	}
	w, err := newWorld(bin)
	if err != nil {
		return err
	}
	defer w.close()
	found := figures{}
	if found.subjects, err = w.measure(o.rounds); err != nil {
		return err
	}
	for _, network := range []string{"none", bridge} {
		memory, err := w.monitorMemory(network)
		if err != nil {
			return err
		}
		found.memory = append(found.memory, memory)
	}
	if found.left, err = w.leftAfter(o.many); err != nil {
		return err
	}
	return report(o, found)
}
