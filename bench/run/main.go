// Command run times a whole container: start /bin/true, wait for its end, take
// everything away. netctl on no network, on the host's and on a bridge stands
// beside runc and crun, which make no network at all and mount no layers, and
// podman, on the same directory as root. All of them take turns (A B C A B C) in
// one run, in one private host, so that a disturbance of the machine hits all
// alike; what counts are the ratios.
//
// runc and crun are given netctl's own specification of the container, seccomp
// filter and limits included, or they would do less.
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
	bin          string
	rounds, many int
}

func main() {
	var o options
	flag.StringVar(&o.bin, "bin", "bin", "directory of netctl and dnsd")
	flag.IntVar(&o.rounds, "n", 50, "rounds that count; three more warm up")
	flag.IntVar(&o.many, "many", 200, "starts and removals after which nothing may be left")
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
	results, err := w.measure(o.rounds)
	if err != nil {
		return err
	}
	ok := report(os.Stdout, results)
	memory, err := w.monitorMemory()
	if err != nil {
		return err
	}
	ok = verdict(os.Stdout, "monitor's private memory", fmt.Sprintf("%.1f MB", float64(memory)/1e6), "3 MB", memory <= 3e6) && ok
	left, err := w.leftAfter(o.many)
	if err != nil {
		return err
	}
	ok = verdict(os.Stdout, fmt.Sprintf("left after %d starts and removals", o.many), fmt.Sprint(left), "0", left == 0) && ok
	if !ok {
		return fmt.Errorf("a target was missed")
	}
	return nil
}
