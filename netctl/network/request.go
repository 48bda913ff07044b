package network

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/netctl/netctl/ipam"
)

// A Request is what somebody asks of a new network. What is left out is
// chosen: the driver, the subnet, the gateway, the device's name.
type Request struct {
	Name    string
	Driver  string
	Subnets []netip.Prefix
	// Gateways and Ranges belong to the subnet that contains them.
	Gateways []netip.Addr
	Ranges   []AddrRange
	// Reserved are addresses not to be given out, by their purpose.
	Reserved map[string]netip.Addr
	// NoIPv4 and IPv6 say which families to choose a subnet for where none is given.
	NoIPv4, IPv6 bool
	// NoIPAM makes a network whose containers get no addresses.
	NoIPAM   bool
	Internal bool
	// DNS are the servers asked for foreign names; NoNames serves no names at all.
	DNS     []netip.Addr
	NoNames bool
	// Device is the bridge, or the parent of a macvlan network.
	Device  string
	Routes  []Route
	Labels  map[string]string
	Options map[string]string
}

// An AddrRange is a run of addresses, both ends included.
type AddrRange struct{ From, To netip.Addr }

// ParseAddrRange reads 10.88.4.0/24 or 10.88.4.10-10.88.4.20.
func ParseAddrRange(text string) (AddrRange, error) {
	bad := func(why string) (AddrRange, error) {
		return AddrRange{}, fmt.Errorf("invalid IP range %q: %s", text, why)
	}
	if prefix, err := netip.ParsePrefix(text); err == nil {
		return AddrRange{From: prefix.Masked().Addr(), To: ipam.End(prefix)}, nil
	}
	low, high, ok := strings.Cut(text, "-")
	if !ok {
		return bad("want a prefix such as 10.88.4.0/24 or a pair such as 10.88.4.10-10.88.4.20")
	}
	from, err := netip.ParseAddr(low)
	if err != nil {
		return bad(low + " is not an address")
	}
	to, err := netip.ParseAddr(high)
	if err != nil {
		return bad(high + " is not an address")
	}
	if from.Is4() != to.Is4() || to.Less(from) {
		return bad("the second address must follow the first")
	}
	return AddrRange{From: from, To: to}, nil
}

func (r AddrRange) String() string { return r.From.String() + "-" + r.To.String() }

// ParseRoute reads DESTINATION,GATEWAY[,METRIC].
func ParseRoute(text string) (Route, error) {
	part := strings.Split(text, ",")
	if len(part) < 2 || len(part) > 3 {
		return Route{}, fmt.Errorf("invalid route %q: want destination,gateway[,metric] such as 10.1.0.0/16,10.88.0.1,100", text)
	}
	to, err := netip.ParsePrefix(part[0])
	if err != nil {
		return Route{}, fmt.Errorf("invalid route %q: %s is not a prefix", text, part[0])
	}
	via, err := netip.ParseAddr(part[1])
	if err != nil || via.Is4() != to.Addr().Is4() {
		return Route{}, fmt.Errorf("invalid route %q: %s is not a gateway for %s", text, part[1], to)
	}
	r := Route{To: to.Masked(), Via: via}
	if len(part) == 3 {
		if r.Metric, err = parseInt(part[2], 0, 1<<31-1); err != nil {
			return Route{}, fmt.Errorf("invalid route %q: metric %w", text, err)
		}
	}
	return r, nil
}

// check finds every mistake but those in the name that can be found without
// looking at the host or at other networks, and gives the driver and its settings.
func (r *Request) check() (driver, settings, error) {
	d, err := driverNamed(r.Driver)
	if err != nil {
		return driver{}, settings{}, err
	}
	s, err := d.parseOptions(r.Options)
	if err != nil {
		return driver{}, settings{}, err
	}
	for _, check := range []func() error{
		r.checkSubnets, r.checkGateways, r.checkRanges, r.checkReserved, r.checkRoutes,
		func() error { return r.checkDevice(&s) },
		func() error { return d.check(*r, s) },
	} {
		if err := check(); err != nil {
			return driver{}, settings{}, err
		}
	}
	return d, s, nil
}

