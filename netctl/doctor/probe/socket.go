package probe

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"

	"github.com/netctl/netctl/netctl/doctor"
)

// States of /proc/net/tcp and udp (include/net/tcp_states.h). A UDP socket that
// waits for anybody is in the state of a closed TCP one.
const (
	stateListen = "0A"
	stateClose  = "07"
)

// Sockets implements doctor.World.
func (w World) Sockets(ns doctor.Namespace) ([]doctor.Socket, error) {
	var sockets []doctor.Socket
	err := in(ns, func() error {
		for file, want := range map[string]string{"tcp": stateListen, "tcp6": stateListen, "udp": stateClose, "udp6": stateClose} {
			text, err := os.ReadFile("/proc/thread-self/net/" + file)
			if os.IsNotExist(err) {
				continue // no IPv6
			}
			if err != nil {
				return err
			}
			sockets = append(sockets, parseSockets(string(text), strings.TrimSuffix(file, "6"), want)...)
		}
		return nil
	})
	return sockets, err
}

// parseSockets reads the format of /proc/net/tcp (proc_net_tcp(5)).
func parseSockets(text, protocol, state string) []doctor.Socket {
	var sockets []doctor.Socket
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 10 || f[3] != state {
			continue
		}
		local, ok := parseLocal(f[1])
		inode, err := strconv.ParseUint(f[9], 10, 64)
		if ok && err == nil {
			sockets = append(sockets, doctor.Socket{Protocol: protocol, Local: local, Inode: inode})
		}
	}
	return sockets
}

// parseLocal reads an address as the kernel prints it: words of the machine's
// byte order, in hexadecimal.
func parseLocal(text string) (netip.AddrPort, bool) {
	host, portText, _ := strings.Cut(text, ":")
	raw, err := hex.DecodeString(host)
	port, portErr := strconv.ParseUint(portText, 16, 16)
	if err != nil || portErr != nil || len(raw)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(raw); i += 4 {
		binary.NativeEndian.PutUint32(raw[i:], binary.BigEndian.Uint32(raw[i:]))
	}
	a, ok := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(a.Unmap(), uint16(port)), ok
}

// Holder implements doctor.World.
func (w World) Holder(s doctor.Socket) string {
	want := fmt.Sprintf("socket:[%d]", s.Inode)
	files, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, file := range files {
		if target, err := os.Readlink(file); err != nil || target != want {
			continue
		}
		pid := strings.Split(file, "/")[2]
		name, _ := os.ReadFile("/proc/" + pid + "/comm")
		return fmt.Sprintf("%s (pid %s)", printable(strings.TrimSpace(string(name))), pid)
	}
	return "a process that can't be seen from here"
}

// printable replaces what a terminal would obey: a process chooses its own name.
func printable(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, name)
}
