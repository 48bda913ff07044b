package plugins

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/netctl/netctl/plugins/internal/cni"
)

// A keyRow is one key of the reference plugins (spec cni section 2): what it
// changes, and what becomes of a value that makes no sense.
type keyRow struct {
	plugin, key string
	// set are members of the configuration, beside those of the plugin's base
	// and beside with; args is CNI_ARGS.
	set, with, args string
	// shows are texts in the commands, or in the result of an IPAM plugin, that
	// are there because of the key: without it they are not. What begins with a
	// minus sign is there only without it.
	shows []string
	// wrong is set with a value that is refused, code the error's; wrongArgs is
	// such a value of CNI_ARGS.
	wrong, wrongArgs string
	code             int
	// says are texts in the error's message: key, value, what is wanted.
	says []string
}

// bases are configurations in which a key can show what it does.
func keyBases(dir string) map[string]string {
	const previous = `,"prevResult":{"cniVersion":"1.1.0","interfaces":[{"name":"cni0"},{"name":"veth0"},{"name":"eth0","sandbox":"/no/such"}],
		"ips":[{"address":"10.1.0.2/24","gateway":"10.1.0.1","interface":2},{"address":"fd00:1::2/64","gateway":"fd00:1::1","interface":2}]}`
	const static = `,"ipam":{"type":"static","addresses":[{"address":"10.1.0.2/24","gateway":"10.1.0.1"},{"address":"fd00:1::2/64","gateway":"fd00:1::1"}]}`
	return map[string]string{
		"bridge":        static,
		"layer 2":       "",
		"macvlan":       static + `,"master":"eth9"`,
		"portmap":       previous + `,"backend":"iptables","runtimeConfig":{"portMappings":[{"hostPort":8080,"containerPort":80}]}`,
		"no ports":      previous + `,"backend":"iptables"`,
		"firewall":      previous + `,"backend":"iptables"`,
		"bandwidth":     previous,
		"tuning":        previous,
		"host-local":    fmt.Sprintf(`,"ipam":{"type":"host-local","dataDir":%q,"ranges":[[{"subnet":"10.1.0.0/24"}],[{"subnet":"fd00:1::/64"}]]}`, dir),
		"in host-local": fmt.Sprintf(`,"ipam":{"type":"host-local","dataDir":%q`, dir) + `,"ranges":[[{"subnet":"10.9.0.0/24"}]]%s}`,
		"static":        static,
		"in static":     `,"ipam":{"type":"static"%s}`,
	}
}

// TestEveryKey sets each key of the reference plugins once right and once wrong.
func TestEveryKey(t *testing.T) {
	rows := slices.Concat(bridgeKeys(), macvlanKeys(), portmapKeys(), firewallKeys(), bandwidthKeys(), tuningKeys(), hostLocalKeys(), staticKeys(), commonKeys())
	for _, row := range rows {
		t.Run(row.plugin+"/"+row.key, func(t *testing.T) { row.check(t) })
	}
	for plugin, keys := range specified() {
		for _, key := range strings.Fields(keys) {
			is := func(r keyRow) bool {
				named, _, _ := strings.Cut(r.key, ":")
				return r.name() == plugin && named == key && len(r.shows) > 0
			}
			if !slices.ContainsFunc(rows, is) {
				t.Errorf("key %s of %s has no row", key, plugin)
			}
		}
	}
}

// specified are the keys of section 2 of the specification. Not here is tuning's
// dataDir, which no command shows: see TestTuning and those after it.
func specified() map[string]string {
	return map[string]string{
		"bridge": `bridge isGateway isDefaultGateway forceAddress ipMasq ipMasqBackend mtu hairpinMode promiscMode vlan vlanTrunk preserveDefaultVlan
			macspoofchk enabledad disableContainerInterface portIsolation args.cni.mac runtimeConfig.mac MAC`,
		"macvlan":  "master mode mtu mac linkInContainer bcqueuelen runtimeConfig.mac MAC",
		"portmap":  "backend snat masqAll markMasqBit externalSetMarkChain conditionsV4 conditionsV6 runtimeConfig.portMappings",
		"firewall": "backend iptablesAdminChainName firewalldZone ingressPolicy",
		"host-local": `ipam.subnet ipam.rangeStart ipam.rangeEnd ipam.gateway ipam.ranges ipam.routes ipam.dataDir ipam.resolvConf
			args.cni.ips runtimeConfig.ips runtimeConfig.ipRanges IP`,
		"static":    "ipam.addresses ipam.routes ipam.dns IP GATEWAY args.cni.ips runtimeConfig.ips",
		"tuning":    "sysctl mac mtu promisc allmulti txQLen args.cni.sysctl args.cni.mac args.cni.mtu args.cni.promisc args.cni.allmulti args.cni.txQLen",
		"bandwidth": "ingressRate ingressBurst egressRate egressBurst runtimeConfig.bandwidth",
	}
}

