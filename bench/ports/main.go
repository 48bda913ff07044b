// Command ports measures published ports: ADD and DEL of the chained portmap
// plugin with some ports beside hundreds of containers that publish already,
// and new TCP connections per second through the last of a thousand ports. Our
// plugin with both of its mechanisms is compared with the reference portmap
// with both of its, interleaved in one run; each has private hosts of its own.
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// options are the points that a run measures.
type options struct {
	ours, reference string
	rounds          int
	attached, ports []int
	connections     int
	page            string
	command         string
}

func main() {
	o := options{command: strings.Join(append([]string{"bench/ports"}, os.Args[1:]...), " ")}
	flag.StringVar(&o.ours, "ours", "bin/cni", "directory of our plugins")
	flag.StringVar(&o.reference, "reference", "bin/reference", "directory of the reference plugins")
	flag.IntVar(&o.rounds, "n", 15, "rounds that count, at each point")
	flag.StringVar(&o.page, "page", "", "page of documentation that gets the figures")
	attached := flag.String("attached", "0,100,500,1000", "containers that publish a port already")
	ports := flag.String("ports", "1,3,20", "ports that the measured container publishes")
	flag.IntVar(&o.connections, "connections", 3000, "connections in a round; 0 leaves that part out")
	flag.Parse()
	err := numbers(*attached, &o.attached)
	if err == nil {
		err = numbers(*ports, &o.ports)
	}
	if err == nil {
		err = run(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

func numbers(text string, into *[]int) error {
	for _, word := range strings.Split(text, ",") {
		n, err := strconv.Atoi(word)
		if err != nil || n < 0 || n > maxContainers {
			return fmt.Errorf("invalid number %q: want 0 to %d, separated by commas", word, maxContainers)
		}
		*into = append(*into, n)
	}
	slices.Sort(*into)
	return nil
}

// run fills the worlds step by step and measures at each; the connections come
// last, when all ports are published.
func run(o options) error {
	if err := verifySeeds(o.reference); err != nil {
		return err
	}
	worlds, err := newWorlds(o)
	if err != nil {
		return err
	}
	defer closeAll(worlds)
	var calls []point
	for _, level := range o.attached {
		for _, w := range worlds {
			if err := w.fill(level); err != nil {
				return fmt.Errorf("%s: fill to %d: %w", w.name, level, err)
			}
		}
		for _, ports := range o.ports {
			p := point{attached: level, ports: ports}
			if err := p.measure(worlds, o.rounds); err != nil {
				return err
			}
			calls = append(calls, p)
		}
		progress("%d attached: done", level)
	}
	rates, err := connectionRates(o, worlds)
	if err != nil {
		return err
	}
	return report(o, calls, rates)
}

// progress tells on the standard error what the run is at.
func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
