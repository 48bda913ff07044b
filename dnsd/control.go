package dnsd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/dnsd/client"
	"github.com/netctl/netctl/dnsd/inside"
	"github.com/netctl/netctl/dnsd/names"
)

// maxCommand is the longest line on the control socket.
const maxCommand = 1024

// maxFiles is how many descriptors come with a command.
const maxFiles = 2

// controlTimeout is how long a command may take to arrive, and a reply to leave.
const controlTimeout = 5 * time.Second

// control is the control socket.
type control struct {
	daemon *Daemon
	path   string
	quit   func() // ends the daemon, which has been found idle

	mu       sync.Mutex
	listener *net.UnixListener
	// keep: the socket is systemd's, which starts us when somebody connects.
	keep   bool
	closed bool
}

// listenControl opens the socket. One that is there already is of a resolver
// that was killed: only one process at a time has the claim.
func (d *Daemon) listenControl(quit func()) (*control, error) {
	c := &control{daemon: d, path: client.Socket(d.cfg.StateDir), quit: quit}
	l, err := inherited(c.path)
	if err != nil {
		return nil, err
	}
	if l == nil {
		return c, c.listen()
	}
	c.listener, c.keep = l, true
	go c.serve(l)
	return c, nil
}

// listen opens the socket anew, where it was or where somebody removed it. It
// gets its name when it is ready: whoever sees it can connect.
func (c *control) listen() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	l, err := listenPrivate(c.path)
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	if c.listener != nil {
		c.listener.Close() //nolint:errcheck // replaced
	}
	c.listener, c.keep = l, false
	go c.serve(l)
	return nil
}

// listenPrivate opens a Unix socket that only its owner can connect to.
func listenPrivate(path string) (*net.UnixListener, error) {
	draft := path + ".new"
	if err := os.Remove(draft); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: draft, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	if err := errors.Join(os.Chmod(draft, 0o600), os.Rename(draft, path)); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// restore opens the socket again if it is not there any more.
func (c *control) restore() error {
	if _, err := os.Stat(c.path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return c.listen()
}

// close removes the socket. Whoever is connected but not yet heard sees the
// end of the stream, and starts another resolver.
func (c *control) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.listener.Close() //nolint:errcheck // closed either way
	if !c.keep {
		os.Remove(c.path) //nolint:errcheck // removed by somebody else, then
	}
}

func (c *control) serve(l *net.UnixListener) {
	for {
		conn, err := l.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			c.daemon.log.Warn("control socket", "err", err)
			continue
		}
		go c.converse(conn)
	}
}

// converse answers one command and ends.
func (c *control) converse(conn *net.UnixConn) {
	defer conn.Close()                               //nolint:errcheck // the reply is written
	conn.SetDeadline(time.Now().Add(controlTimeout)) //nolint:errcheck // then it takes longer
	line, files, err := readCommand(conn)
	defer closeAll(files)
	if err != nil {
		return
	}
	reply := c.daemon.command(context.Background(), line, files...)
	if _, err := io.WriteString(conn, reply); err != nil {
		return
	}
	if strings.HasPrefix(reply, client.Bye) {
		c.quit()
	}
}

// readCommand reads a line, and the descriptors that came with it.
func readCommand(conn *net.UnixConn) (line string, files []*os.File, err error) {
	buf := make([]byte, 0, maxCommand)
	rights := make([]byte, unix.CmsgSpace(maxFiles*4))
	for {
		n, rn, _, _, err := conn.ReadMsgUnix(buf[len(buf):cap(buf)], rights)
		files = append(files, received(rights[:rn])...)
		buf = buf[:len(buf)+n]
		if end := bytes.IndexByte(buf, '\n'); end >= 0 {
			return string(buf[:end+1]), files, nil
		}
		switch {
		case err != nil:
			return "", files, err
		case n == 0:
			return "", files, io.EOF
		case len(buf) == cap(buf):
			return "", files, fmt.Errorf("a command of more than %d bytes", maxCommand)
		}
	}
}

// received are the descriptors in a message's ancillary data.
func received(rights []byte) (files []*os.File) {
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return nil
	}
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "received"))
		}
	}
	return files
}

// closeAll closes what nobody took: whoever took one has its own descriptor.
func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close() //nolint:errcheck // of no use any more
	}
}

// command carries out a line of the control protocol.
func (d *Daemon) command(ctx context.Context, line string, files ...*os.File) string {
	word, args := "", strings.Fields(line)
	if len(args) > 0 {
		word, args = args[0], args[1:]
	}
	var reply string
	var err error
	switch {
	case word == "sync" && 1 <= len(args) && len(args) <= 3:
		reply, err = d.syncCommand(ctx, args, files)
	case word == "quit-if-idle" && len(args) == 0:
		reply, err = d.quitCommand(ctx)
	case word == "status" && len(args) == 0:
		reply, err = asJSON(d.Status())
	case word == "records" && len(args) <= 1:
		reply, err = asJSON(d.Records(strings.Join(args, "")))
	case word == "lookup" && len(args) == 2:
		reply, err = d.lookupCommand(args[0], args[1])
	case word == "metrics" && len(args) == 0:
		reply = d.metrics()
	default:
		err = fmt.Errorf("no such command: %q", strings.TrimSpace(line))
	}
	if err != nil {
		return "error " + strings.ReplaceAll(err.Error(), "\n", "; ") + "\n"
	}
	return strings.TrimSuffix(reply, "\n") + "\n"
}

// syncCommand takes a generation, a network, and a container with sockets that
// the caller made in it.
func (d *Daemon) syncCommand(ctx context.Context, args []string, files []*os.File) (string, error) {
	generation, err := strconv.ParseUint(args[0], 10, 64)
	if err != nil {
		return "", fmt.Errorf("generation %q is no number", args[0])
	}
	args = append(args, "", "")
	network, container := args[1], args[2]
	if l := names.Inside(container); container != "" && len(files) == maxFiles {
		d.sockets.Adopt(l, inside.Sockets{UDP: files[0], TCP: files[1]})
		defer d.sockets.Disown(l)
	}
	live, err := d.Sync(ctx, generation, network, container)
	reply := fmt.Sprintf("ok %d", live.Generation)
	for _, p := range live.Ports {
		reply += " " + p.String()
	}
	return reply, err
}

func (d *Daemon) quitCommand(ctx context.Context) (string, error) {
	idle, n, err := d.Idle(ctx)
	switch {
	case err != nil:
		return "", err
	case !idle:
		return fmt.Sprintf("busy %d", n), nil
	case d.cfg.Guarded:
		return fmt.Sprint(client.Bye, os.Getpid(), " ", os.Getppid()), nil
	}
	return fmt.Sprint(client.Bye, os.Getpid()), nil
}

func asJSON(v any) (string, error) {
	b, err := json.MarshalIndent(v, "", "  ")
	return string(b), err
}
