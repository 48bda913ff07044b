package ledger

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// protocolCode is the protocol's number, which fits a byte of the key.
func protocolCode(protocol string) byte {
	switch protocol {
	case "tcp":
		return 6
	case "udp":
		return 17
	case "sctp":
		return 132
	}
	return 0
}

// PortHolder tells which attachment has a host port that would collide: same
// protocol and port, and the same host address or either of them any address.
func (t *Tx) PortHolder(p Port) (Key, bool) {
	var holder Key
	found := false
	_ = t.scan(bucketPorts, portPrefix(p.Protocol, p.HostPort), func(key, owner []byte) error {
		other := hostIP(key)
		if !other.IsValid() || !p.HostIP.IsValid() || other == p.HostIP {
			holder, found = parseKey(owner), true
		}
		return nil
	})
	return holder, found
}

func (t *Tx) takePort(k Key, p Port) error {
	for _, one := range p.each() {
		if holder, taken := t.PortHolder(one); taken {
			return &TakenError{What: "port " + one.String(), Holder: holder}
		}
		if err := t.put(bucketPorts, one.key(), k.bytes()); err != nil {
			return fmt.Errorf("ledger: reserve port %s: %w", one, err)
		}
	}
	return nil
}

func (t *Tx) freePort(k Key, p Port) error {
	for _, one := range p.each() {
		if owner := t.get(bucketPorts, one.key()); owner == nil || parseKey(owner) != k {
			continue
		}
		if err := t.remove(bucketPorts, one.key()); err != nil {
			return fmt.Errorf("ledger: release port %s: %w", one, err)
		}
	}
	return nil
}

// each takes a range apart into single ports.
func (p Port) each() []Port {
	ports := make([]Port, 0, max(p.Count, 1))
	for i := range max(p.Count, 1) {
		one := p
		one.HostPort, one.Container, one.Count = p.HostPort+i, p.Container+i, 0
		ports = append(ports, one)
	}
	return ports
}

func (p Port) key() []byte {
	var host [16]byte
	if p.HostIP.IsValid() {
		host = p.HostIP.As16()
	}
	return append(portPrefix(p.Protocol, p.HostPort), host[:]...)
}

func portPrefix(protocol string, port uint16) []byte {
	return binary.BigEndian.AppendUint16([]byte{protocolCode(protocol)}, port)
}

func hostIP(key []byte) netip.Addr {
	a := netip.AddrFrom16([16]byte(key[3:]))
	if a == netip.IPv6Unspecified() {
		return netip.Addr{}
	}
	return a.Unmap()
}