// name is the plugin's, without what tells its bases apart.
func (r keyRow) name() string {
	switch r.plugin {
	case "layer 2":
		return "bridge"
	case "no ports":
		return "portmap"
	}
	return strings.TrimPrefix(r.plugin, "in ")
}

func (r keyRow) check(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "resolv.conf"), []byte("nameserver 192.0.2.53\nsearch example.com\noptions ndots:3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	without := r.effect(t, t.TempDir(), "", "") // where the container has no address yet
	with := r.effect(t, dir, r.set, r.args)
	for _, text := range r.shows {
		text = strings.ReplaceAll(text, "DIR", dir)
		here, there := with, without
		if rest, absent := strings.CutPrefix(text, "-"); absent {
			here, there, text = without, with, rest
		}
		if !strings.Contains(here, text) || strings.Contains(there, text) {
			t.Errorf("%q is not what the key makes; only with it:\n%s\nonly without:\n%s", text, only(with, without), only(without, with))
		}
	}
	if r.wrong == "" && r.wrongArgs == "" {
		return
	}
	answer := r.call(t, dir, r.wrong, r.wrongArgs)
	var failure struct {
		Code         int
		Msg, Details string
	}
	if err := json.Unmarshal(answer, &failure); err != nil || failure.Code != r.code {
		t.Errorf("wrong value: %s, want code %d", answer, r.code)
	}
	for _, text := range r.says {
		if !strings.Contains(failure.Msg, text) {
			t.Errorf("message %q does not say %q", failure.Msg, text)
		}
	}
	advises := func(word string) bool { return strings.Contains(failure.Msg, word) }
	if failure.Details == "" && !slices.ContainsFunc([]string{"want ", "remove ", "set ", "add "}, advises) {
		t.Errorf("nothing says what to do: %s", answer)
	}
}

// only gives the lines of one text that are not in the other.
func only(of, not string) string {
	lines := strings.Split(not, "\n")
	return strings.Join(slices.DeleteFunc(strings.Split(of, "\n"), func(line string) bool { return slices.Contains(lines, line) }), "\n")
}

