package network

import (
	"net/netip"
	"strings"
	"testing"
)

func pfx(texts ...string) []netip.Prefix {
	var list []netip.Prefix
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

func addrs(texts ...string) []netip.Addr {
	var list []netip.Addr
	for _, text := range texts {
		list = append(list, netip.MustParseAddr(text))
	}
	return list
}

func TestCheckName(t *testing.T) {
	for _, tt := range []struct{ name, want string }{
		{"my-bridge", ""},
		{"a", ""},
		{"0net_1.x-y", ""},
		{strings.Repeat("a", 63), ""},
		{strings.Repeat("a", 64), "longer than 63 bytes"},
		{"", "want letters, digits"},
		{"-net", "want letters, digits"},
		{".net", "want letters, digits"},
		{"my net", "want letters, digits"},
		{"a/b", "want letters, digits"},
		{"../x", "want letters, digits"},
		{"nétz", "want letters, digits"},
		{"net\n", "want letters, digits"},
		{"container:web", "want letters, digits"},
		{"ns:/run/netns/x", "want letters, digits"},
		{"bridge", "network name bridge is reserved"},
		{"host", "reserved"},
		{"none", "reserved"},
		{"default", "reserved"},
		{"private", "reserved"},
		{"pasta", "reserved"},
		{"slirp4netns", "reserved"},
	} {
		err := CheckName(tt.name)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("CheckName(%q) = %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestParseAddrRange(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"10.88.4.0/24", "10.88.4.0-10.88.4.255"},
		{"10.88.4.7/24", "10.88.4.0-10.88.4.255"},
		{"10.88.4.10-10.88.4.20", "10.88.4.10-10.88.4.20"},
		{"10.88.4.10-10.88.4.10", "10.88.4.10-10.88.4.10"},
		{"fd00::10-fd00::20", "fd00::10-fd00::20"},
		{"10.88.4.20-10.88.4.10", "the second address must follow the first"},
		{"10.88.4.20-fd00::1", "the second address must follow the first"},
		{"10.88.4.20", "want a prefix such as"},
		{"x-10.88.4.20", "x is not an address"},
		{"10.88.4.20-", " is not an address"},
	} {
		got, err := ParseAddrRange(tt.text)
		if err != nil && !strings.Contains(err.Error(), tt.want) || err == nil && got.String() != tt.want {
			t.Errorf("ParseAddrRange(%q) = %v, %v; want %q", tt.text, got, err, tt.want)
		}
	}
}

func TestParseRoute(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"10.1.0.0/16,10.88.0.1", "{10.1.0.0/16 10.88.0.1 0}"},
		{"10.1.0.9/16,10.88.0.1,100", "{10.1.0.0/16 10.88.0.1 100}"},
		{"fd01::/64,fd00::1", "{fd01::/64 fd00::1 0}"},
		{"10.1.0.0/16", "want destination,gateway"},
		{"10.1.0.0/16,10.88.0.1,1,2", "want destination,gateway"},
		{"10.1.0.0,10.88.0.1", "10.1.0.0 is not a prefix"},
		{"10.1.0.0/16,fd00::1", "fd00::1 is not a gateway"},
		{"10.1.0.0/16,10.88.0.1,fast", "metric invalid value"},
	} {
		got, err := ParseRoute(tt.text)
		if err != nil && !strings.Contains(err.Error(), tt.want) || err == nil && fmtRoute(got) != tt.want {
			t.Errorf("ParseRoute(%q) = %v, %v; want %q", tt.text, got, err, tt.want)
		}
	}
}

