package probe

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/netctl/netctl/netctl/doctor"
	"github.com/netctl/netctl/test/netns"
)

func TestParseSockets(t *testing.T) {
	const text = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0
   1: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 100 0 0 10 0
   2: 00000000000000000000000001000000:0051 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 4713 1
   3: 0000000000000000FFFF00000100007F:0052 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 4714 1
   4: 0100007F:1F91 0100007F:0050 01 00000000:00000000 00:00000000 00000000     0        0 4715 1 0 100 0 0 10 0
   5: 0100007:1F90 00000000:0000 0A 0 0 0 0 0 4716
`
	var got []string
	for _, s := range parseSockets(text, "tcp", stateListen) {
		got = append(got, s.Local.String())
	}
	want := "127.0.0.1:8080 0.0.0.0:80 [::1]:81 127.0.0.1:82"
	if strings.Join(got, " ") != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestNeighbours(t *testing.T) {
	for text, want := range map[string]int{
		"entries  allocs\n000003e8 0000f427\n000003e8 0000f0c1\n": 1000,
		"entries\n": -1, "": -1, "entries\nmany 1\n": -1,
	} {
		n, err := parseEntries(text)
		if (err != nil) != (want < 0) || err == nil && n != want {
			t.Errorf("%q: %d, %v; want %d", text, n, err, want)
		}
	}
	for _, family := range []string{"ipv4", "ipv6"} {
		if n, limit, err := (World{}).Neighbours(family); err != nil || n < 0 || limit < 0 {
			t.Errorf("%s of this machine: %d of %d, %v", family, n, limit, err)
		}
	}
}

func TestIptablesPlaces(t *testing.T) {
	const text = `*filter
:INPUT ACCEPT [1:2]
:FORWARD DROP [7:420]
:OWN - [0:0]
[5:300] -A FORWARD -i eth0 -j OWN
[3:180] -A OWN -d 10.0.0.0/8 -j REJECT --reject-with icmp-port-unreachable
[2:120] -A OWN -j DROP
[0:0] -A OWN -j DROPALL
COMMIT
`
	var got []string
	for _, c := range iptablesPlaces("iptables", text) {
		got = append(got, c.drop.String()+" = "+c.drop.Delete)
	}
	want := []string{
		"iptables chain FORWARD (its policy) = iptables -t filter -P FORWARD ACCEPT",
		"iptables chain OWN, rule: -d 10.0.0.0/8 -j REJECT --reject-with icmp-port-unreachable = iptables -t filter -D OWN -d 10.0.0.0/8 -j REJECT --reject-with icmp-port-unreachable",
		"iptables chain OWN, rule: -j DROP = iptables -t filter -D OWN -j DROP",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}

// Rules of nftables without counters are judged by what they match, and what
// is not understood accuses nobody.
func TestNftPlaces(t *testing.T) {
	packet := doctor.Packet{Protocol: "tcp", In: "br0", Out: "eth0", To: netip.MustParseAddrPort("10.1.2.3:80")}
	chain := func(hook, policy string) string {
		return `{"chain":{"family":"inet","table":"t","name":"c","handle":1,"type":"filter","hook":"` + hook + `","prio":0,"policy":"` + policy + `"}}`
	}
	rule := func(expr string) string {
		return `,{"rule":{"family":"inet","table":"t","chain":"c","handle":5,"expr":[` + expr + `]}}`
	}
	match := func(left, op, right string) string {
		return `{"match":{"op":"` + op + `","left":{` + left + `},"right":` + right + `}}`
	}
	in, dport, daddr := `"meta":{"key":"iifname"}`, `"payload":{"protocol":"tcp","field":"dport"}`, `"payload":{"protocol":"ip","field":"daddr"}`
	for name, test := range map[string]struct {
		list string
		sure int
	}{
		"policy":                            {chain("forward", "drop"), 1},
		"another hook":                      {chain("input", "drop"), 0},
		"accepted before":                   {chain("forward", "drop") + rule(match(in, "==", `"br0"`)+`,{"accept":null}`), 0},
		"another's accepted":                {chain("forward", "drop") + rule(match(in, "==", `"br1"`)+`,{"accept":null}`), 1},
		"rule":                              {chain("forward", "accept") + rule(match(dport, "==", "80")+`,{"drop":null}`), 1},
		"rule for another port":             {chain("forward", "accept") + rule(match(dport, "==", "81")+`,{"drop":null}`), 0},
		"rule not for":                      {chain("forward", "accept") + rule(match(dport, "!=", "81")+`,{"drop":null}`), 1},
		"prefix":                            {chain("forward", "accept") + rule(match(daddr, "==", `{"prefix":{"addr":"10.0.0.0","len":8}}`)+`,{"reject":{"type":"tcp reset"}}`), 1},
		"another prefix":                    {chain("forward", "accept") + rule(match(daddr, "==", `{"prefix":{"addr":"11.0.0.0","len":8}}`)+`,{"drop":null}`), 0},
		"not understood":                    {chain("forward", "accept") + rule(match(`"ct":{"key":"state"}`, "in", `["invalid"]`)+`,{"drop":null}`), 0},
		"UDP's own":                         {chain("forward", "accept") + rule(match(`"payload":{"protocol":"udp","field":"dport"}`, "==", "80")+`,{"drop":null}`), 0},
		"any transport's":                   {chain("forward", "accept") + rule(match(`"payload":{"protocol":"th","field":"dport"}`, "==", "80")+`,{"drop":null}`), 1},
		"of the protocol":                   {chain("forward", "accept") + rule(match(`"meta":{"key":"l4proto"}`, "==", `"tcp"`)+`,{"drop":null}`), 1},
		"of another protocol":               {chain("forward", "accept") + rule(match(`"meta":{"key":"l4proto"}`, "==", `"udp"`)+`,{"drop":null}`), 0},
		"counted":                           {chain("forward", "accept") + rule(`{"counter":{"packets":3,"bytes":4}},{"drop":null}`), 0},
		"in a chain of its own":             {rule(`{"drop":null}`)[1:], 0},
		"rejected":                          {chain("forward", "accept") + rule(`{"reject":{"type":"tcp reset"}}`), 1},
		"an op that is no question of same": {chain("forward", "accept") + rule(match(dport, ">", "80")+`,{"drop":null}`), 0},
		"not by another bridge":             {chain("forward", "accept") + rule(match(in, "!=", `"br1"`)+`,{"drop":null}`), 1},
		"a condition of nothing that is known, not": {chain("forward", "accept") + rule(match(`"meta":{"key":"skuid"}`, "!=", "0")+`,{"drop":null}`), 0},
		"iptables' own":                  {strings.NewReplacer(`"inet"`, `"ip"`, `"t"`, `"filter"`, `"c"`, `"FORWARD"`).Replace(chain("forward", "drop") + rule(`{"drop":null}`)), 0},
		"a small chain beside iptables'": {strings.NewReplacer(`"inet"`, `"ip"`, `"t"`, `"filter"`).Replace(chain("forward", "drop")), 1},
		"a great chain in another table": {strings.Replace(chain("forward", "drop"), `"c"`, `"C"`, 1), 1},
		"ours":                           {strings.ReplaceAll(chain("forward", "drop")+rule(`{"drop":null}`), `"t"`, `"netctl"`), 0},
	} {
		sure := 0
		for _, c := range nftPlaces([]byte(`{"nftables":[`+test.list+`]}`), packet) {
			if c.blind && c.sure {
				sure++
			}
		}
		if sure != test.sure {
			t.Errorf("%s: %d places", name, sure)
		}
	}
	if got := nftPlaces([]byte("no JSON"), packet); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

// A rule for TCP is no reason why UDP does not arrive.
func TestNftPlacesOfUDP(t *testing.T) {
	rule := func(protocol string) []byte {
		return []byte(`{"nftables":[{"chain":{"family":"inet","table":"t","name":"c","type":"filter","hook":"output","prio":0,"policy":"accept"}},
			{"rule":{"family":"inet","table":"t","chain":"c","handle":5,"expr":[{"match":{"op":"==","left":{"payload":{"protocol":"` + protocol + `","field":"dport"}},"right":53}},{"drop":null}]}}]}`)
	}
	packet := doctor.Packet{Protocol: "udp", Out: "br0", To: netip.MustParseAddrPort("10.1.2.3:53")}
	for protocol, want := range map[string]bool{"udp": true, "tcp": false} {
		for _, c := range nftPlaces(rule(protocol), packet) {
			if c.sure != want {
				t.Errorf("rule of %s: sure %v", protocol, c.sure)
			}
		}
	}
}

// A packet is dropped where it passes, and by what comes before it was let pass.
func TestNftPlacesOnTheWay(t *testing.T) {
	to := netip.MustParseAddrPort("10.1.2.3:80")
	list := func(hook, rules string) []byte {
		return []byte(`{"nftables":[{"chain":{"family":"inet","table":"t","name":"c","type":"filter","hook":"` + hook + `","prio":0,"policy":"accept"}}` + rules + `]}`)
	}
	const accept = `,{"rule":{"family":"inet","table":"t","chain":"c","handle":4,"expr":[{"accept":null}]}}`
	const drop = `,{"rule":{"family":"inet","table":"t","chain":"c","handle":5,"expr":[{"drop":null}]}}`
	sure := func(text []byte, p doctor.Packet) (n int) {
		for _, c := range nftPlaces(text, p) {
			if c.sure {
				n++
			}
		}
		return n
	}
	for hook, packet := range map[string]doctor.Packet{
		"forward": {Protocol: "tcp", In: "br0", Out: "eth0", To: to}, "input": {Protocol: "tcp", In: "br0", To: to}, "output": {Protocol: "tcp", Out: "br0", To: to},
	} {
		for _, at := range []string{"forward", "input", "output", "prerouting"} {
			passes := at == hook || at == "prerouting"
			if n := sure(list(at, drop), packet); (n == 1) != passes {
				t.Errorf("a packet that passes %s is dropped at %d places in %s", hook, n, at)
			}
			if n := sure(list(at, accept+drop), packet); n != 0 {
				t.Errorf("a packet that passes %s and was accepted is dropped at %d places in %s", hook, n, at)
			}
		}
	}
	iptables := strings.NewReplacer(`"inet"`, `"ip"`, `"t"`, `"filter"`, `"c"`, `"FORWARD"`).Replace(string(list("forward", drop)))
	if places := nftPlaces([]byte(iptables), doctor.Packet{Protocol: "tcp", In: "br0", Out: "eth0", To: to}); len(places) != 0 {
		t.Errorf("of iptables' chains nft accuses %v", places)
	}
}

// What counts tells how often, and firewalld's rule is not for nft to delete.
func TestNftPlacesTell(t *testing.T) {
	packet := doctor.Packet{Protocol: "tcp", In: "br0", Out: "eth0", To: netip.MustParseAddrPort("10.1.2.3:80")}
	for table, mend := range map[string]string{
		"t": "nft delete rule inet t c handle 5", "firewalld": "firewall-cmd --zone=trusted --change-interface=br0",
	} {
		list := `{"nftables":[{"chain":{"family":"inet","table":"t","name":"c","type":"filter","hook":"forward","prio":0,"policy":"accept"}},
			{"rule":{"family":"inet","table":"t","chain":"c","handle":5,"expr":[{"match":{"op":"==","left":{"meta":{"key":"iifname"}},"right":"br0"}},{"counter":{"packets":3,"bytes":4}},{"drop":null}]}}]}`
		places := nftPlaces([]byte(strings.ReplaceAll(list, `"t"`, `"`+table+`"`)), packet)
		if len(places) != 1 {
			t.Fatalf("%s: %d places", table, len(places))
		}
		for _, c := range places {
			if c.packets != 3 || c.blind || c.drop.Rule != "iifname == br0 drop" || c.drop.Delete != mend {
				t.Errorf("%s: got %+v", table, c)
			}
		}
	}
}

func TestSysctlOfAnInterfaceWithDots(t *testing.T) {
	host, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	if err := errors.Join(host.Run("ip", "link", "add", "a.b.c", "type", "veth", "peer", "name", "plain"),
		host.Run("sh", "-c", "echo 0 >/proc/sys/net/ipv4/conf/all/forwarding; echo 1 >/proc/sys/net/ipv4/conf/a.b.c/forwarding")); err != nil {
		t.Fatal(err)
	}
	err = host.Do(func() error {
		for key, want := range map[string]string{
			"net.ipv4.conf.a.b.c.forwarding": "1", "net.ipv4.conf.plain.forwarding": "0",
			"net.ipv4.conf.all.forwarding": "0", "net.ipv4.ip_forward": "0", "net.ipv4.conf.no.such.one.forwarding": "",
		} {
			if value, err := (World{}).Sysctl(doctor.Host, key); err != nil || value != want {
				t.Errorf("%s: got %q, %v; want %q", key, value, err, want)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestPrintable(t *testing.T) {
	for name, want := range map[string]string{"nginx: worker": "nginx: worker", "\x1b[2J\nx": "?[2J?x", "größe": "größe", "\xff": "\ufffd"} {
		if got := printable(name); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}
