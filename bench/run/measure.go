package main

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// subject is one way to run the container. args are made anew for each run.
type subject struct {
	name string
	args func(i int) []string
	// firewall is the mechanism of the host that it works on.
	firewall string
	// missing says why it can't be measured here.
	missing string
	took    []time.Duration
	cpu     time.Duration // of all rounds that count, user and system
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
			return []string{name, "--root", filepath.Join(w.boot(), name), "run", "--bundle", bundle, "bench-" + name + strconv.Itoa(i)}
		}
	}
	podman := func(network string) func(int) []string {
		return func(int) []string {
			return []string{"podman", "--root", w.dir + "/podman", "--runroot", w.boot() + "/podman", "--cgroup-manager", "cgroupfs",
				"--runtime", "runc", "run", "--rm", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000", "--network", network, "--rootfs", w.root, "/bin/true"}
		}
	}
	return []*subject{
		{name: "netctl none", args: ours("none")},
		{name: "netctl host", args: ours("host")},
		{name: "netctl bridge, iptables", args: ours(bridge), firewall: iptables},
		{name: "netctl bridge, nftables", args: ours(bridge), firewall: nftables},
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
	if err := adopt(); err != nil {
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
			cpu, err := w.timed(s.firewall, args)
			took := time.Since(begun)
			cpu += bury()
			switch {
			case err != nil && i == 0:
				s.missing = err.Error()
			case err != nil:
				return nil, err
			case i >= warmUp:
				s.took = append(s.took, took)
				s.cpu += cpu
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
