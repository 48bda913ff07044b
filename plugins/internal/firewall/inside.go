package firewall

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	nft "github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// insideTable is our table in the namespace of a container.
const (
	insideTable = "netctl-resolver"
	insideRules = 5
)

// LeadInside leads what a container asks at port 53 of one of its own
// addresses to the port where our resolver is, in the namespace of the calling
// thread. The ports are rewritten both ways without connection tracking, which
// would slow every packet of the container down (by 5 to 13 % of small ones,
// specification 5.5) and which NAT can't do without. It takes nftables on every
// host: iptables has no such target.
func LeadInside(resolver netip.AddrPort) error {
	conn, err := nft.New()
	if err != nil {
		return fmt.Errorf("lead port 53 of %s to %s: %w", resolver.Addr(), resolver, err)
	}
	table := &nft.Table{Name: insideTable, Family: nft.TableFamilyIPv4}
	conn.AddTable(table)
	conn.DelTable(table) // it may be there from an earlier, killed attempt
	conn.AddTable(table)
	chain := conn.AddChain(&nft.Chain{Name: "output", Table: table, Type: nft.ChainTypeFilter,
		Hooknum: nft.ChainHookOutput, Priority: nft.ChainPriorityRaw})
	conn.AddRule(&nft.Rule{Table: table, Chain: chain, Exprs: leaveOthers()})
	for _, p := range []wire.Protocol{wire.UDP, wire.TCP} {
		conn.AddRule(&nft.Rule{Table: table, Chain: chain, Exprs: rewritePort(p, toServer, resolver.Addr(), wire.DNSPort, resolver.Port())})
		conn.AddRule(&nft.Rule{Table: table, Chain: chain, Exprs: rewritePort(p, toClient, resolver.Addr(), resolver.Port(), wire.DNSPort)})
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("lead port 53 of %s to %s (nftables): %w", resolver.Addr(), resolver, err)
	}
	return nil
}

// LeaveInside takes the rules of LeadInside away, if they are there.
func LeaveInside() error {
	conn, err := nft.New()
	if err == nil {
		conn.DelTable(&nft.Table{Name: insideTable, Family: nft.TableFamilyIPv4})
		err = conn.Flush()
	}
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("delete table %s: %w", insideTable, err)
	}
	return nil
}

// CheckInside returns an error if the rules of LeadInside are not there.
func CheckInside(resolver netip.AddrPort) error {
	conn, err := nft.New()
	if err != nil {
		return fmt.Errorf("look for table %s: %w", insideTable, err)
	}
	table := &nft.Table{Name: insideTable, Family: nft.TableFamilyIPv4}
	rules, err := conn.GetRules(table, &nft.Chain{Name: "output", Table: table})
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("look for table %s: %w", insideTable, err)
	}
	if len(rules) < insideRules {
		return fmt.Errorf("port 53 of %s does not lead to %s: table ip %s has %d rules, want %d", resolver.Addr(), resolver, insideTable, len(rules), insideRules)
	}
	return nil
}

// InsideLines are the rules of LeadInside as a person would have typed them.
func InsideLines(container string, resolver netip.AddrPort) []string {
	in := "ip netns exec " + container + " nft "
	lines := []string{
		in + "add table ip " + insideTable,
		in + "add chain ip " + insideTable + " output '{ type filter hook output priority raw; }'",
		in + "add rule ip " + insideTable + " output oif != lo accept",
	}
	for _, p := range []wire.Protocol{wire.UDP, wire.TCP} {
		lines = append(lines,
			fmt.Sprintf("%sadd rule ip %s output ip daddr %s %s dport %d notrack %s dport set %d", in, insideTable, resolver.Addr(), p, wire.DNSPort, p, resolver.Port()),
			fmt.Sprintf("%sadd rule ip %s output ip saddr %s %s sport %d notrack %s sport set %d", in, insideTable, resolver.Addr(), p, resolver.Port(), p, wire.DNSPort))
	}
	return lines
}

// leaveOthers lets all that does not stay in the container pass at once: it
// costs that traffic one comparison. Lo is a namespace's first link.
func leaveOthers() []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyOIF, Register: register(0)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: register(0), Data: binary.NativeEndian.AppendUint32(nil, 1)},
		&expr.Verdict{Kind: expr.VerdictAccept},
	}
}

// direction of a packet, by which of its addresses and ports are the server's.
type direction struct{ address, port uint32 } // offsets in the headers

var (
	toServer = direction{address: 16, port: 2}
	toClient = direction{address: 12, port: 0}
)

// rewritePort changes the server's port in packets to it or from it. The
// checksum is mended by the kernel: it is at 6 in UDP's header, at 16 in TCP's.
func rewritePort(p wire.Protocol, d direction, server netip.Addr, from, to uint16) []expr.Any {
	checksum := uint32(6)
	if p == wire.TCP {
		checksum = 16
	}
	number := func(n uint16) []byte { return binary.BigEndian.AppendUint16(nil, n) }
	return []expr.Any{
		&expr.Payload{DestRegister: register(0), Base: expr.PayloadBaseNetworkHeader, Offset: d.address, Len: 4},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register(0), Data: server.AsSlice()},
		protocolToRegister(0),
		&expr.Cmp{Op: expr.CmpOpEq, Register: register(0), Data: []byte{protocolNumber(p)}},
		&expr.Payload{DestRegister: register(0), Base: expr.PayloadBaseTransportHeader, Offset: d.port, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register(0), Data: number(from)},
		&expr.Notrack{},
		&expr.Immediate{Register: register(0), Data: number(to)},
		&expr.Payload{OperationType: expr.PayloadWrite, SourceRegister: register(0), Base: expr.PayloadBaseTransportHeader,
			Offset: d.port, Len: 2, CsumType: expr.CsumTypeInet, CsumOffset: checksum},
	}
}