// TestRequestRefused holds the texts that people see (spec cli 1.6).
func TestRequestRefused(t *testing.T) {
	for _, tt := range []struct {
		name string
		r    Request
		want string
	}{
		{"host bits", Request{Subnets: pfx("10.88.0.1/16")}, "invalid subnet 10.88.0.1/16: did you mean 10.88.0.0/16?"},
		{"too small", Request{Subnets: pfx("10.88.0.0/31")}, "invalid subnet 10.88.0.0/31: too small, it has no address to give out"},
		{"overlapping flags", Request{Subnets: pfx("10.88.0.0/16", "10.88.1.0/24")}, "10.88.1.0/24 overlaps 10.88.0.0/16 (both asked for)"},
		{"two of a family", Request{Subnets: pfx("10.88.0.0/16", "10.89.0.0/24")}, "driver bridge takes one subnet of each address family, not both 10.88.0.0/16 and 10.89.0.0/24"},
		{"gateway outside", Request{Subnets: pfx("10.0.0.0/24"), Gateways: addrs("10.1.0.1")}, "gateway 10.1.0.1 is not inside 10.0.0.0/24"},
		{"gateway outside both", Request{Subnets: pfx("10.0.0.0/24", "fd00::/64"), Gateways: addrs("10.1.0.1")}, "gateway 10.1.0.1 is not inside 10.0.0.0/24 or fd00::/64"},
		{"gateway is the network", Request{Subnets: pfx("10.0.0.0/24"), Gateways: addrs("10.0.0.0")}, "gateway 10.0.0.0 is the address of the network 10.0.0.0/24 itself"},
		{"gateway is broadcast", Request{Subnets: pfx("10.0.0.0/24"), Gateways: addrs("10.0.0.255")}, "gateway 10.0.0.255 is the broadcast address of 10.0.0.0/24"},
		{"two gateways", Request{Subnets: pfx("10.0.0.0/24"), Gateways: addrs("10.0.0.1", "10.0.0.2")}, "two gateways in 10.0.0.0/24: 10.0.0.1 and 10.0.0.2"},
		{"gateway alone", Request{Gateways: addrs("10.0.0.1")}, "gateway 10.0.0.1 needs the --subnet it lies in"},
		{"range outside", Request{Subnets: pfx("10.0.0.0/24"), Ranges: []AddrRange{{addrs("10.0.0.9")[0], addrs("10.0.1.9")[0]}}}, "IP range 10.0.0.9-10.0.1.9 is not inside 10.0.0.0/24"},
		{"auxiliary outside", Request{Subnets: pfx("10.0.0.0/24"), Reserved: map[string]netip.Addr{"nas": addrs("10.9.0.1")[0]}}, "auxiliary address nas 10.9.0.1 is not inside 10.0.0.0/24"},
		{"route's gateway outside", Request{Subnets: pfx("10.0.0.0/24"), Routes: []Route{{pfx("10.7.0.0/16")[0], addrs("10.9.0.1")[0], 0}}}, "route's gateway 10.9.0.1 is not inside 10.0.0.0/24"},
		{"no family", Request{NoIPv4: true}, "a network needs IPv4 or IPv6"},
		{"v4 and not v4", Request{NoIPv4: true, IPv6: true, Subnets: pfx("10.0.0.0/24")}, "subnet 10.0.0.0/24 contradicts --ipv4=false"},
		{"subnet without addresses", Request{NoIPAM: true, Subnets: pfx("10.0.0.0/24")}, "a network without address management (--ipam-driver none) has no subnets"},
		{"driver", Request{Driver: "foo"}, "unsupported driver foo (known: bridge, macvlan, overlay)"},
		{"overlay without addresses", Request{Driver: "vxlan", NoIPAM: true}, "an overlay network has addresses: leave --ipam-driver none out"},
		{"driver host", Request{Driver: "host"}, "driver host makes no further networks: use the predefined one"},
		{"unknown option", Request{Options: map[string]string{"mut": "1400"}}, "unknown option mut for driver bridge (known: com.docker.network.bridge.enable_icc, com.docker.network.bridge.enable_ip_masquerade, com.docker.network.bridge.host_binding_ipv4, com.docker.network.bridge.name, com.docker.network.container_iface_prefix, com.docker.network.driver.mtu, com.docker.network.host_ipv4, com.docker.network.host_ipv6, isolate, metric, mtu, no_default_route, no_masquerade, outbound_addr4, outbound_addr6, publish_from, publish_on)"},
		{"option of another driver", Request{Driver: "macvlan", Options: map[string]string{"isolate": "true"}}, "unknown option isolate for driver macvlan"},
		{"mtu", Request{Options: map[string]string{"mtu": "20"}}, `option mtu: invalid value "20": want a number from 68 to 65535`},
		{"prefix", Request{Options: map[string]string{"publish_from": "192.0.2.0/24,all"}}, `option publish_from: invalid prefix "all": want one such as 192.0.2.0/24 or 2001:db8::/32`},
		{"family", Request{Options: map[string]string{"outbound_addr4": "fd00::1"}}, `option outbound_addr4: invalid value "fd00::1": want an IPv4 address of this host`},
		{"masquerade", Request{Options: map[string]string{"no_masquerade": "::/0", "com.docker.network.bridge.enable_ip_masquerade": "false"}}, "options host_ipv4, host_ipv6 and no_masquerade say how to masquerade, and this network does not"},
		{"bool", Request{Options: map[string]string{"isolate": "strict"}}, `option isolate: invalid value "strict": want true or false`},
		{"macvlan mode", Request{Driver: "macvlan", Options: map[string]string{"mode": "l2"}}, `option mode: invalid value "l2": want bridge, private, vepa, passthru`},
		{"host address", Request{Options: map[string]string{"com.docker.network.bridge.host_binding_ipv4": "eth0"}}, `invalid value "eth0": want an IPv4 address`},
		{"long device", Request{Device: "averyverylongname"}, `invalid interface name "averyverylongname": longer than 15 bytes`},
		{"device with slash", Request{Device: "a/b"}, `invalid interface name "a/b"`},
		{"two devices", Request{Device: "br0", Options: map[string]string{"com.docker.network.bridge.name": "br1"}}, "two names for the network's device: br0 and br1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := tt.r.check()
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}
