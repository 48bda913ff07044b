package kernel

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Sentinels on which a caller decides the code of its answer.
var (
	ErrNoNamespace  = errors.New("no such network namespace")
	ErrOwnNamespace = errors.New("the container's network namespace is the plugin's own")
	ErrLinkExists   = errors.New("interface exists already")
	ErrShaped       = errors.New("limits are set already, by another plugin or the capability of another entry")
)

// Host is the namespace this process runs in: where bridges and the host's end
// of a pair live.
type Host struct {
	rt *conn // for what is on the path of every attachment
	// link is the library, for the rest. It has no socket of its own: most
	// attachments don't need it, and each of its calls opens one.
	link *netlink.Handle
	// ensured is the bridge as EnsureBridge has found it, for the port that comes
	// next.
	ensured Interface
	// parked is a descriptor that waits for somebody to close it; 0 is none.
	parked int
}

// OpenHost opens a netlink socket in the namespace of the process.
func OpenHost() (*Host, error) {
	rt, err := dial()
	if err != nil {
		return nil, fmt.Errorf("in the host's namespace: %w", err)
	}
	return &Host{rt: rt, link: new(netlink.Handle)}, nil
}

// Close closes the socket.
func (h *Host) Close() {
	h.unpark()
	h.rt.close()
}

// Container is the namespace of a container, with a netlink socket in it.
// Nothing switches the namespace of a thread but the opening of sockets and the
// writing of sysctls.
type Container struct {
	Path string
	ns   netns.NsHandle
	own  bool
	rt   *conn
	// handle is the library's, opened by the first who needs it; see library.
	handle *netlink.Handle
}

// IsOwn tells whether it is the namespace this process runs in.
func (c *Container) IsOwn() bool { return c.own }

// OpenContainer opens the namespace at path. The error is ErrNoNamespace if
// there is none, ErrOwnNamespace if it is the calling thread's, which all of the
// process has, and ownAllowed is false.
func OpenContainer(path string, ownAllowed bool) (*Container, error) {
	ns, err := openNamespace(path)
	if err != nil {
		return nil, err
	}
	c := &Container{Path: path, ns: ns}
	own, err := openOwn()
	if err != nil {
		c.Close()
		return nil, err
	}
	defer own.Close()
	if c.own, err = same(ns, own); err == nil && c.own && !ownAllowed {
		err = fmt.Errorf("%s: %w", path, ErrOwnNamespace)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	if c.rt, err = dialIn(ns, own); err != nil {
		c.Close()
		return nil, fmt.Errorf("open netlink in %s: %w", path, err)
	}
	return c, nil
}

// library gives the library's handle in the container, for what is not on the
// path of every attachment.
func (c *Container) library() (*netlink.Handle, error) {
	if c.handle != nil {
		return c.handle, nil
	}
	err := c.do(func() (err error) {
		c.handle, err = netlink.NewHandle(unix.NETLINK_ROUTE)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open netlink in %s: %w", c.Path, err)
	}
	return c.handle, nil
}

// find looks a link of the container up with all that the library reads of it,
// and gives the handle to change it with.
func (c *Container) find(name string) (netlink.Link, *netlink.Handle, error) {
	handle, err := c.library()
	if err != nil {
		return nil, nil, err
	}
	link, err := handle.LinkByName(name)
	return link, handle, err
}

// Close closes the sockets and the namespace's descriptor.
func (c *Container) Close() {
	c.rt.close()
	if c.handle != nil {
		c.handle.Close()
	}
	_ = c.ns.Close()
}

// openNamespace opens the file and makes sure that it is on nsfs: entering
// anything else would fail late and with a poor message.
func openNamespace(path string) (netns.NsHandle, error) {
	ns, err := netns.GetFromPath(path)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return ns, fmt.Errorf("%s: %w", path, ErrNoNamespace)
		}
		return ns, fmt.Errorf("open network namespace %s: %w", path, err)
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(ns), &fs); err != nil {
		_ = ns.Close()
		return ns, fmt.Errorf("open network namespace %s: %w", path, err)
	}
	if fs.Type != unix.NSFS_MAGIC {
		_ = ns.Close()
		return ns, fmt.Errorf("%s is a plain file: %w", path, ErrNoNamespace)
	}
	return ns, nil
}

// IsNamespace tells whether a path leads to a network namespace.
func IsNamespace(path string) bool {
	ns, err := openNamespace(path)
	if err == nil {
		_ = ns.Close()
	}
	return err == nil
}

// same tells whether two descriptors are of the same namespace.
func same(a, b netns.NsHandle) (bool, error) {
	var one, other unix.Stat_t
	if err := errors.Join(unix.Fstat(int(a), &one), unix.Fstat(int(b), &other)); err != nil {
		return false, fmt.Errorf("look at network namespace: %w", err)
	}
	return one.Dev == other.Dev && one.Ino == other.Ino, nil
}

// do runs fn on a thread inside the container's namespace. The thread is
// handed back only if it could be put back; otherwise it ends with its
// goroutine. It is never the first thread of the process, whose namespace is
// what /proc/self shows for all of it.
func (c *Container) do(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// While this goroutine waits here it occupies the first thread.
			done <- c.do(fn)
			runtime.UnlockOSThread()
			return
		}
		own, err := openOwn()
		if err != nil {
			done <- err
			return
		}
		defer own.Close()
		if err := netns.Set(c.ns); err != nil {
			done <- fmt.Errorf("enter network namespace %s: %w", c.Path, err)
			return
		}
		err = fn()
		if netns.Set(own) == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

// openOwn opens the namespace of the calling thread.
func openOwn() (netns.NsHandle, error) {
	fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return netns.None(), fmt.Errorf("look at own network namespace: %w", err)
	}
	return netns.NsHandle(fd), nil
}
