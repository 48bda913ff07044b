package main

import (
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"
)

// subject is one way to run the container. args are made anew for each run.
type subject struct {
	name string
	args func(i int) []string
	// missing says why it can't be measured here.
	missing string
	took    []time.Duration
}

func (w *world) subjects() ([]*subject, error) {
	bundle, err := w.bundle()
	if err != nil {
		return nil, err
	}
	ours := func(network string) func(int) []string {
		return func(int) []string {
			return []string{filepath.Join(w.bin, "netctl"), "run", "--rm", "--network", network, "--rootfs", w.root, "--", "/bin/true"}
		}
	}
	runtime := func(name string) func(int) []string {
		return func(i int) []string {
			return []string{name, "--root", filepath.Join(w.dir, name), "run", "--bundle", bundle, "bench-" + name + strconv.Itoa(i)}
		}
	}
	podman := func(network string) func(int) []string {
		return func(int) []string {
			return []string{"podman", "--root", w.dir + "/podman", "--runroot", w.dir + "/podman-run", "--cgroup-manager", "cgroupfs",
				"--runtime", "runc", "run", "--rm", "--ulimit", "host", "--network", network, "--rootfs", w.root, "/bin/true"}
		}
	}
	return []*subject{
		{name: "netctl none", args: ours("none")},
		{name: "netctl host", args: ours("host")},
		{name: "netctl bridge", args: ours("bench")},
		{name: "runc run", args: runtime("runc")},
		{name: "crun run", args: runtime("crun")},
		{name: "podman none", args: podman("none")},
		{name: "podman bridge", args: podman("bridge")},
	}, nil
}

// measure has the subjects take turns. One that fails in its first turn is left
// out, with the reason; later a failure ends the run.
func (w *world) measure(rounds int) ([]*subject, error) {
	all, err := w.subjects()
	if err != nil {
		return nil, err
	}
	const warmUp = 3
	for i := range rounds + warmUp {
		for _, s := range all {
			if s.missing != "" {
				continue
			}
			args := s.args(i)
			if _, err := exec.LookPath(args[0]); err != nil {
				s.missing = err.Error()
				continue
			}
			begun := time.Now()
			_, err := w.execute(args...)
			took := time.Since(begun)
			switch {
			case err != nil && i == 0:
				s.missing = err.Error()
			case err != nil:
				return nil, err
			case i >= warmUp:
				s.took = append(s.took, took)
			}
		}
	}
	for _, s := range all {
		slices.Sort(s.took)
	}
	return all, nil
}

// at is a quantile of the sorted times.
func (s *subject) at(q float64) time.Duration {
	if len(s.took) == 0 {
		return 0
	}
	return s.took[int(q*float64(len(s.took)-1))]
}

// report prints the table and the targets of the specification, and tells whether
// they are met.
func report(w io.Writer, all []*subject) bool {
	byName := map[string]*subject{}
	for _, s := range all {
		byName[s.name] = s
	}
	runc, podman := byName["runc run"], byName["podman bridge"]
	table := tabwriter.NewWriter(w, 0, 1, 3, ' ', 0)
	fmt.Fprintln(table, "run, wait, remove\tn\tmin\tp50\tp90\tp50 to runc's")
	for _, s := range all {
		if s.missing != "" {
			fmt.Fprintf(table, "%s\tnot measured: %s\n", s.name, s.missing)
			continue
		}
		fmt.Fprintf(table, "%s\t%d\t%s\t%s\t%s\t%s\n", s.name, len(s.took), millis(s.at(0)), millis(s.at(0.5)), millis(s.at(0.9)), ratio(s, runc))
	}
	_ = table.Flush()
	ok := target(w, "netctl bridge to runc run", byName["netctl bridge"], runc, 1.3)
	return target(w, "netctl bridge to podman bridge", byName["netctl bridge"], podman, 0.4) && ok
}

func ratio(s, to *subject) string {
	if s.at(0.5) == 0 || to.at(0.5) == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", float64(s.at(0.5))/float64(to.at(0.5)))
}

// target compares medians. What could not be measured is no success.
func target(w io.Writer, name string, s, to *subject, most float64) bool {
	a, b := s.at(0.5), to.at(0.5)
	met := a > 0 && b > 0 && float64(a) <= most*float64(b)
	return verdict(w, name, ratio(s, to), fmt.Sprintf("%.1f", most), met)
}

func verdict(w io.Writer, name, is, most string, met bool) bool {
	word := "met"
	if !met {
		word = "MISSED"
	}
	fmt.Fprintf(w, "%s: %s, at most %s: %s\n", name, is, most, word)
	return met
}

func millis(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }
