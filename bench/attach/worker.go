package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"
)

// A worker is a process of this program that lives in the host namespace and
// carries operations out in itself: the floor, and what `netctl run` does.
type worker struct {
	world *world
	kind  string
	life  life

	cmd  *exec.Cmd
	send *json.Encoder
	in   io.Closer
	recv *json.Decoder
}

// life tells whether there is a process per operation.
type life bool

const (
	// fresh is what `netctl run` has: the monitor, a process per container,
	// attaches once, with nothing of the path in its page tables yet.
	fresh   life = true
	lasting life = false
)

// task and answer are the worker's protocol.
type task struct {
	Verb, ID, Netns, Address string
	Port                     int
	Result                   json.RawMessage `json:",omitempty"`
}

type answer struct {
	Wall, CPU time.Duration
	Result    json.RawMessage `json:",omitempty"`
	Error     string
}

func openWorker(kind string, l life) func(*world) (subject, error) {
	return func(w *world) (subject, error) { return &worker{world: w, kind: kind, life: l}, nil }
}

func (w *worker) start() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	w.cmd = command("", self, "worker", w.kind, w.world.state)
	w.cmd.Stderr = os.Stderr
	in, err := w.cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	w.send, w.in, w.recv = json.NewEncoder(in), in, json.NewDecoder(out)
	return w.world.host.Do(w.cmd.Start)
}

func (w *worker) do(op operation, settle bool) (cost, []byte, error) {
	if w.cmd == nil {
		if err := w.start(); err != nil {
			return cost{}, nil, fmt.Errorf("start worker: %w", err)
		}
	}
	t := task{Verb: op.verb, ID: op.id(), Netns: op.container.Path(), Address: op.address(), Port: op.port(), Result: op.result}
	if err := w.send.Encode(t); err != nil {
		return cost{}, nil, fmt.Errorf("worker %s: %w", w.kind, err)
	}
	var a answer
	if err := w.recv.Decode(&a); err != nil {
		return cost{}, nil, fmt.Errorf("worker %s: %w", w.kind, err)
	}
	took := cost{a.Wall, a.CPU}
	if a.Error != "" {
		return took, nil, fmt.Errorf("worker %s: %s: %s", w.kind, op.verb, a.Error)
	}
	if w.life == fresh {
		if err := w.close(); err != nil {
			return took, nil, err
		}
	}
	return took, a.Result, nil
}

func (w *worker) settle() error { return nil }

// close ends the process, if there is one.
func (w *worker) close() error {
	if w.cmd == nil {
		return nil
	}
	w.in.Close()
	group := w.cmd.Process.Pid
	err := w.cmd.Wait()
	w.cmd = nil
	if _, late := reap(group); err == nil {
		err = late
	}
	return err
}

// A job carries tasks out inside a worker.
type job interface {
	do(task) (wall time.Duration, result []byte, err error)
}

// work is the worker's main function.
func work(args []string, in io.Reader, out io.Writer) error {
	open := map[string]func(state string) (job, error){"floor": openFloor, "list": openList}[args[0]]
	j, err := open(args[1])
	if err != nil {
		return err
	}
	decoder, encoder := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var t task
		if err := decoder.Decode(&t); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		before := ownTime()
		wall, result, err := j.do(t)
		a := answer{Wall: wall, CPU: ownTime() - before, Result: result}
		if err != nil {
			a.Error = err.Error()
		}
		if err := encoder.Encode(a); err != nil {
			return err
		}
	}
}

// ownTime is the processor time of this process and its children so far.
func ownTime() time.Duration {
	var own, children unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &own)
	_ = unix.Getrusage(unix.RUSAGE_CHILDREN, &children)
	return processorTime(own) + processorTime(children)
}
