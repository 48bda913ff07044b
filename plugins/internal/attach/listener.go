package attach

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"iter"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/plugins/internal/wire"
)

// listener names the process that has a local port, "nginx (pid 1234)", by
// way of the kernel's socket tables and the descriptors of each process. It
// runs only to explain a failure.
func listener(protocol string, port uint16) string {
	inodes := map[string]bool{}
	for _, table := range []string{protocol, protocol + "6"} {
		collectInodes("/proc/net/"+table, port, inodes)
	}
	if protocol == string(wire.SCTP) {
		collectEndpoints(sctpEndpoints, port, inodes)
	}
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, link := range links {
		target, err := os.Readlink(link)
		if err != nil || !strings.HasPrefix(target, "socket:[") {
			continue
		}
		if inodes[strings.TrimSuffix(strings.TrimPrefix(target, "socket:["), "]")] {
			pid := strings.Split(link, "/")[2]
			name, _ := os.ReadFile("/proc/" + pid + "/comm")
			return fmt.Sprintf("%s (pid %s)", strings.TrimSpace(string(name)), pid)
		}
	}
	return "a process of this host"
}

// collectInodes collects the inodes of the sockets at a port.
func collectInodes(table string, port uint16, inodes map[string]bool) {
	for fields := range socketsAt(table, port) {
		inodes[fields[9]] = true
	}
}

// collectEndpoints is collectInodes for SCTP's table: field 5 is the port, in
// decimal, field 7 the inode (sctp_eps_seq_show).
func collectEndpoints(table string, port uint16, inodes map[string]bool) {
	text, err := os.ReadFile(table)
	if err != nil {
		return
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 7 && fields[5] == fmt.Sprint(port) {
			inodes[fields[7]] = true
		}
	}
}

// socketsAt reads one table of proc(5) net/tcp: field 1 is the local address in
// hexadecimal, field 9 the socket's inode.
func socketsAt(table string, port uint16) iter.Seq[[]string] {
	return func(yield func([]string) bool) {
		file, err := os.Open(table)
		if err != nil {
			return
		}
		defer file.Close()
		suffix := fmt.Sprintf(":%04X", port)
		for scanner := bufio.NewScanner(file); scanner.Scan(); {
			fields := strings.Fields(scanner.Text())
			if len(fields) > 9 && strings.HasSuffix(fields[1], suffix) && !yield(fields) {
				return
			}
		}
	}
}

// onlyResolver tells whether all sockets at a port are our resolver's: their
// addresses are gateways at which the ledger says that it answers.
func (a *Attacher) onlyResolver(protocol string, port uint16) bool {
	gateways := map[netip.Addr]bool{}
	err := a.Ledger.View(func(tx *ledger.Tx) error {
		records, err := tx.Attachments("")
		for _, r := range records {
			for _, address := range r.Addresses {
				gateways[address.Gateway] = gateways[address.Gateway] || !r.Names.IsZero()
			}
		}
		return err
	})
	if err != nil || port != wire.DNSPort {
		return false
	}
	for _, table := range []string{protocol, protocol + "6"} {
		for fields := range socketsAt("/proc/net/"+table, port) {
			if !gateways[hexAddr(fields[1])] {
				return false
			}
		}
	}
	return true
}

// hexAddr reads the address of "0100580A:0035": words of 32 bits in the
// machine's byte order.
func hexAddr(text string) netip.Addr {
	digits, _, _ := strings.Cut(text, ":")
	b, err := hex.DecodeString(digits)
	if err != nil || len(b)%4 != 0 {
		return netip.Addr{}
	}
	for i := 0; i < len(b); i += 4 {
		binary.NativeEndian.PutUint32(b[i:], binary.BigEndian.Uint32(b[i:]))
	}
	addr, _ := netip.AddrFromSlice(b)
	return addr.Unmap()
}
