package portmap

import (
	"strings"
	"testing"

	"github.com/netctl/netctl/plugins/internal/attach/attachtest"
)

const previous = `,"prevResult":{"cniVersion":"1.1.0","interfaces":[{"name":"cni0"},{"name":"veth0"},{"name":"eth0","sandbox":"/run/netns/web"}],
	"ips":[{"address":"10.88.0.2/16","gateway":"10.88.0.1","interface":2},{"address":"fd00::2/64","gateway":"fd00::1","interface":2}]}`

func ports(list string) string {
	return previous + `,"runtimeConfig":{"portMappings":[` + list + `]}`
}

func TestGoldenWirings(t *testing.T) {
	const web = `{"hostPort":8080,"containerPort":80,"protocol":"TCP"}`
	attachtest.Goldens(t, Mode(), map[string]attachtest.Case{
		"one-port":              {Keys: ports(web)},
		"no-snat":               {Keys: ports(web) + `,"snat":false,"masqAll":true`},
		"masq-all":              {Keys: ports(web) + `,"masqAll":true,"markMasqBit":7`},
		"mark-chain":            {Keys: ports(web) + `,"externalSetMarkChain":"KUBE-MARK-MASQ"`},
		"mark-chain-all":        {Keys: ports(web) + `,"externalSetMarkChain":"KUBE-MARK-MASQ","masqAll":true`},
		"mark-chain-no-snat":    {Keys: ports(web) + `,"externalSetMarkChain":"KUBE-MARK-MASQ","snat":false`},
		"mark-chain-conditions": {Keys: ports(web) + `,"externalSetMarkChain":"KUBE-MARK-MASQ","conditionsV4":["!","-s","10.88.7.0/24"],"conditionsV6":["-s","fd00::7"]`},
		"range": {Keys: ports(`{"hostPort":8000,"containerPort":80},{"hostPort":8001,"containerPort":81},{"hostPort":8002,"containerPort":82},
			{"hostPort":53,"containerPort":53,"protocol":"udp"},{"hostPort":36412,"containerPort":36412,"protocol":"sctp"}`)},
		"host-address": {Keys: ports(`{"hostPort":8080,"containerPort":80,"hostIP":"192.0.2.7"},{"hostPort":8081,"containerPort":80,"hostIP":"2001:db8::7"},{"hostPort":8082,"containerPort":80,"hostIP":"::"}`)},
		"conditions":   {Keys: ports(web) + `,"conditionsV4":["!","-s","192.0.2.0/24","-i","eth7"],"conditionsV6":["-d","2001:db8::/64"]`},
		"conditions-nftables": {Keys: ports(`{"hostPort":80,"containerPort":80},{"hostPort":81,"containerPort":81}`) +
			`,"conditionsV4":["ip saddr != 192.0.2.0/24","iifname","eth7"],"conditionsV6":["ip6","daddr","==","2001:db8::7"]`},
		"conditions-iptables-only": {Keys: ports(web) + `,"conditionsV4":["-s","192.0.2.1,192.0.2.2","-m","comment","--comment","a \"b\""]`},
		"conditions-and-host-address": {Keys: ports(`{"hostPort":8080,"containerPort":80,"hostIP":"192.0.2.7"},{"hostPort":8081,"containerPort":80,"hostIP":"198.51.100.7"}`) +
			`,"conditionsV4":["-d","192.0.2.0/24"]`},
	})
}

