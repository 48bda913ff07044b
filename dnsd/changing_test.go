package dnsd

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/dnsd/client"
	"github.com/netctl/netctl/ipam/ledger"
)

// This file has the two programs of BenchmarkPeersLatency.

// stderrOf is what a program that failed had to say.
func stderrOf(err error) string {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return string(exit.Stderr)
	}
	return ""
}

// exitStatus is a program's end, with the reason on standard error.
func exitStatus(err error) int {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// asker asks 10.0.0.1 for a while at the rate, and writes how many nanoseconds
// each answer took, eight bytes each.
func asker(args []string) error {
	during, err := time.ParseDuration(args[1])
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	// Answers come with the moment at which the kernel received them.
	err = errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5}),
		unix.Connect(fd, &unix.SockaddrInet4{Port: 53, Addr: [4]byte{10, 0, 0, 1}}))
	if err != nil {
		return err
	}
	n := int(during.Seconds() * latencyQueries)
	sent := make([]int64, 65536) // by ID, nanoseconds of the clock on the wall
	took := make(chan []byte)
	go func() { took <- receiveTimes(fd, n, sent) }()
	msg := ask1("web1", dns.TypeA)
	start := time.Now()
	for i := range n {
		if ahead := time.Until(start.Add(time.Duration(i) * time.Second / latencyQueries)); ahead > 0 {
			time.Sleep(ahead)
		}
		msg[0], msg[1] = byte(i>>8), byte(i)
		sent[uint16(i)] = time.Now().UnixNano()
		if _, err := unix.Write(fd, msg); err != nil && !errors.Is(err, unix.ECONNREFUSED) {
			return err
		}
	}
	_, err = os.Stdout.Write(<-took)
	return err
}

// receiveTimes matches up to n answers by ID; for as long as none comes for
// the socket's timeout.
func receiveTimes(fd, n int, sent []int64) (took []byte) {
	buf, oob := make([]byte, 2048), make([]byte, 128)
	for len(took) < 8*n {
		_, oobn, _, _, err := unix.Recvmsg(fd, buf, oob, 0)
		if errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return took
		}
		messages, err := unix.ParseSocketControlMessage(oob[:oobn])
		if err != nil || len(messages) == 0 {
			return took
		}
		at := int64(binary.NativeEndian.Uint64(messages[0].Data))*1e9 + int64(binary.NativeEndian.Uint64(messages[0].Data[8:]))
		took = binary.NativeEndian.AppendUint64(took, uint64(at-sent[binary.BigEndian.Uint16(buf)]))
	}
	return took
}

// author changes names at the rate until its standard input ends, and writes
// how many it has changed. Its arguments are the server's name, the ledger's
// directory, the hosts file, the server's process, and how many changes it is
// told of at a time.
func author(args []string) error {
	stop := make(chan struct{})
	go func() {
		os.Stdin.Read(make([]byte, 1)) //nolint:errcheck // its end is what counts
		close(stop)
	}()
	pid, err1 := strconv.Atoi(args[4])
	told, err2 := strconv.Atoi(args[5])
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	change := changeLedger(args[2])
	if args[1] != "dnsd" {
		text, err := os.ReadFile(args[3])
		if err != nil {
			return err
		}
		defer os.WriteFile(args[3], text, 0o644) //nolint:errcheck // the next measurement tells
		change = changeHosts(args[3], text, pid, told)
	}
	tick := time.NewTicker(time.Second * time.Duration(told) / latencyChanges)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-stop:
			fmt.Println(n * told)
			return nil
		case <-tick.C:
		}
		if err := change(n); err != nil {
			return err
		}
	}
}

// changeLedger adds and removes a name by turns, each with its sync.
func changeLedger(dir string) func(n int) error {
	gateway := netip.MustParseAddr("10.0.0.1")
	r := ledger.Record{
		Key:       ledger.Key{Network: "big", Container: "id-changing", IfName: "eth0"},
		Names:     ledger.Names{Own: []string{"changing"}, Device: "br-big"},
		Addresses: []ledger.Address{{Prefix: netip.MustParsePrefix("10.200.0.1/8"), Gateway: gateway}},
	}
	return func(n int) error {
		book, err := ledger.Open(dir)
		if err != nil {
			return err
		}
		var generation uint64
		err = book.Update(func(tx *ledger.Tx) (err error) {
			if n%2 == 0 {
				err = tx.Put(r)
			} else {
				_, _, err = tx.Delete(r.Key)
			}
			generation = tx.Generation()
			return err
		})
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), client.Patience)
		defer cancel()
		_, err = client.Do(ctx, dir, fmt.Sprint("sync ", generation, " big"))
		return err
	}
}

// changeHosts rewrites a server's file, with so many new names each time, and
// tells the server.
func changeHosts(path string, text []byte, pid, names int) func(n int) error {
	return func(n int) error {
		var more strings.Builder
		for i := range names {
			fmt.Fprintf(&more, "10.200.0.%d changing%d\n", i, n*names+i)
		}
		if err := os.WriteFile(path, append(slices.Clone(text), more.String()...), 0o644); err != nil {
			return err
		}
		return syscall.Kill(pid, syscall.SIGHUP)
	}
}
