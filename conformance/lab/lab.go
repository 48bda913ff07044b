// Package lab makes the machine a row is judged on, and takes it away.
//
// A Host is one thread of this process in a network and a mount namespace of
// its own. /run, /var/lib and /etc/cni are fresh memory file systems there, so
// every plugin keeps its state in private whether or not it can be told where:
// lock files, address stores, sockets of daemons that belong to the real
// machine are all out of reach. Containers are further threads, each in a
// network namespace, bound to a file below the host's private /run/netns.
//
//	  Outside 192.0.2.1, 2001:db8::1
//	     │ eth0 (the uplink; its name can be chosen)
//	   Host 192.0.2.2, 2001:db8::2 ── plugin processes
//	     ┆ whatever the plugin under test makes
//	Container c1, c2, ...
//
// Nothing here has a name in the real machine's file system and nothing but
// the threads keeps the namespaces alive, so that there is nothing to clean up
// after an interrupt, or even after SIGKILL. Plugin processes ask the kernel
// to kill them when their thread goes.
package lab

import (
	"fmt"
	"os"
	"runtime"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The process's first thread stays with the main goroutine: a thread that
// leaves for other namespaces must not be the one /proc/self stands for, and
// the runtime cannot end that one afterwards.
func init() { runtime.LockOSThread() }

// Netns is a network namespace that lives as long as its thread.
type Netns struct {
	Name string
	NL   *netlink.Handle // bound to this namespace; usable from any goroutine

	script *Script // where steps are recorded; nil for none
	prefix string  // what a recorded line needs in front to happen here
	tid    int
	mu     sync.Mutex
	open   []func() // what keeps the namespace alive besides the thread

	work chan func()
	end  sync.Once
	gone chan struct{}
}

// newNetns starts a thread, lets it leave for other namespaces by enter, and
// keeps it there.
func newNetns(name string, enter func() error) (*Netns, error) {
	n := &Netns{Name: name, work: make(chan func()), gone: make(chan struct{})}
	started := make(chan error)
	go n.live(enter, started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("make namespace %s: %w", name, err)
	}
	return n, nil
}

// live is the thread. It never unlocks, so the runtime ends the thread when
// this function returns, and the namespaces end with it.
func (n *Netns) live(enter func() error, started chan<- error) {
	defer close(n.gone)
	runtime.LockOSThread()
	err := enter()
	if err == nil {
		n.tid = unix.Gettid()
		n.NL, err = netlink.NewHandle()
	}
	if err == nil {
		err = n.loopbackUp()
	}
	started <- err
	if err != nil {
		return
	}
	for fn := range n.work {
		fn()
	}
	n.NL.Close()
}

// unshared enters a new network namespace.
func unshared() error { return unix.Unshare(unix.CLONE_NEWNET) }

func (n *Netns) loopbackUp() error {
	lo, err := n.NL.LinkByName("lo")
	if err != nil {
		return err
	}
	return n.NL.LinkSetUp(lo)
}

// Do runs fn on the namespace's thread. fn must not start goroutines that
// rely on being there, and must not call Do of the same namespace.
func (n *Netns) Do(fn func() error) error {
	var err error
	done := make(chan struct{})
	n.work <- func() {
		defer close(done)
		err = fn()
	}
	<-done
	return err
}

// holds notes something open that keeps the namespace alive, a socket say.
func (n *Netns) holds(stop func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.open = append(n.open, stop)
}

// Close ends the thread and the servers. The kernel takes the namespace apart a
// moment later.
func (n *Netns) Close() {
	n.mu.Lock()
	for _, stop := range n.open {
		stop()
	}
	n.open = nil
	n.mu.Unlock()
	n.end.Do(func() { close(n.work) })
	<-n.gone
}

// file is where the namespace can be opened as long as the thread lives.
func (n *Netns) file() string {
	return fmt.Sprintf("/proc/%d/task/%d/ns/net", os.Getpid(), n.tid)
}
