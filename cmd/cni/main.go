// The runtime would keep files of the control group open, and a goroutine that
// reads them again, to choose a number of processors, for a process that lives
// for some milliseconds. (It reads them once all the same.)
//
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0

// Command cni is all CNI plugins in one binary. It is called by links that are
// named like the plugins: bridge, host, none, loopback, ...
package main

import (
	"context"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins"
)

// patience is how long a call runs before it listens to signals: listening
// costs a thread, which is a tenth of the start of a process that is on every
// pod's path. What a signal ends before that time is taken back by DEL, by GC
// or by the next ADD, as after SIGKILL; later, a call that waits for somebody
// takes back itself what it has done. A call of a crowd of 32, on two processors,
// lasts some 150 ms without waiting for anybody but the processors.
const patience = 250 * time.Millisecond

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	go listen(cancel)
	os.Exit(plugins.Main(ctx, os.Args, plugins.Stdio{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}

// listen cancels the call when a signal asks it to end, if it takes long. It
// waits in the kernel: as long as the runtime has a timer, one of its threads
// waits for that and for sockets, and wakes up with each answer of netlink.
func listen(cancel context.CancelFunc) {
	wait := unix.NsecToTimespec(patience.Nanoseconds())
	for unix.Nanosleep(&wait, &wait) != nil { // the runtime interrupts
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, unix.SIGTERM)
	<-signals
	cancel()
}