// effect is what an ADD would do: the commands, or the result of an IPAM plugin.
func (r keyRow) effect(t *testing.T, dir, set, args string) string {
	t.Helper()
	mode, ok := findMode(r.name())
	if !ok {
		var b bytes.Buffer
		if err := json.Compact(&b, r.call(t, dir, set, args)); err != nil {
			t.Fatal(err)
		}
		files, _ := filepath.Glob(dir + "/*/testnet/10*")
		return b.String() + strings.Join(files, " ")
	}
	req, err := cni.Parse(r.env(args), r.conf(dir, set))
	if err != nil {
		t.Fatal(err)
	}
	a, err := r.host(t).attacher(mode)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := a.Preview(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}

func (r keyRow) host(t *testing.T) Host {
	return Host{StateDir: t.TempDir(), Firewall: "iptables", Log: slog.New(slog.DiscardHandler)}
}

// call makes a whole call of ADD into a namespace that does not exist.
func (r keyRow) call(t *testing.T, dir, set, args string) []byte {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cni.Call{
		Name: r.name(), Plugin: r.host(t).find(r.name()), Getenv: r.env(args),
		Stdin: bytes.NewReader(r.conf(dir, set)), Stdout: &stdout, Stderr: &stderr,
	}.Run(context.Background())
	return stdout.Bytes()
}

func (r keyRow) env(args string) cni.Getenv {
	env := map[string]string{"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c1", "CNI_NETNS": "/no/such", "CNI_IFNAME": "eth0", "CNI_ARGS": args}
	return func(name string) string { return env[name] }
}

// conf puts members into the configuration, or into its ipam. Of a key that is
// there twice the last one counts.
func (r keyRow) conf(dir, set string) []byte {
	base := keyBases(dir)[r.plugin]
	join := func(members ...string) (all string) {
		for _, m := range members {
			if m != "" {
				all += "," + m
			}
		}
		return strings.ReplaceAll(all, "DIR", dir)
	}
	if strings.Contains(base, "%s") {
		base = fmt.Sprintf(base, join(r.with, set))
		set = ""
	} else {
		set = join(r.with, set)
	}
	return []byte(`{"cniVersion":"1.1.0","name":"testnet","type":"` + r.name() + `"` + base + set + `}`)
}

func bridgeKeys() []keyRow {
	const p, gateway = "bridge", `"isGateway":true`
	return []keyRow{
		{plugin: p, key: "bridge", set: `"bridge":"br7"`, shows: []string{"br7", "-cni0"}, wrong: `"bridge":"a-name-of-20-bytes.."`, code: 7, says: []string{"key bridge", "a-name-of-20-bytes..", "1 to 15 bytes"}},
		{plugin: p, key: "isGateway", set: gateway, shows: []string{"10.1.0.1/24 dev cni0", "fd00:1::1/64 dev cni0", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"}, wrong: `"isGateway":"yes"`, code: 6, says: []string{"key isGateway", `"yes"`, "true or false"}},
		{plugin: p, key: "isDefaultGateway", set: `"isDefaultGateway":true`, shows: []string{"10.1.0.1/24 dev cni0", "0.0.0.0/0 via 10.1.0.1", "::/0 via fd00:1::1"}, wrong: `"isDefaultGateway":1`, code: 6, says: []string{"key isDefaultGateway", "1", "true or false"}},
		{plugin: p, key: "forceAddress", with: gateway, set: `"forceAddress":true`, shows: []string{"ip addr replace 10.1.0.1/24 dev cni0"}, wrong: `"forceAddress":[]`, code: 6, says: []string{"key forceAddress", "[]", "true or false"}},
		{plugin: p, key: "ipMasq", set: `"ipMasq":true`, shows: []string{"NETCTL-MASQ-testnet", "224.0.0.0/4"}, wrong: `"ipMasq":"on"`, code: 6, says: []string{"key ipMasq", `"on"`, "true or false"}},
		{plugin: p, key: "ipMasqBackend", with: `"ipMasq":true`, set: `"ipMasqBackend":"nftables"`, shows: []string{"nft add", "-iptables -t nat"}, wrong: `"ipMasqBackend":"ufw"`, code: 7, says: []string{"key ipMasqBackend", `"ufw"`, "iptables or nftables"}},
		{plugin: p, key: "mtu", set: `"mtu":1400`, shows: []string{"mtu 1400"}, wrong: `"mtu":70000`, code: 7, says: []string{"key mtu", "70000", "68 to 65535"}},
		{plugin: p, key: "hairpinMode", set: `"hairpinMode":true`, shows: []string{"hairpin on"}, wrong: `"hairpinMode":true,"promiscMode":true`, code: 7, says: []string{"hairpinMode", "promiscMode", "exclude"}},
		{plugin: p, key: "promiscMode", set: `"promiscMode":true`, shows: []string{"ip link set cni0 up promisc on"}, wrong: `"promiscMode":{}`, code: 6, says: []string{"key promiscMode", "{}", "true or false"}},
		{plugin: p, key: "vlan", set: `"vlan":100`, shows: []string{"vid 100", "vlan_filtering 1"}, wrong: `"vlan":4095`, code: 7, says: []string{"key vlan", "4095", "1 to 4094"}},
		{plugin: p, key: "vlanTrunk", set: `"vlanTrunk":[{"minID":7,"maxID":8},{"id":20}]`, shows: []string{"vid 7", "vid 20"}, wrong: `"vlanTrunk":[{"minID":9,"maxID":8}]`, code: 7, says: []string{"key vlanTrunk[0]", "9 to 8", "1 to 4094"}},
		{plugin: p, key: "preserveDefaultVlan", with: `"vlan":100`, set: `"preserveDefaultVlan":true`, shows: []string{"-vid 1\n"}, wrong: `"preserveDefaultVlan":0`, code: 6, says: []string{"key preserveDefaultVlan", "0", "true or false"}},
		{plugin: p, key: "macspoofchk", set: `"macspoofchk":true`, shows: []string{"learning off locked on", "static sticky"}, wrong: `"macspoofchk":"x"`, code: 6, says: []string{"key macspoofchk", `"x"`, "true or false"}},
		{plugin: p, key: "enabledad", set: `"enabledad":true`, shows: []string{"-accept_dad=0"}, wrong: `"enabledad":"x"`, code: 6, says: []string{"key enabledad", `"x"`, "true or false"}},
		{plugin: "layer 2", key: "disableContainerInterface", set: `"disableContainerInterface":true`, shows: []string{"-ip -n c1 link set eth0 up"}, wrong: `"disableContainerInterface":true,"ipam":{"type":"static"}`, code: 7, says: []string{"key disableContainerInterface", "remove ipam"}},
		{plugin: p, key: "portIsolation", set: `"portIsolation":true`, shows: []string{"isolated on"}, wrong: `"portIsolation":"x"`, code: 6, says: []string{"key portIsolation", `"x"`, "true or false"}},
		{plugin: p, key: "args.cni.mac", set: `"args":{"cni":{"mac":"02:00:00:00:00:07"}}`, shows: []string{"02:00:00:00:00:07"}, wrong: `"args":{"cni":{"mac":"01:00:00:00:00:07"}}`, code: 7, says: []string{"args.cni.mac", "01:00:00:00:00:07", "unicast"}},
		{plugin: p, key: "runtimeConfig.mac", with: `"args":{"cni":{"mac":"02:00:00:00:00:07"}}`, set: `"runtimeConfig":{"mac":"02:00:00:00:00:08"}`, args: "MAC=02:00:00:00:00:09", shows: []string{"02:00:00:00:00:08"}, wrong: `"runtimeConfig":{"mac":"x"}`, code: 7, says: []string{"runtimeConfig.mac", `"x"`, "six octets"}},
		{plugin: p, key: "MAC", args: "MAC=02:00:00:00:00:09", shows: []string{"02:00:00:00:00:09"}, wrongArgs: "MAC=02:00", code: 7, says: []string{"MAC", `"02:00"`, "six octets"}},
	}
}

func macvlanKeys() []keyRow {
	const p = "macvlan"
	return []keyRow{
		{plugin: p, key: "master", set: `"master":"eth7"`, shows: []string{"link eth7", "-link eth9"}, wrong: `"master":7`, code: 6, says: []string{"key master", "7", "text"}},
		{plugin: p, key: "mode", set: `"mode":"vepa"`, shows: []string{"mode vepa", "-mode bridge"}, wrong: `"mode":"wild"`, code: 7, says: []string{"key mode", `"wild"`, "bridge", "passthru"}},
		{plugin: p, key: "mtu", set: `"mtu":1400`, shows: []string{"mtu 1400"}, wrong: `"mtu":-5`, code: 7, says: []string{"key mtu", "-5", "want"}},
		{plugin: p, key: "mac", set: `"mac":"02:00:00:00:00:07"`, shows: []string{"02:00:00:00:00:07"}, wrong: `"mac":"x"`, code: 7, says: []string{"key mac", `"x"`, "six octets"}},
		{plugin: p, key: "runtimeConfig.mac", with: `"mac":"02:00:00:00:00:07"`, set: `"runtimeConfig":{"mac":"02:00:00:00:00:08"}`, shows: []string{"02:00:00:00:00:08", "-02:00:00:00:00:07"}},
		{plugin: p, key: "MAC", with: `"mac":"02:00:00:00:00:07"`, args: "MAC=02:00:00:00:00:09", shows: []string{"02:00:00:00:00:09", "-02:00:00:00:00:07"}},
		{plugin: p, key: "linkInContainer", set: `"linkInContainer":true`, shows: []string{"ip -n c1 link add"}, wrong: `"linkInContainer":"x"`, code: 6, says: []string{"key linkInContainer", `"x"`, "true or false"}},
		{plugin: p, key: "bcqueuelen", set: `"bcqueuelen":77`, shows: []string{"bcqueuelen 77"}, wrong: `"bcqueuelen":-1`, code: 6, says: []string{"key bcqueuelen", "-1", "0 to 4294967295"}},
	}
}

func portmapKeys() []keyRow {
	const p = "portmap"
	return []keyRow{
		{plugin: p, key: "backend", set: `"backend":"nftables"`, shows: []string{"nft add element", "-iptables -t nat"}, wrong: `"backend":"ufw"`, code: 7, says: []string{"key backend", `"ufw"`, "iptables or nftables"}},
		{plugin: p, key: "snat", set: `"snat":false`, shows: []string{"-hairpin=10.1.0.0/24"}, wrong: `"snat":"no"`, code: 6, says: []string{"key snat", `"no"`, "true or false"}},
		{plugin: p, key: "masqAll", set: `"masqAll":true`, shows: []string{"clients=10.1.0.0/24", "clients=fd00:1::/64"}, wrong: `"masqAll":2`, code: 6, says: []string{"key masqAll", "2", "true or false"}},
		{plugin: p, key: "markMasqBit", with: `"externalSetMarkChain":null`, set: `"markMasqBit":9,"masqAll":true`, shows: []string{"clients="}, wrong: `"markMasqBit":32`, code: 7, says: []string{"key markMasqBit", "32", "0 to 31"}},
		{plugin: p, key: "externalSetMarkChain", set: `"externalSetMarkChain":"KUBE-MARK-MASQ"`, shows: []string{"1 -s 10.1.0.0/24 -p tcp", "2 -s 127.0.0.1/32 -p tcp", " -j KUBE-MARK-MASQ"}, wrong: `"externalSetMarkChain":"X","markMasqBit":1`, code: 7, says: []string{"externalSetMarkChain", "markMasqBit", "exclude"}},
		{plugin: p, key: "conditionsV4", set: `"conditionsV4":["-s","192.0.2.0/24"]`, shows: []string{" -s 192.0.2.0/24 "}, wrong: `"conditionsV4":["-s","2001:db8::1"]`, code: 7, says: []string{"key conditionsV4", `"2001:db8::1"`, "family"}},
		{plugin: p, key: "conditionsV6", set: `"conditionsV6":["-s","2001:db8::/64"]`, shows: []string{" -s 2001:db8::/64 "}, wrong: `"conditionsV6":"x"`, code: 6, says: []string{"key conditionsV6", `"x"`, "list"}},
		{plugin: "no ports", key: "runtimeConfig.portMappings", set: `"runtimeConfig":{"portMappings":[{"hostPort":81,"containerPort":80,"protocol":"UDP","hostIP":"192.0.2.7"}]}`, shows: []string{" -d 192.0.2.7/32 -p udp -m udp --dport 81", " --to-destination 10.1.0.2:80"}, wrong: `"runtimeConfig":{"portMappings":[{"hostPort":70000,"containerPort":80}]}`, code: 7, says: []string{"runtimeConfig.portMappings[0]", "hostPort", "70000", "1 to 65535"}},
		{plugin: "no ports", key: "runtimeConfig.portMappings:containerPort", wrong: `"runtimeConfig":{"portMappings":[{"hostPort":80,"containerPort":0}]}`, code: 7, says: []string{"containerPort", "0", "1 to 65535"}},
		{plugin: "no ports", key: "runtimeConfig.portMappings:protocol", wrong: `"runtimeConfig":{"portMappings":[{"hostPort":80,"containerPort":80,"protocol":"icmp"}]}`, code: 7, says: []string{"protocol", `"icmp"`, "tcp, udp or sctp"}},
		{plugin: "no ports", key: "runtimeConfig.portMappings:hostIP", wrong: `"runtimeConfig":{"portMappings":[{"hostPort":80,"containerPort":80,"hostIP":"here"}]}`, code: 7, says: []string{"hostIP", `"here"`, "IP address"}},
	}
}

func firewallKeys() []keyRow {
	const p = "firewall"
	return []keyRow{
		{plugin: p, key: "backend", set: `"backend":"nftables"`, shows: []string{"nft add rule", "-iptables -t filter"}, wrong: `"backend":"ufw"`, code: 7, says: []string{"key backend", `"ufw"`, "firewalld"}},
		{plugin: p, key: "iptablesAdminChainName", set: `"iptablesAdminChainName":"MINE"`, shows: []string{"MINE", "-CNI-ADMIN"}, wrong: `"iptablesAdminChainName":"a b"`, code: 7, says: []string{"key iptablesAdminChainName", `"a b"`, "1 to 28"}},
		{plugin: p, key: "firewalldZone", set: `"backend":"firewalld","firewalldZone":"trusted","ingressPolicy":"isolated"`, shows: []string{" -i cni0 ! -o cni0 -m comment --comment \"netctl testnet+firewall policy="}, wrong: `"backend":"firewalld","firewalldZone":"public"`, code: 2, says: []string{"key firewalldZone", `"public"`, `want "trusted"`}},
		{plugin: p, key: "ingressPolicy:isolated", with: `"ingressPolicy":"same-bridge"`, set: `"ingressPolicy":"isolated"`, shows: []string{"NETCTL-OUT-L4ONL3IKWPIQSOAF -o cni0"}},
		{plugin: p, key: "ingressPolicy", set: `"ingressPolicy":"same-bridge"`, shows: []string{"NETCTL-ISOLATE -d 10.1.0.0/24 -o cni0"}, wrong: `"ingressPolicy":"none"`, code: 7, says: []string{"key ingressPolicy", `"none"`, "open, same-bridge or isolated"}},
	}
}

func bandwidthKeys() []keyRow {
	const p, both = "bandwidth", `"ingressRate":8000,"ingressBurst":8000,"egressRate":16000,"egressBurst":8000`
	number := []string{"a number from 0 to 18446744073709551615"}
	return []keyRow{
		{plugin: p, key: "ingressRate", set: both, shows: []string{"tbf rate 8000bit"}, wrong: `"ingressRate":"x"`, code: 6, says: append([]string{"key ingressRate"}, number...)},
		{plugin: p, key: "ingressBurst", set: both, shows: []string{"burst 1000b"}, wrong: `"ingressRate":8000`, code: 7, says: []string{"ingressRate and ingressBurst", "8000 and 0", "both or neither"}},
		{plugin: p, key: "egressRate", set: both, shows: []string{"rate 16000bit", "ingress"}, wrong: `"egressRate":-1`, code: 6, says: append([]string{"key egressRate", "-1"}, number...)},
		{plugin: p, key: "egressBurst", set: both, shows: []string{"bwp"}, wrong: `"egressRate":8,"egressBurst":34359738360`, code: 7, says: []string{"key egressBurst", "34359738360", "34359738359"}},
		{plugin: p, key: "runtimeConfig.bandwidth", set: `"runtimeConfig":{"bandwidth":{"IngressRate":24000,"IngressBurst":4294967295}}`, shows: []string{"rate 24000bit"}, wrong: `"runtimeConfig":{"bandwidth":{"egressBurst":1}}`, code: 7, says: []string{"egressRate and egressBurst", "0 and 1", "both or neither"}},
	}
}

func tuningKeys() []keyRow {
	const p = "tuning"
	return []keyRow{
		{plugin: p, key: "sysctl", set: `"sysctl":{"net.ipv4.conf.IFNAME.arp_filter":"1"}`, shows: []string{"net.ipv4.conf.eth0.arp_filter=1"}, wrong: `"sysctl":{"kernel.shmmax":"1"}`, code: 7, says: []string{"key sysctl", `"kernel.shmmax"`, "want net.*"}},
		{plugin: p, key: "mac", set: `"mac":"02:00:00:00:00:07"`, shows: []string{"02:00:00:00:00:07"}, wrong: `"mac":"x"`, code: 7, says: []string{"key mac", `"x"`, "six octets"}},
		{plugin: p, key: "mtu", set: `"mtu":1400`, shows: []string{"mtu 1400"}, wrong: `"mtu":-1`, code: 7, says: []string{"key mtu", "-1", "68 to 65535"}},
		{plugin: p, key: "promisc", set: `"promisc":true`, shows: []string{"promisc on"}, wrong: `"promisc":"x"`, code: 6, says: []string{"key promisc", `"x"`, "true or false"}},
		{plugin: p, key: "allmulti", set: `"allmulti":true`, shows: []string{"allmulticast on"}, wrong: `"allmulti":"x"`, code: 6, says: []string{"key allmulti", `"x"`, "true or false"}},
		{plugin: p, key: "txQLen", set: `"txQLen":77`, shows: []string{"txqueuelen 77"}, wrong: `"txQLen":-1`, code: 7, says: []string{"key txQLen", "-1", "0 to 4294967295"}},
		{plugin: p, key: "dataDir", wrong: `"dataDir":7`, code: 6, says: []string{"key dataDir", "7", "text"}},
		{plugin: p, key: "args.cni.sysctl", with: `"sysctl":{"net.core.somaxconn":"1"}`, set: `"args":{"cni":{"sysctl":{"net/core/somaxconn":"2"}}}`, shows: []string{"net.core.somaxconn=2", "-net.core.somaxconn=1"}, wrong: `"args":{"cni":{"sysctl":{"net.a":1}}}`, code: 7, says: []string{"args.cni.sysctl", "net.a", "text"}},
		{plugin: p, key: "args.cni.mac", with: `"mac":"02:00:00:00:00:07"`, set: `"args":{"cni":{"mac":"02:00:00:00:00:08"}}`, shows: []string{"02:00:00:00:00:08", "-02:00:00:00:00:07"}, wrong: `"args":{"cni":{"mac":"x"}}`, code: 7, says: []string{"args.cni.mac", `"x"`}},
		{plugin: p, key: "args.cni.mtu", with: `"mtu":1400`, set: `"args":{"cni":{"mtu":1300}}`, shows: []string{"mtu 1300", "-mtu 1400"}, wrong: `"args":{"cni":{"mtu":"x"}}`, code: 6, says: []string{"args.cni.mtu", `"x"`, "whole number"}},
		{plugin: p, key: "args.cni.promisc", with: `"promisc":true`, set: `"args":{"cni":{"promisc":false}}`, shows: []string{"-promisc on"}, wrong: `"args":{"cni":{"promisc":"x"}}`, code: 6, says: []string{"args.cni.promisc", "true or false"}},
		{plugin: p, key: "args.cni.allmulti", with: `"allmulti":true`, set: `"args":{"cni":{"allmulti":false}}`, shows: []string{"allmulticast off"}, wrong: `"args":{"cni":{"allmulti":"x"}}`, code: 6, says: []string{"args.cni.allmulti", "true or false"}},
		{plugin: p, key: "args.cni.txQLen", with: `"txQLen":77`, set: `"args":{"cni":{"txQLen":78}}`, shows: []string{"txqueuelen 78"}, wrong: `"args":{"cni":{"txQLen":"x"}}`, code: 6, says: []string{"args.cni.txQLen", "whole number"}},
	}
}

func hostLocalKeys() []keyRow {
	const p, in = "host-local", "in host-local"
	subnet := `"ranges":null,"subnet":"10.1.0.0/24"`
	rows := []keyRow{
		{plugin: in, key: "ipam.subnet", set: `"subnet":"10.7.0.0/24"`, shows: []string{`"10.7.0.2/24","gateway":"10.7.0.1"`}, wrong: `"subnet":"10.7.0.1/24"`, code: 7, says: []string{"ipam", "10.7.0.1/24", "10.7.0.0/24"}},
		{plugin: in, key: "ipam.rangeStart", with: subnet, set: `"rangeStart":"10.1.0.50"`, shows: []string{`"10.1.0.50/24"`}, wrong: `"rangeStart":"10.2.0.50"`, code: 7, says: []string{"rangeStart", "10.2.0.50", "10.1.0.0/24"}},
		{plugin: in, key: "ipam.rangeEnd", with: subnet + `,"rangeStart":"10.1.0.7","rangeEnd":"10.1.0.7"`, set: `"rangeStart":"10.1.0.9","rangeEnd":"10.1.0.9"`, shows: []string{`"10.1.0.9/24"`}, wrong: `"rangeEnd":"10.1.1.0"`, code: 7, says: []string{"rangeEnd", "10.1.1.0", "10.1.0.0/24"}},
		{plugin: in, key: "ipam.gateway", with: subnet, set: `"gateway":"10.1.0.9"`, shows: []string{`"gateway":"10.1.0.9"`, `"10.1.0.1/24"`}, wrong: `"gateway":"here"`, code: 7, says: []string{"gateway", "here"}},
		{plugin: in, key: "ipam.ranges", set: `"ranges":[[{"subnet":"10.3.0.0/24"}],[{"subnet":"fd00:3::/64"}]]`, shows: []string{"10.3.0.2/24", "fd00:3::2/64"}, wrong: `"ranges":[[{"subnet":"10.3.0.0/24"},{"subnet":"fd00:3::/64"}]]`, code: 7, says: []string{"ipam", "10.3.0.0/24", "fd00:3::/64", "families"}},
		{plugin: in, key: "ipam.routes", set: `"routes":[{"dst":"192.0.2.0/24","gw":"10.9.0.7","mtu":1300,"advmss":1200,"priority":5,"table":7,"scope":0}]`, shows: []string{`"dst":"192.0.2.0/24"`, `"gw":"10.9.0.7"`, `"mtu":1300`, `"advmss":1200`, `"priority":5`, `"table":7`, `"scope":0`}, wrong: `"routes":[{"dst":"x"}]`, code: 7, says: []string{"ipam", "dst", "x"}},
		{plugin: in, key: "ipam.dataDir", set: `"dataDir":"DIR/elsewhere"`, shows: []string{"DIR/elsewhere/testnet/10.9.0.2"}, wrong: `"dataDir":7`, code: 7, says: []string{"ipam.dataDir", "7", "text"}},
		{plugin: in, key: "ipam.resolvConf", set: `"resolvConf":"DIR/resolv.conf"`, shows: []string{`"nameservers":["192.0.2.53"]`, `"search":["example.com"]`, `"options":["ndots:3"]`}, wrong: `"resolvConf":"DIR/none"`, code: 7, says: []string{"ipam.resolvConf", "none", "no such file"}},
		{plugin: p, key: "args.cni.ips", set: `"args":{"cni":{"ips":["10.1.0.44"]}}`, shows: []string{"10.1.0.44/24"}, wrong: `"args":{"cni":{"ips":["10.1.0.1"]}}`, code: 103, says: []string{"args.cni.ips", "10.1.0.1", "gateway"}},
		{plugin: p, key: "runtimeConfig.ips", with: `"args":{"cni":{"ips":["10.1.0.44"]}}`, set: `"runtimeConfig":{"ips":["10.1.0.45/24","fd00:1::45"]}`, shows: []string{"10.1.0.45/24", "fd00:1::45/64"}, wrong: `"runtimeConfig":{"ips":["10.2.0.1"]}`, code: 103, says: []string{"runtimeConfig.ips", "10.2.0.1", "10.1.0"}},
		{plugin: p, key: "runtimeConfig.ipRanges", set: `"runtimeConfig":{"ipRanges":[[{"subnet":"10.4.0.0/24"}]]}`, shows: []string{"10.4.0.2/24"}, wrong: `"runtimeConfig":{"ipRanges":[[{"subnet":"x"}]]}`, code: 7, says: []string{"runtimeConfig.ipRanges", "x"}},
		{plugin: p, key: "IP", args: "IP=10.1.0.46", shows: []string{"10.1.0.46/24"}, wrongArgs: "IP=x", code: 7, says: []string{"CNI_ARGS IP", `"x"`, "IP address"}},
	}
	for _, prefix := range []string{"10.1.0.0/31", "10.1.0.1/32", "fd00::/127", "fd00::1/128"} {
		rows = append(rows, keyRow{plugin: in, key: "ipam.subnet:" + prefix, wrong: fmt.Sprintf(`"subnet":%q`, prefix), code: 7, says: []string{prefix}})
	}
	return append(rows,
		keyRow{plugin: in, key: "ipam.ranges:overlap", wrong: `"ranges":[[{"subnet":"10.3.0.0/24"}],[{"subnet":"10.3.0.128/25"}]]`, code: 7, says: []string{"10.3.0.", "overlap"}},
		keyRow{plugin: in, key: "ipam.ranges:none", wrong: `"ranges":[]`, code: 7, says: []string{"ipam.ranges", "subnet"}})
}

func staticKeys() []keyRow {
	const p, in, address = "static", "in static", `"addresses":[{"address":"10.1.0.2/24"}]`
	return []keyRow{
		{plugin: in, key: "ipam.addresses", with: address, set: `"addresses":[{"address":"10.1.0.3/24","gateway":"10.1.0.9"}]`, shows: []string{`"10.1.0.3/24","gateway":"10.1.0.9"`}, wrong: `"addresses":[{"address":"10.1.0.3"}]`, code: 7, says: []string{"ipam.addresses", `"10.1.0.3"`, "address/prefix"}},
		{plugin: in, key: "ipam.routes", with: address, set: `"routes":[{"dst":"192.0.2.0/24"}]`, shows: []string{`"dst":"192.0.2.0/24"`}, wrong: `"routes":{}`, code: 7, says: []string{"ipam.routes", "{}", "list"}},
		{plugin: in, key: "ipam.dns", with: address, set: `"dns":{"nameservers":["192.0.2.53"],"domain":"d","search":["s"],"options":["o"]}`, shows: []string{`"nameservers":["192.0.2.53"]`, `"domain":"d"`, `"search":["s"]`, `"options":["o"]`}, wrong: `"dns":{"nameservers":"x"}`, code: 7, says: []string{"ipam.dns.nameservers", `"x"`, "list"}},
		{plugin: p, key: "IP", args: "IP=10.5.0.2/24,fd00:5::2/64", shows: []string{"10.5.0.2/24", "fd00:5::2/64"}, wrongArgs: "IP=10.5.0.2", code: 7, says: []string{"CNI_ARGS IP", `"10.5.0.2"`, "address/prefix"}},
		{plugin: p, key: "GATEWAY", args: "GATEWAY=10.1.0.77", shows: []string{`"gateway":"10.1.0.77"`}, wrongArgs: "GATEWAY=x", code: 7, says: []string{"CNI_ARGS GATEWAY", `"x"`, "IP addresses"}},
		{plugin: p, key: "args.cni.ips", set: `"args":{"cni":{"ips":["10.6.0.2/24"]}}`, shows: []string{"10.6.0.2/24", "-10.1.0.2/24"}, wrong: `"args":{"cni":{"ips":["10.6.0.2"]}}`, code: 7, says: []string{"args.cni.ips", `"10.6.0.2"`, "address/prefix"}},
		{plugin: p, key: "runtimeConfig.ips", with: `"args":{"cni":{"ips":["10.6.0.2/24"]}}`, set: `"runtimeConfig":{"ips":["10.7.0.2/24"]}`, shows: []string{"10.7.0.2/24", "-10.6.0.2/24"}, wrong: `"runtimeConfig":{"ips":["x"]}`, code: 7, says: []string{"runtimeConfig.ips", `"x"`, "address/prefix"}},
	}
}

// commonKeys are read by every plugin; one stands for all.
func commonKeys() []keyRow {
	const p = "bridge"
	return []keyRow{
		{plugin: p, key: "name", wrong: `"name":"a/b"`, code: 7, says: []string{"name", `"a/b"`, "want letters"}},
		{plugin: p, key: "cniVersion", wrong: `"cniVersion":"9.0.0"`, code: 1, says: []string{"cniVersion", `"9.0.0"`, "1.1.0"}},
		{plugin: p, key: "ipam", wrong: `"ipam":"dhcp"`, code: 6, says: []string{"key ipam", `"dhcp"`, "object"}},
		{plugin: p, key: "dns", wrong: `"dns":{"nameservers":{}}`, code: 6, says: []string{"dns.nameservers", "{}", "list"}},
		{plugin: "portmap", key: "prevResult", wrong: `"prevResult":{"cniVersion":"1.1.0","ips":7}`, code: 6, says: []string{"prevResult"}},
		{plugin: p, key: "capabilities", set: `"capabilities":{"mac":true}`}, // nothing comes of it
		{plugin: p, key: "CNI_ARGS", wrongArgs: "FOO=1", code: 4, says: []string{"CNI_ARGS", `"FOO"`, "IgnoreUnknown"}},
	}
}
