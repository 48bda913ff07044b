// Package attachtest tests modes: it shows what one asks for as the commands
// that a person would type, and compares them with golden files. Nothing is
// made.
package attachtest

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/netctl/netctl/plugins/internal/attach"
	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/firewall"
	"github.com/netctl/netctl/plugins/internal/wire"
)

var update = flag.Bool("update", false, "write the golden files anew")

// A Case is an ADD of interface eth0 of container web to network net.
type Case struct {
	// Keys are further members of the configuration, each after a comma.
	Keys  string
	Args  string // CNI_ARGS
	Grant attach.Grant
}

// Request makes the request of a case.
func (c Case) Request(t *testing.T, mode attach.Mode) *cni.Request {
	t.Helper()
	env := map[string]string{
		"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "web", "CNI_NETNS": "/run/netns/web", "CNI_IFNAME": "eth0", "CNI_ARGS": c.Args,
	}
	conf := `{"cniVersion":"1.1.0","name":"net","type":"` + mode.Name + `"` + c.Keys + `}`
	req, err := cni.Parse(func(name string) string { return env[name] }, []byte(conf))
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// Wiring gives what the mode asks for in a case.
func (c Case) Wiring(t *testing.T, mode attach.Mode) wire.Wiring {
	t.Helper()
	conf, err := mode.Parse(c.Request(t, mode))
	if err != nil {
		t.Fatal(err)
	}
	at := wire.Attachment{Network: "net", Container: "web", IfName: "eth0"}
	if mode.Chained {
		at.Part = mode.Name
	}
	w, err := conf.Wire(at, c.Grant)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// Goldens compares each case with testdata/NAME.golden.
func Goldens(t *testing.T, mode attach.Mode, cases map[string]Case) {
	t.Helper()
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			compare(t, filepath.Join("testdata", name+".golden"), c.commands(t, mode))
		})
	}
}

// commands are all that a person would type: those for the kernel, and those for
// the packet filter with either mechanism. What all networks of a host share of
// the latter is left out.
func (c Case) commands(t *testing.T, mode attach.Mode) string {
	t.Helper()
	lines, rules, err := attach.Compute(mode, c.Request(t, mode), c.Grant)
	if err != nil {
		t.Fatal(err)
	}
	for _, mechanism := range []firewall.BackendName{firewall.IPTables, firewall.NFTables} {
		if err := firewall.Translatable(mechanism, rules.Publish); err != nil {
			lines = append(lines, "", "# "+string(mechanism)+": "+err.Error())
			continue
		}
		own := withoutShared(t, mechanism, rules)
		if len(own) > 0 {
			lines = append(append(lines, "", "# "+string(mechanism)), own...)
		}
	}
	return policyHash.ReplaceAllString(strings.Join(lines, "\n"), "${1}HASH") + "\n"
}

// policyHash stands for a policy in names and comments. It changes with every
// field that a policy can have.
var policyHash = regexp.MustCompile(`(policy=|masq-[A-Za-z0-9]+-)[A-Z2-7]{8}`)

// withoutShared leaves out of a mechanism's commands those that two networks
// which have nothing to do with each other have in common.
func withoutShared(t *testing.T, mechanism firewall.BackendName, rules firewall.Rules) []string {
	t.Helper()
	render := func(r firewall.Rules) []string {
		lines, err := firewall.Lines(mechanism, r)
		if err != nil {
			t.Fatal(err)
		}
		return lines
	}
	one, other := render(stranger("one", "192.0.2.0/25", "2001:db8:1::/64", 1)), render(stranger("other", "192.0.2.128/25", "2001:db8:2::/64", 60000))
	return slices.DeleteFunc(render(rules), func(line string) bool {
		return slices.Contains(one, line) && slices.Contains(other, line)
	})
}

func stranger(name, subnet4, subnet6 string, port uint16) firewall.Rules {
	v4, v6 := netip.MustParsePrefix(subnet4), netip.MustParsePrefix(subnet6)
	r := firewall.Rules{
		Attachment: wire.Attachment{Network: name, Container: name, IfName: name},
		Network:    wire.NetworkPolicy{Network: name, Bridge: name, Forward: true, Subnets: []netip.Prefix{v4, v6}},
	}
	for _, subnet := range []netip.Prefix{v4, v6} {
		r.Publish = append(r.Publish, wire.Publish{Protocol: wire.TCP, HostPort: port, Container: subnet.Addr(), ContainerPort: port})
	}
	return r
}

func compare(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; got:\n%swant:\n%s", file, got, want)
	}
}

// Refuses gives the mode each of the keys, and wants the error beside it.
func Refuses(t *testing.T, mode attach.Mode, cases map[string]string) {
	t.Helper()
	for keys, want := range cases {
		_, err := mode.Parse(Case{Keys: keys}.Request(t, mode))
		if err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", keys, err, want)
		}
	}
}

// Address is an address with its gateway, "" for none.
func Address(prefix, gateway string) wire.Address {
	a := wire.Address{Prefix: netip.MustParsePrefix(prefix)}
	if gateway != "" {
		a.Gateway = netip.MustParseAddr(gateway)
	}
	return a
}

// Granted is a grant of these addresses.
func Granted(addresses ...wire.Address) attach.Grant { return attach.Grant{Addresses: addresses} }
