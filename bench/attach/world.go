package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/netctl/netctl/bench/boot"
	"github.com/netctl/netctl/test/netns"
)

// A world is a private host on which one implementation works.
type world struct {
	implementation
	subject subject
	host    *netns.Namespace
	state   string

	serial int
	// standing are the containers that stay attached; used those that have
	// served. Their namespaces are kept to the end, so that the kernel takes
	// none down while it is timed.
	standing, used []*netns.Namespace

	series    []series
	rates     []*rates
	processes map[string]int // by verb
}

func newWorlds(o options) ([]*world, error) {
	var worlds []*world
	for _, i := range implementations(o) {
		if !o.only.MatchString(i.name) {
			continue
		}
		w, err := newWorld(i)
		if w != nil {
			worlds = append(worlds, w)
		}
		if err != nil {
			return worlds, fmt.Errorf("%s: %w", i.name, err)
		}
	}
	return worlds, nil
}

func newWorld(i implementation) (*world, error) {
	host, err := netns.New()
	if err != nil {
		return nil, err
	}
	w := &world{implementation: i, host: host, processes: map[string]int{}}
	if w.state, err = boot.Dir("bench-attach-"); err != nil {
		return w, err
	}
	// A parent for macvlan.
	if err := host.Run("ip", "link", "add", "up0", "type", "veth", "peer", "name", "up1"); err != nil {
		return w, err
	}
	if err := host.Run("ip", "link", "set", "up0", "up"); err != nil {
		return w, err
	}
	w.subject, err = i.open(w)
	return w, err
}

func (w *world) close() {
	if w.subject != nil {
		w.subject.close()
	}
	for _, c := range append(w.standing, w.used...) {
		if c != w.host {
			c.Close()
		}
	}
	w.host.Close()
	os.RemoveAll(w.state)
}

// container makes the namespace of the next container.
func (w *world) container() (operation, error) {
	w.serial++
	if w.shared {
		return operation{serial: w.serial, container: w.host}, nil
	}
	n, err := netns.NewDown()
	return operation{serial: w.serial, container: n}, err
}

// fill attaches containers that stay, two at a time.
func (w *world) fill(n int) error {
	for len(w.standing) < n {
		var batch []operation
		for range min(2, n-len(w.standing)) {
			op, err := w.container()
			if err != nil {
				return err
			}
			op.verb = "ADD"
			batch = append(batch, op)
			w.standing = append(w.standing, op.container)
		}
		if _, err := w.all(batch, len(batch)); err != nil {
			return fmt.Errorf("attach container %d: %w", w.serial, err)
		}
	}
	return w.subject.settle()
}

// once attaches and detaches one container.
func (w *world) once(settle bool) (add, del cost, err error) {
	op, err := w.container()
	if err != nil {
		return add, del, err
	}
	w.used = append(w.used, op.container)
	op.verb = "ADD"
	if add, op.result, err = w.subject.do(op, settle); err != nil {
		return add, del, err
	}
	op.verb = "DEL"
	del, _, err = w.subject.do(op, settle)
	return add, del, err
}

// all carries operations out, some at a time, and fills in their results.
func (w *world) all(ops []operation, parallel int) (time.Duration, error) {
	if one, ok := w.subject.(*worker); ok {
		return one.all(ops)
	}
	var g errgroup.Group
	g.SetLimit(parallel)
	start := time.Now()
	for i := range ops {
		g.Go(func() (err error) {
			_, ops[i].result, err = w.subject.do(ops[i], false)
			return err
		})
	}
	err := g.Wait()
	return time.Since(start), err
}

// all of a worker come one after the other: it is one process. What it takes is
// the sum of the times.
func (w *worker) all(ops []operation) (time.Duration, error) {
	var total time.Duration
	for i := range ops {
		took, result, err := w.do(ops[i], true)
		if err != nil {
			return total, err
		}
		total += took.wall
		ops[i].result = result
	}
	return total, nil
}

// countProcesses has strace count the programs that one ADD and one DEL
// execute, the plugins themselves included, beside a container that stays.
func (w *world) countProcesses() error {
	if err := w.fill(1); err != nil {
		return err
	}
	if _, inside := w.subject.(*worker); inside {
		return nil
	}
	op, err := w.container()
	if err != nil {
		return err
	}
	w.used = append(w.used, op.container)
	for _, verb := range []string{"ADD", "DEL"} {
		op.verb, op.trace = verb, filepath.Join(w.state, verb+".strace")
		if _, op.result, err = w.subject.do(op, true); err != nil {
			return err
		}
		log, err := os.ReadFile(op.trace)
		if err != nil {
			return err
		}
		for line := range bytes.Lines(log) {
			if bytes.HasSuffix(bytes.TrimSpace(line), []byte("= 0")) {
				w.processes[verb]++
			}
		}
	}
	return nil
}
