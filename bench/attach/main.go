// Command attach times ADD and DEL of our plugins beside the reference plugins,
// netavark, and a floor: the bare netlink requests in one process. All of them
// run interleaved (A B A B) in one run, each in a private host namespace, each
// operation on a fresh container namespace. It prints medians, percentiles,
// CPU, processes started and the targets with their verdicts, and writes them
// and plots into a page of documentation.
package main

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// options of a run.
type options struct {
	ours, reference, netavark string
	rounds                    int
	levels, parallel          []int
	batch, batches            int
	only                      *regexp.Regexp
	page                      string
	command                   string
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "worker" {
		exit(work(os.Args[2:], os.Stdin, os.Stdout))
	}
	o, err := parse(os.Args[1:])
	if err != nil {
		exit(err)
	}
	exit(run(o))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func parse(args []string) (options, error) {
	var o options
	var levels, parallel, only string
	var quick bool
	f := flag.NewFlagSet("attach", flag.ExitOnError)
	f.StringVar(&o.ours, "ours", "bin/cni", "directory of our plugins")
	f.StringVar(&o.reference, "reference", "bin/reference", "directory of the reference plugins")
	f.StringVar(&o.netavark, "netavark", "/usr/lib/podman/netavark", "the netavark binary; empty leaves it out")
	f.IntVar(&o.rounds, "n", 60, "operations of each kind that count, with nothing attached; a third of it beside others")
	f.StringVar(&levels, "points", "0,100,500,1000", "numbers of containers that are attached already")
	f.StringVar(&parallel, "parallel", "1,2,8,32", "operations under way at the same time; empty leaves that part out")
	f.IntVar(&o.batch, "batch", 64, "attachments of one parallel measurement at the most; else twice as many as are under way, and at least 8")
	f.IntVar(&o.batches, "batches", 5, "parallel measurements of each kind")
	f.BoolVar(&quick, "quick", false, "a few operations of each kind, to see that everything works")
	f.StringVar(&only, "only", "", "regular expression of the implementations to run; all targets need all of them")
	f.StringVar(&o.page, "page", "", "page of documentation that gets the result")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if quick {
		setUnset(f, map[string]string{"n": "5", "points": "0,20", "parallel": "8", "batch": "16", "batches": "2"})
	}
	o.command = "bin/bench-attach " + strings.Join(args, " ")
	var err error
	if o.levels, err = numbers(levels); err == nil {
		o.parallel, err = numbers(parallel)
	}
	if err == nil {
		o.only, err = regexp.Compile(only)
	}
	return o, err
}

// setUnset sets the flags that were not given.
func setUnset(f *flag.FlagSet, values map[string]string) {
	f.Visit(func(given *flag.Flag) { delete(values, given.Name) })
	for name, value := range values {
		_ = f.Set(name, value)
	}
}

func numbers(list string) ([]int, error) {
	var result []int
	for word := range strings.SplitSeq(list, ",") {
		if word == "" {
			continue
		}
		n, err := strconv.Atoi(word)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("%q: want numbers with commas between them", list)
		}
		result = append(result, n)
	}
	return result, nil
}

// run makes a world per implementation, measures, and reports.
func run(o options) error {
	// What a plugin leaves running is handed to us, so that its share of the
	// processor is counted too.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become reaper of orphans: %w", err)
	}
	worlds, err := newWorlds(o)
	defer func() {
		for _, w := range worlds {
			w.close()
		}
	}()
	if err != nil {
		return err
	}
	if err := measure(o, worlds); err != nil {
		return err
	}
	return report(o, worlds)
}

func measure(o options, worlds []*world) error {
	for _, w := range worlds {
		progress("%s: count processes", w.name)
		if err := w.countProcesses(); err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
	}
	if err := atLevels(o, worlds, o.alone()); err != nil {
		return err
	}
	for _, p := range o.parallel {
		progress("%d in parallel", p)
		if err := inParallel(worlds, p, o); err != nil {
			return fmt.Errorf("%d in parallel: %w", p, err)
		}
	}
	return atLevels(o, worlds, o.beside())
}

// alone is the level with nothing attached, if it is asked for; beside are the others.
func (o options) alone() []int {
	return slices.DeleteFunc(slices.Clone(o.levels), func(n int) bool { return n > 0 })
}

func (o options) beside() []int {
	return slices.DeleteFunc(slices.Clone(o.levels), func(n int) bool { return n == 0 })
}

func atLevels(o options, worlds []*world, levels []int) error {
	for _, level := range levels {
		progress("%d attached", level)
		if err := atLevel(worlds, level, o.rounds); err != nil {
			return fmt.Errorf("%d attached: %w", level, err)
		}
	}
	return nil
}

func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, "# "+format+"\n", args...) }