func TestParseRefuses(t *testing.T) {
	const elsewhere = `want ip saddr, ip daddr (ip6 for IPv6) or iifname, with == or !=, and one value`
	attachtest.Refuses(t, Mode(), map[string]string{
		``:                              `key prevResult is missing: this plugin comes after one that makes an interface`,
		previous + `,"backend":"ufw"`:   `key backend: invalid value "ufw": want iptables or nftables`,
		previous + `,"markMasqBit":32`:  `key markMasqBit: invalid value 32: want 0 to 31`,
		previous + `,"masqAll":"yes"`:   `configuration on standard input: key masqAll: want true or false, got "yes"`,
		previous + `,"conditionsV4":""`: `configuration on standard input: key conditionsV4: want a list, got ""`,
		previous + `,"markMasqBit":3,"externalSetMarkChain":"X"`:         `keys markMasqBit and externalSetMarkChain exclude each other: remove one of them`,
		previous + `,"externalSetMarkChain":"X","backend":"nftables"`:    `key externalSetMarkChain: "X" is a chain of iptables: want backend iptables, or no such key`,
		previous + `,"externalSetMarkChain":"A B"`:                       `key externalSetMarkChain: invalid value "A B": want 1 to 28 letters, digits, '-' and '_'`,
		previous + `,"conditionsV4":["-s","2001:db8::1"]`:                `key conditionsV4: address "2001:db8::1" is of the other family: want one of IPv4`,
		previous + `,"conditionsV4":["-s","192.0.2.1","-s","192.0.2.2"]`: `key conditionsV4: "192.0.2.2": a second match of the same kind`,
		previous + `,"conditionsV6":["-i","eth0","-j","ACCEPT"]`:         `key conditionsV6: "-j" is no match: what becomes of a connection is not a condition`,
		previous + `,"conditionsV6":["-m","x\ny"]`:                       `key conditionsV6: "x\ny": a line ends within it`,
		previous + `,"conditionsV4":["-i","eth0","!"]`:                   `key conditionsV4: a match is missing behind the last "!"`,
		previous + `,"conditionsV4":["-i","x\n-F INPUT"]`:                `key conditionsV4: invalid interface name "x\n-F INPUT": want 1 to 15 bytes without '/', ':' and space`,
		previous + `,"conditionsV4":["-i","a-name-of-20-bytes.."]`:       `key conditionsV4: invalid interface name "a-name-of-20-bytes..": want 1 to 15 bytes without '/', ':' and space`,
		previous + `,"conditionsV4":["-i","eth0","!","-i","eth1"]`:       `key conditionsV4: interface "eth1": a second match of the same kind`,
		previous + `,"conditionsV4":["ip"]`:                              `key conditionsV4: nftables condition "ip" ends without a value`,
		previous + `,"conditionsV4":["iifname"]`:                         `key conditionsV4: nftables condition "iifname" ends without a value`,
		previous + `,"conditionsV4":["meta mark 7"]`:                     `key conditionsV4: nftables condition "meta mark 7" can't be carried out: ` + elsewhere,
		previous + `,"conditionsV4":["ip saddr { 192.0.2.1 }"]`:          `key conditionsV4: nftables condition "ip saddr { 192.0.2.1 }" can't be carried out: ` + elsewhere,
	})
}

// TestConditionsOfIPTablesChooseIt where no backend is named.
func TestConditionsOfIPTablesChooseIt(t *testing.T) {
	for keys, want := range map[string]string{
		`,"conditionsV4":["-m","mark","--mark","1"]`:                      "iptables",
		`,"conditionsV4":["-s","192.0.2.1"]`:                              "",
		`,"conditionsV4":["-i","eth+"]`:                                   "iptables",
		`,"conditionsV4":["-i","eth0"]`:                                   "",
		`,"externalSetMarkChain":"KUBE-MARK-MASQ"`:                        "iptables",
		`,"conditionsV4":["-m","mark","--mark","1"],"backend":"nftables"`: "nftables",
	} {
		conf, err := parse(attachtest.Case{Keys: previous + keys}.Request(t, Mode()))
		if err != nil || conf.(config).Firewall() != want {
			t.Errorf("%s: %v, %v", keys, conf, err)
		}
	}
}

// FuzzConditions: whatever the words, there is no panic, and what is accepted
// stays within one line and one match part of a rule.
func FuzzConditions(f *testing.F) {
	for _, words := range []string{"! -s 192.0.2.0/24 -i eth0", "-m comment --comment x", "ip saddr != 192.0.2.1 iifname eth0", "! !", "-s", "iifname =="} {
		f.Add(words, true)
	}
	f.Fuzz(func(t *testing.T, text string, is4 bool) {
		c, err := parseConditions(strings.Split(text, " "), is4)
		if err == nil && strings.ContainsAny(c.String(), "\n\r") {
			t.Errorf("%q gives %q", text, c)
		}
	})
}
