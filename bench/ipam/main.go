// Command ipam times the allocation and release of an address, in pools of
// several sizes and fillings, in process and as a plugin's process, beside the
// reference host-local: interleaved in one run, each with a store of its own.
package main

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/netctl/netctl/bench/page"
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

// results are by pool and by column.
type results map[pool]map[string]*times

func main() {
	ours := flag.String("ours", "bin/cni", "directory of our plugins")
	reference := flag.String("reference", "bin/reference", "directory of the reference plugins")
	n := flag.Int("n", 60, "allocations and releases of each kind")
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
	found, err := measure(all, ours, reference, n)
	if err != nil {
		return err
	}
	s := page.New("ipam")
	s.Printf("## Address allocation")
	s.Printf("")
	s.Printf("`go run ./bench/ipam %s` (%s). Medians of %d (the reference's of %d) in milliseconds, allocation / release, [p90 of allocation].",
		strings.Join(os.Args[1:], " "), page.Machine(), n, (n+seldom-1)/seldom)
	s.Printf("In process is one transaction on the ledger's file, opened for it; the others are processes, from start to end. All pools take turns. The ledger is in memory, as")
	s.Printf("/run is; the files of host-local are on disk, as /var/lib is. In process %d allocations follow on each other, of all pools in turns, but for the last column's.", often)
	s.Targets(targets(all, found))
	s.Table(table(all, found))
	s.Plot("pools", "allocation and release", page.Lines("Allocation, median", "addresses reserved", "ms", curves(all, found)))
	fmt.Print(s)
	if file == "" {
		return nil
	}
	return s.Write(file)
}

// seldom is how many rounds go by for each that the reference takes part in: it
// needs up to a second where thousands are reserved.
const seldom = 6

// measure fills a store of each kind for each pool and has them take turns: of
// one kind all pools, then the next kind, so that what is compared with each other
// finds the processor's caches in the same state.
func measure(all []pool, ours, reference string, n int) (results, error) {
	filled, err := fill(all, ours, reference)
	if filled != nil {
		defer filled.close()
	}
	if err != nil {
		return nil, err
	}
	found := results{}
	for _, p := range all {
		found[p] = map[string]*times{}
		for _, column := range columns() {
			found[p][column] = &times{}
		}
	}
	const warmUp = 1 // our host-local reads the reference's files once
	for i := range warmUp + n {
		for kind, name := range names() {
			if name == referenceHost && i >= warmUp && (i-warmUp)%seldom != 0 {
				continue
			}
			for _, column := range columnsOf(name) {
				for turn := range all {
					p := all[(turn+i)%len(all)]
					t := found[p][column]
					if i < warmUp {
						t = &times{}
					}
					if err := t.add(filled.stores[p][kind], fmt.Sprintf("timed%d", i)); err != nil {
						return nil, fmt.Errorf("%s: %s: %w", p, name, err)
					}
				}
			}
		}
	}
	return found, nil
}

// add times an allocation and its release.
func (t *times) add(s store, id string) error {
	start := time.Now()
	if err := s.allocate(id); err != nil {
		return fmt.Errorf("allocate: %w", err)
	}
	middle := time.Now()
	if err := s.release(id); err != nil {
		return fmt.Errorf("release: %w", err)
	}
	t.allocate = append(t.allocate, middle.Sub(start))
	t.release = append(t.release, time.Since(middle))
	return nil
}

func percentile(values []time.Duration, percent int) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return float64(sorted[(len(sorted)-1)*percent/100].Nanoseconds()) / 1e6
}
