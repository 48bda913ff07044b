package plugins_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/netctl/netctl/dnsd/client"
	"github.com/netctl/netctl/test/netns"
)

// resolve looks an IPv4 name up from a namespace with Go's own resolver, at a
// server, over a transport. It returns the addresses, or what went wrong. How
// long Go's resolver waits the machine's resolv.conf says; on a busy machine that
// can be too short.
func resolve(ns *netns.Namespace, transport, server, name string) string {
	for end := time.Now().Add(40 * time.Second); ; {
		answer, err := resolveOnce(ns, transport, server, name)
		var failed *net.DNSError
		switch {
		case err == nil:
			return answer
		case !errors.As(err, &failed) || !failed.IsTimeout || time.Now().After(end):
			return err.Error()
		}
	}
}

func resolveOnce(ns *netns.Namespace, transport, server, name string) (answer string, err error) {
	err = ns.Do(func() error {
		r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (c net.Conn, err error) {
			err = ns.Do(func() error { // called on a thread of the resolver's own
				c, err = (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, transport, net.JoinHostPort(server, "53"))
				return err
			})
			return c, err
		}}
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		addrs, err := r.LookupNetIP(ctx, "ip4", name)
		for i, a := range addrs {
			addrs[i] = a.Unmap()
		}
		slices.SortFunc(addrs, netip.Addr.Compare)
		answer = strings.Trim(fmt.Sprint(addrs), "[]")
		return err
	})
	return answer, err
}

// wantNames looks names up from a namespace over both transports.
func wantNames(t *testing.T, ns *netns.Namespace, server string, want map[string]string) {
	t.Helper()
	for name, address := range want {
		for _, transport := range []string{"udp4", "tcp4"} {
			if got := resolve(ns, transport, server, name); got != address {
				t.Errorf("%s at %s over %s: %s, want %s", name, server, transport, got, address)
			}
		}
	}
}

