// Command ipam times the allocation and release of an address, in pools of
// several sizes and fillings, in process and as a plugin's process, beside the
// reference host-local: interleaved in one run, each with a store of its own.
package main

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/netctl/netctl/bench/page"
	"github.com/netctl/netctl/test/netns"
)

// A pool is a subnet with so many addresses reserved.
type pool struct {
	subnet   netip.Prefix
	reserved int
}

func (p pool) String() string { return fmt.Sprintf("/%d, %d reserved", p.subnet.Bits(), p.reserved) }

// pools are the specification's: empty, half full and 98 % full. The last of
// the /16 is what the target is about.
func pools(quick bool, only string) []pool {
	small, large, huge := netip.MustParsePrefix("10.1.0.0/24"), netip.MustParsePrefix("10.2.0.0/16"), netip.MustParsePrefix("10.0.0.0/8")
	all := []pool{{small, 0}, {small, 127}, {small, 248}, {large, 0}}
	if quick {
		all = append(all, pool{large, 2000})
	} else {
		all = append(all, pool{large, 32767}, pool{large, 65000}, pool{huge, 100000})
	}
	return slices.DeleteFunc(all, func(p pool) bool { return !strings.Contains(p.String(), only) })
}

// A store gives addresses out and takes them back.
type store interface {
	name() string
	fill(n int) error
	allocate(id string) error
	release(id string) error
}

// times of one store at one pool.
type times struct{ allocate, release []time.Duration }

func main() {
	ours := flag.String("ours", "bin/cni", "directory of our plugins")
	reference := flag.String("reference", "bin/reference", "directory of the reference plugins")
	n := flag.Int("n", 30, "allocations and releases of each kind")
	only := flag.String("only", "", "only pools whose name contains this: \"/16\"")
	quick := flag.Bool("quick", false, "small pools only")
	file := flag.String("page", "", "page of documentation that gets the result")
	flag.Parse()
	if err := run(*ours, *reference, *n, pools(*quick, *only), *file); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

func run(ours, reference string, n int, all []pool, file string) error {
	results := map[pool]map[string]times{}
	for _, p := range all {
		fmt.Fprintln(os.Stderr, "#", p)
		r, err := measure(p, ours, reference, n)
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		results[p] = r
	}
	s := page.New("ipam")
	s.Printf("## Address allocation")
	s.Printf("")
	s.Printf("`go run ./bench/ipam %s` (%s). Medians of %d in milliseconds, allocation / release, [p90 of allocation].",
		strings.Join(os.Args[1:], " "), page.Machine(), n)
	s.Printf("In process is one transaction on the ledger's file, opened for it; the others are processes, from start to end.")
	s.Targets(targets(all, results))
	s.Table(table(all, results))
	s.Plot("pools", "allocation and release", page.Lines("Allocation, median", "addresses reserved", "ms", curves(all, results)))
	fmt.Print(s)
	if file == "" {
		return nil
	}
	return s.Write(file)
}

// measure fills a store of each kind and takes turns.
func measure(p pool, ours, reference string, n int) (map[string]times, error) {
	dir, err := os.MkdirTemp("", "bench-ipam-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	container, err := netns.NewDown()
	if err != nil {
		return nil, err
	}
	defer container.Close()
	stores, err := storesOf(p, dir, container.Path(), ours, reference)
	if err != nil {
		return nil, err
	}
	result := map[string]times{}
	for _, s := range stores {
		if err := s.fill(p.reserved); err != nil {
			return nil, fmt.Errorf("%s: fill: %w", s.name(), err)
		}
	}
	runtime.GC()     // what filling left is nobody's cost
	const warmUp = 1 // our host-local reads the reference's files once
	for i := range warmUp + n {
		for _, s := range stores {
			id := fmt.Sprintf("timed%d", i)
			start := time.Now()
			if err := s.allocate(id); err != nil {
				return nil, fmt.Errorf("%s: allocate: %w", s.name(), err)
			}
			middle := time.Now()
			if err := s.release(id); err != nil {
				return nil, fmt.Errorf("%s: release: %w", s.name(), err)
			}
			if i < warmUp {
				continue
			}
			t := result[s.name()]
			t.allocate = append(t.allocate, middle.Sub(start))
			t.release = append(t.release, time.Since(middle))
			result[s.name()] = t
		}
	}
	return result, nil
}

func percentile(values []time.Duration, percent int) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return float64(sorted[(len(sorted)-1)*percent/100].Nanoseconds()) / 1e6
}
