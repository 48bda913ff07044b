package monitor

import (
	"os"
	"sync"
	"time"

	"github.com/netctl/netctl/netctl/runner/attach"
	"github.com/netctl/netctl/netctl/runner/logfile"
)

// drainTime is how long output is waited for after the first process has ended.
// With it die all others of its PID namespace and their ends of the pipes, so
// this matters only if a program has passed its output to a process elsewhere.
const drainTime = 2 * time.Second

// output passes what the container prints to the log and to the clients.
type output struct {
	m     *monitor
	io    *stdio
	log   *logfile.Writer
	pumps sync.WaitGroup
}

func (m *monitor) startOutput() (*output, error) {
	w, err := logfile.Create(m.store.LogPath(m.cfg.ID), logfile.DefaultMaxSize, logfile.DefaultMaxFiles)
	if err != nil {
		return nil, err
	}
	o := &output{m: m, io: m.streams(), log: w}
	o.pumps.Go(func() { o.pump(o.io.stdout, logfile.Stdout, attach.Stdout) })
	if o.io.stderr != nil {
		o.pumps.Go(func() { o.pump(o.io.stderr, logfile.Stderr, attach.Stderr) })
	}
	return o, nil
}

// pump reads to the end. For a terminal that is EIO, when its last user closes.
func (o *output) pump(src *os.File, name string, kind attach.Kind) {
	buf := make([]byte, attach.MaxPayload)
	stream := o.log.Stream(name, o.io.tty)
	var failed bool
	for {
		n, err := src.Read(buf)
		if n > 0 {
			// The log may fail, for want of space; the program goes on.
			if lerr := stream.Write(time.Now(), buf[:n]); lerr != nil && !failed {
				failed = true
				o.m.log.Error("write log", "err", lerr)
			}
			o.m.hub.Output(kind, buf[:n])
		}
		if err != nil {
			break
		}
	}
	if err := stream.Close(time.Now()); err != nil && !failed {
		o.m.log.Error("write log", "err", err)
	}
}

// finish waits for the rest of the output and closes everything.
func (o *output) finish() {
	done := make(chan struct{})
	go func() { o.pumps.Wait(); close(done) }()
	late := time.NewTimer(drainTime)
	defer late.Stop()
	select {
	case <-done:
	case <-late.C:
	}
	o.io.close() // ends a read that is still waiting
	<-done
	if err := o.log.Close(); err != nil {
		o.m.log.Error("close log", "err", err)
	}
}