// wildcard is a DNS server of all the host's addresses that answers nothing.
func wildcard(t *testing.T, ns *netns.Namespace) (stop func()) {
	t.Helper()
	var closers []func() error
	err := ns.Do(func() error {
		udp, err := net.ListenPacket("udp4", ":53")
		if err != nil {
			return err
		}
		tcp, err := net.Listen("tcp4", ":53")
		if err != nil {
			return err
		}
		closers = append(closers, udp.Close, tcp.Close)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	stop = func() {
		for _, c := range closers {
			_ = c()
		}
	}
	t.Cleanup(stop)
	return stop
}

// status is what the resolver of the host says of itself.
func (h *host) status() (st struct {
	PID       int
	Listeners []struct {
		Address   string
		Port      int
		Container string
	}
}) {
	h.t.Helper()
	reply, err := client.Do(context.Background(), h.state, "status")
	if err == nil {
		err = json.Unmarshal([]byte(reply), &st)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return st
}

// restartResolver kills it and waits until its guard has started another.
func (h *host) restartResolver() {
	h.t.Helper()
	pid := h.status().PID
	_ = syscall.Kill(pid, syscall.SIGKILL)
	for start := time.Now(); time.Since(start) < 30*time.Second; time.Sleep(10 * time.Millisecond) {
		if reply, err := client.Do(context.Background(), h.state, "status"); err == nil && !strings.Contains(reply, fmt.Sprintf(`"pid": %d,`, pid)) {
			return
		}
	}
	h.t.Fatal("the resolver does not come back")
}

func named(verb, container string, ns *netns.Namespace, keys, runtime string) call {
	return bridgeCall(verb, container, ns, "1.1.0", `,"names":true`+keys+`,"runtimeConfig":{"aliases":["`+container+`"]`+runtime+`}`)
}

// TestNamesBesideAWildcardServer: names resolve on a host that drops what is not
// allowed and whose port 53 is another server's, on an internal network too;
// a restart of the resolver and a reload change nothing, although the server is gone by
// then; and nothing is left.
func TestNamesBesideAWildcardServer(t *testing.T) {
	for _, backend := range []string{"iptables", "nftables"} {
		for _, keys := range []string{"", `,"internal":true`} {
			t.Run(backend+keys, func(t *testing.T) {
				t.Parallel()
				h := newHost(t)
				h.env = []string{"NETCTL_FIREWALL=" + backend}
				on(t, h.ns, `nft 'add table inet strict; add chain inet strict in { type filter hook input priority 0; policy drop; }
					add rule inet strict in iif lo accept'`)
				stop := wildcard(t, h.ns)
				web, db := h.container(), h.container()
				h.must(named("ADD", "web", web, keys, ""))
				want := map[string]string{"web.netctl.internal.": "10.88.0.2"}
				wantNames(t, web, "10.88.0.1", want)
				wantNames(t, h.ns, "10.88.0.1", want)
				if l := h.status().Listeners; l[0].Port != 10053 {
					t.Errorf("listeners %+v", l)
				}
				stop()
				h.restartResolver()
				wantNames(t, web, "10.88.0.1", want)
				h.must(named("ADD", "db", db, keys, ""))
				want["db.netctl.internal."] = "10.88.0.3"
				wantNames(t, web, "10.88.0.1", want)
				h.must(named("DEL", "db", db, keys, ""))
				h.must(named("DEL", "web", web, keys, ""))
				on(t, h.ns, "nft delete table inet strict")
				h.wantClean()
			})
		}
	}
}

// firewalld is what firewalld (1.3, zone public) does with packets to the host:
// what no zone allows is rejected, with nothing said of port 53.
const firewalld = `nft -f - <<'end'
table inet firewalld {
	chain filter_IN_public_allow {
		tcp dport 22 accept
		ip6 daddr fe80::/64 udp dport 546 accept
	}
	chain filter_IN_public {
		jump filter_IN_public_allow
		meta l4proto { icmp, ipv6-icmp } accept
	}
	chain filter_INPUT_ZONES {
		goto filter_IN_public
	}
	chain filter_INPUT {
		type filter hook input priority filter + 10; policy accept;
		ct state { established, related } accept
		ct status dnat accept
		iifname "lo" accept
		ct state invalid drop
		jump filter_INPUT_ZONES
		reject with icmpx admin-prohibited
	}
}
end`

// TestNamesBesideFirewalld: names resolve where firewalld knows nothing of the
// network, on an internal one too, and what firewalld refuses stays refused.
func TestNamesBesideFirewalld(t *testing.T) {
	for _, backend := range []string{"iptables", "nftables"} {
		for _, keys := range []string{"", `,"internal":true`} {
			t.Run(backend+keys, func(t *testing.T) {
				t.Parallel()
				h := newHost(t)
				h.env = []string{"NETCTL_FIREWALL=" + backend}
				on(t, h.ns, firewalld)
				before := shown(t, h.ns, "nft list table inet firewalld")
				web := h.container()
				h.must(named("ADD", "web", web, keys, ""))
				wantNames(t, web, "10.88.0.1", map[string]string{"web.netctl.internal.": "10.88.0.2"})
				err := web.Do(func() error {
					c, err := net.DialTimeout("tcp4", "10.88.0.1:54", 5*time.Second)
					if err == nil {
						c.Close()
					}
					return err
				})
				if err == nil || errors.Is(err, syscall.ECONNREFUSED) { // refused by nobody's socket: it came through
					t.Errorf("another port of the gateway: %v", err)
				}
				h.must(named("DEL", "web", web, keys, ""))
				if after := shown(t, h.ns, "nft list table inet firewalld"); after != before {
					t.Errorf("firewalld's table was\n%s\nand is\n%s", before, after)
				}
				on(t, h.ns, "nft delete table inet firewalld")
				h.wantClean()
			})
		}
	}
}

// shown is what a shell command prints.
func shown(t *testing.T, ns *netns.Namespace, line string) string {
	t.Helper()
	out, err := ns.Output("sh", "-c", line)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestNamesBesideAPublishedPort53: a container that publishes port 53 gets the
// outside's questions, and the network's own still go to our resolver.
func TestNamesBesideAPublishedPort53(t *testing.T) {
	h := newHost(t)
	web, dns := h.container(), h.container()
	h.must(named("ADD", "web", web, "", ""))
	const ports = `,"portMappings":[{"hostPort":53,"containerPort":53,"protocol":"udp"},{"hostPort":53,"containerPort":53}]`
	h.must(named("ADD", "dns", dns, "", ports))
	want := map[string]string{"web.netctl.internal.": "10.88.0.2", "dns.netctl.internal.": "10.88.0.3"}
	wantNames(t, web, "10.88.0.1", want)
	wantNames(t, dns, "10.88.0.1", want)
	h.must(named("DEL", "dns", dns, "", ports))
	// The other way round: the port is published before there is a resolver.
	h.must(named("DEL", "web", web, "", ""))
	h.must(named("ADD", "dns", dns, "", ports))
	h.must(named("ADD", "web", web, "", ""))
	wantNames(t, web, "10.88.0.1", map[string]string{"dns.netctl.internal.": "10.88.0.4"})
	h.must(named("DEL", "web", web, "", ""))
	h.must(named("DEL", "dns", dns, "", ports))
	h.wantClean()
}

// macvlanHost has a parent interface and makes calls for containers on it.
func macvlanHost(t *testing.T) (*host, func(verb, container string, ns *netns.Namespace, address, keys string) call) {
	t.Helper()
	h := newHost(t)
	on(t, h.ns, "ip link add parent type veth peer name far; ip link set parent up; ip link set far up")
	return h, func(verb, container string, ns *netns.Namespace, address, keys string) call {
		return call{verb: verb, plugin: "macvlan", container: container, netns: ns.Path(), conf: fmt.Sprintf(`{"cniVersion":"1.1.0","name":"testnet",
			"type":"macvlan","master":"parent","names":true,"ipam":{"type":"static","addresses":[{"address":%q}]},"runtimeConfig":{"aliases":[%q]}%s}`, address, container, keys)}
	}
}

// TestNamesOnMacvlan: each container asks in its own namespace, where the host
// can't be reached; it can have a DNS server of its own; a restart of the
// resolver changes nothing; and no packet is tracked for it.
func TestNamesOnMacvlan(t *testing.T) {
	h, macvlan := macvlanHost(t)
	web, db := h.container(), h.container()
	r := h.must(macvlan("ADD", "web", web, "192.0.2.2/24", ""))
	if !slices.Equal(r.DNS.Nameservers, []string{"127.0.0.11"}) {
		t.Errorf("nameservers %v", r.DNS.Nameservers)
	}
	h.must(macvlan("ADD", "db", db, "192.0.2.3/24", ""))
	wildcard(t, web) // its own server
	want := map[string]string{"web.netctl.internal.": "192.0.2.2", "db.netctl.internal.": "192.0.2.3", "db.testnet.": "192.0.2.3"}
	wantNames(t, web, "127.0.0.11", want)
	wantNames(t, db, "127.0.0.11", want)
	h.must(withResult(macvlan("CHECK", "web", web, "192.0.2.2/24", ""), r))
	if out, err := web.Output("conntrack", "-C"); err != nil || strings.TrimSpace(out) != "0" {
		t.Errorf("connections tracked in the container: %s, %v", out, err)
	}
	h.restartResolver()
	wantNames(t, web, "127.0.0.11", want)
	on(t, web, "nft flush ruleset")
	if f := h.refuse(withResult(macvlan("CHECK", "web", web, "192.0.2.2/24", ""), r)); !strings.Contains(f.Msg, "port 53 of 127.0.0.11 does not lead to") {
		t.Errorf("CHECK without the rules: %+v", f)
	}
	h.must(macvlan("DEL", "web", web, "192.0.2.2/24", ""))
	if got := resolve(db, "udp4", "127.0.0.11", "web.netctl.internal."); !strings.Contains(got, "no such host") {
		t.Errorf("web after its end: %s", got)
	}
	h.must(macvlan("DEL", "db", db, "192.0.2.3/24", ""))
	shows(t, db, "nft list ruleset; echo end", "end")
	if out, _ := db.Output("nft", "list", "ruleset"); out != "" {
		t.Errorf("left in the container:\n%s", out)
	}
	h.wantClean()
}

// withResult makes a CHECK of a call and the result of its ADD.
func withResult(c call, r result) call {
	type ip struct {
		Address   string `json:"address"`
		Interface int    `json:"interface"`
	}
	type link struct {
		Name    string `json:"name"`
		Mac     string `json:"mac"`
		Sandbox string `json:"sandbox,omitempty"`
	}
	previous := struct {
		CNIVersion string `json:"cniVersion"`
		Interfaces []link `json:"interfaces"`
		IPs        []ip   `json:"ips"`
	}{CNIVersion: "1.1.0"}
	for _, i := range r.Interfaces {
		previous.Interfaces = append(previous.Interfaces, link(i))
	}
	for _, i := range r.IPs {
		previous.IPs = append(previous.IPs, ip{i.Address, len(r.Interfaces) - 1})
	}
	text, err := json.Marshal(previous)
	if err != nil {
		panic(err)
	}
	c.conf = strings.TrimSuffix(c.conf, "}") + `,"prevResult":` + string(text) + "}"
	return c
}

// TestTwoMacvlanNetworks share what is in the container; it goes with the last.
func TestTwoMacvlanNetworks(t *testing.T) {
	h, macvlan := macvlanHost(t)
	web := h.container()
	second := func(verb string) call {
		c := macvlan(verb, "web", web, "198.51.100.2/24", "")
		c.ifname, c.conf = "eth1", strings.Replace(c.conf, `"testnet"`, `"othernet"`, 1)
		return c
	}
	h.must(macvlan("ADD", "web", web, "192.0.2.2/24", ""))
	h.must(second("ADD"))
	both := map[string]string{"web.testnet.netctl.internal.": "192.0.2.2", "web.othernet.netctl.internal.": "198.51.100.2"}
	wantNames(t, web, "127.0.0.11", both)
	h.must(macvlan("DEL", "web", web, "192.0.2.2/24", ""))
	wantNames(t, web, "127.0.0.11", map[string]string{"web.othernet.netctl.internal.": "198.51.100.2"})
	h.must(second("DEL"))
	if out, _ := web.Output("nft", "list", "ruleset"); out != "" {
		t.Errorf("left in the container:\n%s", out)
	}
	h.wantClean()
}

// TestChainedNames: lists whose main plugin is not ours, at a gateway and inside
// of the container, with the names that nerdctl and podman give.
func TestChainedNames(t *testing.T) {
	const id = "0123456789ab0123456789ab0123456789ab0123456789ab0123456789abcdef"
	for _, main := range []string{
		`{"type":"bridge","bridge":"br0","isGateway":true,"ipMasq":true,"ipam":{"type":"netctl-ipam","ranges":[[{"subnet":"10.88.0.0/16"}]]}}`,
		`{"type":"macvlan","master":"parent","ipam":{"type":"netctl-ipam","ranges":[[{"subnet":"10.88.0.0/16"}]]}}`,
	} {
		kind := strings.Split(main, `"`)[3]
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			h, _ := macvlanHost(t)
			web := h.container()
			list := []string{main, `{"type":"dns","capabilities":{"aliases":true},"runtimeConfig":{"aliases":{"testnet":["web","www"]}}}`}
			out := h.chain("ADD", id, web, list, nil)
			var r result
			if err := json.Unmarshal(out, &r); err != nil || len(r.DNS.Nameservers) != 1 {
				t.Fatalf("%s, %v", out, err)
			}
			server := r.DNS.Nameservers[0]
			want := map[string]string{"web.netctl.internal.": "10.88.0.2", "www.testnet.": "10.88.0.2", id[:12] + ".netctl.internal.": "10.88.0.2"}
			wantNames(t, web, server, want)
			h.chain("CHECK", id, web, list, out)
			h.restartResolver()
			wantNames(t, web, server, want)
			h.chain("DEL", id, web, list, nil)
			h.chain("DEL", id, nil, list, nil)
			h.wantClean()
		})
	}
}

// TestChainedNamesAtSomebodyElsesGateway: the configuration is told from one
// that works.
func TestChainedNamesAtSomebodyElsesGateway(t *testing.T) {
	h := newHost(t)
	web := h.container()
	main := `{"type":"bridge","bridge":"br0","ipam":{"type":"netctl-ipam","ranges":[[{"subnet":"10.88.0.0/16"}]]}}`
	previous := h.chain("ADD", "web", web, []string{main}, nil)
	conf := `{"cniVersion":"1.0.0","name":"testnet","type":"dns","prevResult":` + string(previous) + `,"runtimeConfig":{"aliases":["web"]}`
	f := h.refuse(call{verb: "ADD", plugin: "dns", container: "web", netns: web.Path(), conf: conf + "}"})
	if f.Code != 7 || !strings.Contains(f.Msg, "gateway 10.88.0.1 is not an address of br0") {
		t.Errorf("%+v", f)
	}
	h.must(call{verb: "ADD", plugin: "dns", container: "web", netns: web.Path(), conf: conf + `,"listen":"container"}`})
	wantNames(t, web, "127.0.0.11", map[string]string{"web.netctl.internal.": "10.88.0.2"})
	h.must(call{verb: "DEL", plugin: "dns", container: "web", netns: web.Path(), conf: conf + `,"listen":"container"}`})
	h.chain("DEL", "web", web, []string{main}, nil)
	h.wantClean()
}

// TestCheckNames: CHECK finds a resolver that is gone, and does not start it.
func TestCheckNames(t *testing.T) {
	h := newHost(t)
	web := h.container()
	r := h.must(named("ADD", "web", web, "", ""))
	h.must(withResult(named("CHECK", "web", web, "", ""), r))
	guard := parentOf(t, h.status().PID)
	_ = syscall.Kill(guard, syscall.SIGTERM)
	for start := time.Now(); time.Since(start) < 30*time.Second; time.Sleep(10 * time.Millisecond) {
		if _, err := client.Do(context.Background(), h.state, "status"); err != nil {
			break
		}
	}
	if f := h.refuse(withResult(named("CHECK", "web", web, "", ""), r)); !strings.Contains(f.Msg, "names of network testnet: dnsd is not running") {
		t.Errorf("%+v", f)
	}
	h.must(named("DEL", "web", web, "", ""))
	h.wantClean()
}

// parentOf is a process's parent.
func parentOf(t *testing.T, pid int) (parent int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	after := string(text[bytes.LastIndexByte(text, ')')+1:]) // state, parent, ...
	if _, err := fmt.Sscanf(after, " %1s %d", new(string), &parent); err != nil {
		t.Fatal(err)
	}
	return parent
}
