package plugins_test

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/netctl/netctl/test/netns"
)

// tellClients has a container answer each connection with the address that it
// seems to come from.
func tellClients(t *testing.T, ns *netns.Namespace, address string) {
	t.Helper()
	var listener net.Listener
	if err := ns.Do(func() (err error) { listener, err = net.Listen("tcp", address); return err }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			host, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
			fmt.Fprint(conn, host)
			conn.Close()
		}
	}()
}

// outside connects a namespace to the host by the host's link eth7: the host is
// 192.0.2.1 and 2001:db8::1 there, the other one .9.
func (h *host) outside() *netns.Namespace {
	h.t.Helper()
	ns := h.container()
	on(h.t, h.ns, "ip link add eth7 type veth peer name eth0 netns "+ns.Path()+`
		ip addr add 192.0.2.1/24 dev eth7; ip addr add 2001:db8::1/64 dev eth7 nodad; ip link set eth7 up`)
	on(h.t, ns, "ip link set lo up; ip addr add 192.0.2.9/24 dev eth0; ip addr add 2001:db8::9/64 dev eth0 nodad; ip link set eth0 up; ip route add default via 192.0.2.1")
	return ns
}

// TestPortmapKeys has the effect of each key of the reference plugin seen by
// connections, with both mechanisms.
func TestPortmapKeys(t *testing.T) {
	const refused = ""
	for name, c := range map[string]struct{ keys, outside, member, onlyIPTables string }{
		"as it is":         {"", "192.0.2.9", "10.88.0.1", ""},
		"masqAll":          {`,"masqAll":true`, "10.88.0.1", "10.88.0.1", ""},
		"mark bit":         {`,"markMasqBit":5`, "192.0.2.9", "10.88.0.1", ""},
		"not from outside": {`,"conditionsV4":["!","-s","192.0.2.0/24"]`, refused, "10.88.0.1", ""},
		"only by eth7":     {`,"conditionsV4":["-i","eth7"]`, "192.0.2.9", refused, ""},
		"words of nft":     {`,"conditionsV4":["iifname","!=","eth7"]`, refused, "10.88.0.1", ""},
		"list of sources":  {`,"conditionsV4":["-s","192.0.2.9,192.0.2.10"]`, "192.0.2.9", refused, "has no translation for nftables"},
	} {
		for _, backend := range []string{"iptables", "nftables"} {
			t.Run(name+"/"+backend, func(t *testing.T) {
				t.Parallel()
				h := newHost(t)
				client, a, b := h.outside(), h.container(), h.container()
				list := []string{
					`{"type":"bridge","bridge":"br0","isGateway":true,"hairpinMode":true,"ipam":{"type":"netctl-ipam","ranges":[[{"subnet":"10.88.0.0/16"}]],"routes":[{"dst":"0.0.0.0/0"}]}}`,
					fmt.Sprintf(`{"type":"portmap","backend":%q,"runtimeConfig":{"portMappings":[{"hostPort":8080,"containerPort":80},{"hostPort":8081,"containerPort":81}]}%s}`, backend, c.keys),
				}
				h.env = []string{"NETCTL_FIREWALL=" + backend}
				h.chain("ADD", "b", b, list[:1], nil)
				made := h.chain("ADD", "a", a, list[:1], nil)
				if backend == "nftables" && c.onlyIPTables != "" {
					f := h.refuse(after(made, "ADD", "portmap", "a", a, strings.TrimPrefix(strings.TrimSuffix(list[1], "}"), `{"type":"portmap"`)))
					if f.Code != 7 || !strings.Contains(f.Msg, c.onlyIPTables) {
						t.Errorf("got %+v", f)
					}
					h.chain("DEL", "a", a, list, made)
					h.chain("DEL", "b", b, list[:1], nil)
					h.wantClean()
					return
				}
				result := h.chain("ADD", "a", a, list[1:], made)
				h.chain("CHECK", "a", a, list, result)
				for _, port := range []string{"80", "81"} {
					tellClients(t, a, addressOf(t, made)+":"+port)
					if got, _ := ask(client, "192.0.2.1:80"+port); got != c.outside {
						t.Errorf("from outside, port %s: seen as %q, want %q", port, got, c.outside)
					}
					if got, _ := ask(b, "192.0.2.1:80"+port); got != c.member {
						t.Errorf("from a member, port %s: seen as %q, want %q", port, got, c.member)
					}
				}
				h.chain("DEL", "a", nil, list, result)
				h.chain("DEL", "b", b, list[:1], nil)
				h.wantClean()
			})
		}
	}
}