func (r *Request) checkSubnets() error {
	if r.NoIPAM && (len(r.Subnets) > 0 || r.IPv6) {
		return errors.New("a network without address management (--ipam-driver none) has no subnets")
	}
	if r.NoIPv4 && !r.IPv6 && len(r.Subnets) == 0 && !r.NoIPAM {
		return errors.New("a network needs IPv4 or IPv6")
	}
	for i, subnet := range r.Subnets {
		if err := ipam.SuggestMasked(subnet); err != nil {
			return err
		}
		if _, err := (ipam.Range{Subnet: subnet}).Canonical(); err != nil {
			return err
		}
		if subnet.Addr().Is4() && r.NoIPv4 {
			return fmt.Errorf("subnet %s contradicts --ipv4=false", subnet)
		}
		if other, ok := ipam.FirstOverlap(subnet, r.Subnets[:i]); ok {
			return fmt.Errorf("%s overlaps %s (both asked for)", subnet, other)
		}
	}
	return nil
}

func (r *Request) checkGateways() error {
	for i, gateway := range r.Gateways {
		subnet, err := r.subnetOf("gateway", gateway)
		if err != nil {
			return err
		}
		if err := usable(gateway, subnet); err != nil {
			return fmt.Errorf("gateway %w", err)
		}
		for _, other := range r.Gateways[:i] {
			if subnet.Contains(other) {
				return fmt.Errorf("two gateways in %s: %s and %s", subnet, other, gateway)
			}
		}
	}
	return nil
}

func (r *Request) checkRanges() error {
	for i, given := range r.Ranges {
		subnet, err := r.subnetOf("IP range", given.From)
		if err != nil {
			return err
		}
		if !subnet.Contains(given.To) {
			return fmt.Errorf("IP range %s is not inside %s", given, subnet)
		}
		for _, other := range r.Ranges[:i] {
			if !given.To.Less(other.From) && !other.To.Less(given.From) {
				return fmt.Errorf("IP ranges overlap: %s and %s", other, given)
			}
		}
	}
	return nil
}

func (r *Request) checkReserved() error {
	for _, purpose := range sortedKeys(r.Reserved) {
		if _, err := r.subnetOf("auxiliary address "+purpose, r.Reserved[purpose]); err != nil {
			return err
		}
	}
	return nil
}

func (r *Request) checkRoutes() error {
	for _, route := range r.Routes {
		if _, err := r.subnetOf("route's gateway", route.Via); err != nil {
			return err
		}
	}
	return nil
}

// subnetOf gives the subnet that contains a.
func (r *Request) subnetOf(what string, a netip.Addr) (netip.Prefix, error) {
	if len(r.Subnets) == 0 {
		return netip.Prefix{}, fmt.Errorf("%s %s needs the --subnet it lies in", what, a)
	}
	contains := func(p netip.Prefix) bool { return p.Contains(a) }
	if i := slices.IndexFunc(r.Subnets, contains); i >= 0 {
		return r.Subnets[i], nil
	}
	return netip.Prefix{}, fmt.Errorf("%s %s is not inside %s", what, a, joined(r.Subnets, " or "))
}

// usable refuses the addresses of a subnet that no host may have.
func usable(a netip.Addr, subnet netip.Prefix) error {
	if a.Less(ipam.First(subnet)) {
		return fmt.Errorf("%s is the address of the network %s itself", a, subnet)
	}
	if ipam.Last(subnet).Less(a) {
		return fmt.Errorf("%s is the broadcast address of %s", a, subnet)
	}
	return nil
}

// checkDevice settles where the device's name comes from.
func (r *Request) checkDevice(s *settings) error {
	if s.device != "" && r.Device != "" && s.device != r.Device {
		return fmt.Errorf("two names for the network's device: %s and %s", r.Device, s.device)
	}
	if r.Device != "" {
		s.device = r.Device
	}
	if s.device == "" {
		return nil
	}
	return checkInterfaceName(s.device)
}

// checkInterfaceName holds the kernel's rule (dev_valid_name in net/core/dev.c)
// before any device is made.
func checkInterfaceName(name string) error {
	const limit = 15 // IFNAMSIZ - 1
	switch {
	case len(name) > limit:
		return fmt.Errorf("invalid interface name %q: longer than %d bytes", name, limit)
	case name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/: \t\r\n\v\f"):
		return fmt.Errorf("invalid interface name %q: empty, '.', '..', and '/', ':' and white space in it are not allowed", name)
	}
	return nil
}

func joined[T fmt.Stringer](list []T, by string) string {
	var text []string
	for _, item := range list {
		text = append(text, item.String())
	}
	return strings.Join(text, by)
}
