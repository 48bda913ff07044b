// Package client talks to the resolver's control socket, and starts the
// resolver where none runs. It imports little, because it is on the path of
// every ADD.
//
// The resolver is started with the writing end of a pipe as descriptor 3. It
// writes one line when it answers, or why it can't, so nobody polls.
package client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Patience is how long Announce and Quit take at most.
const Patience = 2 * time.Second

// ErrNotRunning means that no resolver answers for the state directory.
var ErrNotRunning = errors.New("dnsd is not running")

// Socket is where the resolver of a state directory is reached.
func Socket(stateDir string) string { return filepath.Join(stateDir, "dnsd.sock") }

// A Change is what the resolver is to have taken in, and to listen for.
type Change struct {
	// Generation of the ledger, at least; 0 is the newest.
	Generation uint64
	// Network whose gateways are to be listened on, "" for none.
	Network string
	// Container that is to be served in its own namespace, with the sockets
	// that were made there (see package inside); "" for none.
	Container string
	Sockets   []*os.File
}

// Announce returns when the resolver answers from the change's generation on, and
// listens where it says. It starts the resolver if need be: the binary
// at dnsdPath. The result are those of the network's gateways at which the
// resolver has another port than 53.
func Announce(ctx context.Context, stateDir, dnsdPath string, c Change) ([]netip.AddrPort, error) {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	command := strings.TrimSpace(fmt.Sprintf("sync %d %s %s", c.Generation, c.Network, c.Container))
	for {
		reply, err := do(ctx, stateDir, command, c.Sockets)
		if err == nil {
			return portsIn(reply), nil
		}
		if !errors.Is(err, ErrNotRunning) {
			return nil, err
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("dnsd does not stay up: %w", err)
		}
		if err := start(ctx, stateDir, dnsdPath); err != nil {
			return nil, fmt.Errorf("start dnsd: %w", err)
		}
	}
}

// portsIn reads the reply to a sync: ok, the generation, and ports.
func portsIn(reply string) (ports []netip.AddrPort) {
	for _, word := range strings.Fields(reply) {
		if p, err := netip.ParseAddrPort(word); err == nil {
			ports = append(ports, p)
		}
	}
	return ports
}

// Bye begins the reply of a resolver that ends; its processes follow.
const Bye = "bye "

// Quit makes a resolver that has nothing to serve go now rather than later, and
// returns when it is gone. It is no error if it has something to serve, or if
// there is none.
func Quit(ctx context.Context, stateDir string) error {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	reply, err := Do(ctx, stateDir, "quit-if-idle")
	switch {
	case errors.Is(err, ErrNotRunning):
		return nil
	case err != nil:
		return err
	}
	if processes, going := strings.CutPrefix(reply, Bye); going {
		for _, word := range strings.Fields(processes) {
			awaitEnd(ctx, word)
		}
	}
	return nil
}

// awaitEnd waits until a resolver's process has ended, as long as the context
// lasts. In a PID namespace of our own the number is somebody else's or
// nobody's; then there is nothing to wait for.
func awaitEnd(ctx context.Context, process string) {
	pid, err := strconv.Atoi(process)
	if err != nil {
		return
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return // it has ended
	}
	defer unix.Close(fd) //nolint:errcheck // only served the wait
	name, err := os.ReadFile(filepath.Join("/proc", process, "comm"))
	if err != nil || string(name) != "dnsd\n" {
		return
	}
	deadline, _ := ctx.Deadline()
	for left := time.Until(deadline); left > 0; left = time.Until(deadline) {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(left.Milliseconds())+1)
		if n > 0 || (err != nil && !errors.Is(err, unix.EINTR)) {
			return
		}
	}
}

// Do sends one command and returns the reply, or the error that it names.
func Do(ctx context.Context, stateDir, command string) (string, error) {
	return do(ctx, stateDir, command, nil)
}

// do is Do with descriptors that go with the command.
func do(ctx context.Context, stateDir, command string, files []*os.File) (string, error) {
	return ask(ctx, stateDir, command, files)(ctx)
}

// Ask is Do in two steps: it sends the command, and returns what waits for the reply
// and has to be called.
func Ask(ctx context.Context, stateDir, command string) (reply func(context.Context) (string, error)) {
	return ask(ctx, stateDir, command, nil)
}

func ask(ctx context.Context, stateDir, command string, files []*os.File) (reply func(context.Context) (string, error)) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", Socket(stateDir))
	switch {
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ECONNREFUSED):
		err = fmt.Errorf("%w: %w", ErrNotRunning, err)
	case err != nil:
		err = fmt.Errorf("dnsd: %w", err)
	}
	if err != nil {
		return func(context.Context) (string, error) { return "", err }
	}
	bound(ctx, conn)
	err = write(conn.(*net.UnixConn), command+"\n", files)
	return func(ctx context.Context) (string, error) {
		defer conn.Close() //nolint:errcheck // it has served
		bound(ctx, conn)
		return receive(conn, err)
	}
}

// bound has the connection end with the context's deadline.
func bound(ctx context.Context, conn net.Conn) {
	if deadline, ok := ctx.Deadline(); ok {
		conn.SetDeadline(deadline) //nolint:errcheck // then it lasts longer
	}
}

// receive reads the reply to a command, or why there is none; sent is what became of
// sending it.
func receive(conn net.Conn, sent error) (string, error) {
	reply, err := io.ReadAll(conn)
	text := strings.TrimSuffix(string(reply), "\n")
	if problem, bad := strings.CutPrefix(text, "error "); bad {
		return "", fmt.Errorf("dnsd: %s", problem)
	}
	if err = errors.Join(sent, err); err == nil && text != "" {
		return text, nil
	}
	// One that ends just now closes what it has not read yet.
	if err == nil || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		return "", fmt.Errorf("%w: it closed the connection", ErrNotRunning)
	}
	return "", fmt.Errorf("dnsd does not answer: %w", err)
}

func write(conn *net.UnixConn, text string, files []*os.File) error {
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		rights = syscall.UnixRights(fds...)
	}
	_, _, err := conn.WriteMsgUnix([]byte(text), rights, nil)
	return err
}

// start runs the resolver apart from us and waits until it is ready. If there
// are several starts at once, all but one of the processes end when the one is
// ready.
func start(ctx context.Context, stateDir, dnsdPath string) error {
	ready, theirs, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ready.Close() //nolint:errcheck // only read
	logFile := filepath.Join(stateDir, "dnsd.log")
	cmd := exec.Command(dnsdPath, "--state-dir", stateDir, "--guard", "--ready-fd", "3", "--log", logFile)
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	theirs.Close() //nolint:errcheck // the child has its own
	if err != nil {
		return err
	}
	go cmd.Wait() //nolint:errcheck // a caller that lives longer must not keep a zombie
	if deadline, ok := ctx.Deadline(); ok {
		ready.SetReadDeadline(deadline) //nolint:errcheck // then the read waits longer
	}
	line, err := bufio.NewReader(ready).ReadString('\n')
	switch {
	case line == "ready\n":
		return nil
	case line != "":
		return errors.New(strings.TrimSpace(line))
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%s is not ready in time, see %s", dnsdPath, logFile)
	}
	return fmt.Errorf("%s ended without a word, see %s", dnsdPath, logFile)
}