// TestMarkChain: connections that must be masqueraded, and no others, pass the
// chain that externalSetMarkChain names, in both families; without it there is no
// ADD.
func TestMarkChain(t *testing.T) {
	h := newHost(t)
	h.env = []string{"NETCTL_FIREWALL=iptables"}
	client, a, b := h.outside(), h.container(), h.container()
	on(t, client, "ip -6 route add default via 2001:db8::1")
	list := []string{
		`{"type":"bridge","bridge":"br0","isGateway":true,"hairpinMode":true,"ipam":{"type":"netctl-ipam",` + bothFamilies + `,"routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0"}]}}`,
		`{"type":"portmap","externalSetMarkChain":"KUBE-MARK-MASQ","runtimeConfig":{"portMappings":[{"hostPort":8080,"containerPort":80}]}}`,
	}
	h.chain("ADD", "b", b, list[:1], nil)
	made := h.chain("ADD", "a", a, list[:1], nil)
	before := h.everything()
	if f := h.refuse(h.link("ADD", "a", a, list[1], made)); f.Code != 106 || !strings.Contains(f.Msg, "KUBE-MARK-MASQ") {
		t.Errorf("without the chain: %+v", f)
	}
	if after := h.everything(); after != before {
		t.Errorf("a failed ADD left: %s", difference(before, after))
	}
	for _, tool := range []string{"iptables", "ip6tables"} {
		on(t, h.ns, tool+" -t nat -N KUBE-MARK-MASQ; "+tool+" -t nat -A KUBE-MARK-MASQ -j MARK --or-mark 0x4000")
	}
	result := h.chain("ADD", "a", a, list[1:], made)
	h.chain("CHECK", "a", a, list, result)
	tellClients(t, a, "[::]:80")
	passed := func(tool string) string {
		out, err := h.ns.Output(tool, "-t", "nat", "-vxnL", "KUBE-MARK-MASQ")
		lines := strings.Split(out, "\n")
		if err != nil || len(lines) < 3 {
			t.Fatalf("%s: %v", out, err)
		}
		return strings.Fields(lines[2])[0]
	}
	for _, c := range []struct {
		from    *netns.Namespace
		address string
		marked  string // whose chain it passes, or ""
	}{
		{client, "192.0.2.1:8080", ""}, {client, "[2001:db8::1]:8080", ""},
		{b, "192.0.2.1:8080", "iptables"}, {b, "[2001:db8::1]:8080", "ip6tables"},
		{h.ns, "127.0.0.1:8080", "iptables"},
	} {
		before := map[string]string{"iptables": passed("iptables"), "ip6tables": passed("ip6tables")}
		if _, err := askPatiently(c.from, "tcp", netip.MustParseAddrPort(c.address)); err != nil {
			t.Errorf("%s: %v", c.address, err)
		}
		for tool, was := range before {
			if now := passed(tool); (now != was) != (tool == c.marked) {
				t.Errorf("%s: %s packets of %s before and %s after, want it marked by %q", c.address, was, tool, now, c.marked)
			}
		}
	}
	for _, rule := range []string{"-s 10.88.0.0/16", "-s 127.0.0.1/32"} { // gone by hand, and back
		on(t, h.ns, "iptables-save -t nat | grep -- '"+rule+".*KUBE-MARK-MASQ' | sed 's/^-A/-D/' | xargs iptables -t nat")
		if f := h.refuse(after(result, "CHECK", "portmap", "a", a, strings.TrimPrefix(strings.TrimSuffix(list[1], "}"), `{"type":"portmap"`))); f.Code != 109 {
			t.Errorf("CHECK without %s: %+v", rule, f)
		}
	}
	h.chain("DEL", "a", nil, list, result)
	h.chain("DEL", "b", b, list[:1], nil)
	h.wantClean()
	shows(t, h.ns, "iptables -t nat -S KUBE-MARK-MASQ", "0x4000")
}
