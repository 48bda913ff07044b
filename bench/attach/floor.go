package main

import (
	"fmt"
	"net"
	"os"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// The floor is the kernel's own work: the requests that no implementation can
// do without, on open sockets where that is possible, in one process, with no
// configuration read, nothing allocated, recorded, compared or undone.
type floor struct {
	host   *netlink.Handle
	bridge int
	filter *nftables.Conn
	ports  *nftables.Set
}

func openFloor(string) (job, error) {
	f := &floor{}
	var err error
	if f.host, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return nil, err
	}
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0", Flags: net.FlagUp, TxQLen: -1}}
	if err := f.host.LinkAdd(bridge); err != nil && !os.IsExist(err) {
		return nil, fmt.Errorf("make br0: %w", err)
	}
	link, err := f.host.LinkByName("br0")
	if err != nil {
		return nil, err
	}
	f.bridge = link.Attrs().Index
	gateway, _ := netlink.ParseAddr("10.88.0.1/16")
	if err := f.host.AddrReplace(link, gateway); err != nil {
		return nil, fmt.Errorf("address of br0: %w", err)
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644); err != nil {
		return nil, err
	}
	return f, f.makeTable()
}

// makeTable makes the network's own rules: masquerade, and a map from host
// ports to containers.
func (f *floor) makeTable() error {
	var err error
	if f.filter, err = nftables.New(nftables.AsLasting()); err != nil {
		return err
	}
	table := f.filter.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "floor"})
	f.ports = &nftables.Set{Table: table, Name: "ports", IsMap: true,
		KeyType: nftables.TypeInetService, DataType: nftables.TypeIPAddr}
	if err := f.filter.AddSet(f.ports, nil); err != nil {
		return err
	}
	out := f.filter.AddChain(&nftables.Chain{Name: "out", Table: table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource})
	f.filter.AddRule(&nftables.Rule{Table: table, Chain: out, Exprs: []expr.Any{&expr.Masq{}}})
	return f.filter.Flush()
}

func (f *floor) do(t task) (time.Duration, []byte, error) {
	if t.Verb == "DEL" {
		took, err := f.del(t)
		return took, nil, err
	}
	start := time.Now()
	err := f.add(t)
	return time.Since(start), nil, err
}

func (f *floor) element(t task) []nftables.SetElement {
	return []nftables.SetElement{{Key: []byte{byte(t.Port >> 8), byte(t.Port)}, Val: net.ParseIP(t.Address).To4()}}
}

// link is the host's end of a container's pair.
func (t task) link() string { return "f" + t.ID }

func (f *floor) add(t task) error {
	file, err := os.Open(t.Netns)
	if err != nil {
		return err
	}
	defer file.Close()
	inside, err := netlink.NewHandleAt(netns.NsHandle(file.Fd()), unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer inside.Close()
	veth := netlink.NewVeth(netlink.LinkAttrs{Name: t.link(), MasterIndex: f.bridge, Flags: net.FlagUp, TxQLen: -1})
	veth.PeerName, veth.PeerNamespace = "eth0", netlink.NsFd(int(file.Fd()))
	if err := f.host.LinkAdd(veth); err != nil {
		return fmt.Errorf("make pair: %w", err)
	}
	const first = 2 // a new namespace has lo, which is 1
	eth0 := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: first, Name: "eth0"}}
	if err := inside.LinkSetUp(eth0); err != nil {
		return fmt.Errorf("set eth0 up: %w", err)
	}
	address := &net.IPNet{IP: net.ParseIP(t.Address), Mask: net.CIDRMask(16, 32)}
	if err := inside.AddrAdd(eth0, &netlink.Addr{IPNet: address}); err != nil {
		return fmt.Errorf("add address: %w", err)
	}
	if err := inside.RouteAdd(&netlink.Route{LinkIndex: first, Gw: net.IPv4(10, 88, 0, 1)}); err != nil {
		return fmt.Errorf("add route: %w", err)
	}
	if err := f.filter.SetAddElements(f.ports, f.element(t)); err != nil {
		return err
	}
	return f.filter.Flush()
}

// del is timed until the kernel says that the link is gone. The request itself
// returns 20 to 40 ms later, which is waited for outside of the time.
func (f *floor) del(t task) (time.Duration, error) {
	link, err := f.host.LinkByName(t.link())
	if err != nil {
		return 0, err
	}
	news, done := make(chan netlink.LinkUpdate, 1024), make(chan struct{})
	defer close(done)
	if err := netlink.LinkSubscribe(news, done); err != nil {
		return 0, err
	}
	start := time.Now()
	if err := f.filter.SetDeleteElements(f.ports, f.element(t)); err != nil {
		return 0, err
	}
	if err := f.filter.Flush(); err != nil {
		return 0, err
	}
	deleted := make(chan error, 1)
	go func() { deleted <- f.host.LinkDel(link) }()
	for update := range news {
		if update.Header.Type == unix.RTM_DELLINK && int(update.Index) == link.Attrs().Index {
			break
		}
	}
	took := time.Since(start)
	return took, <-deleted
}
