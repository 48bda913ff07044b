package bridge

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/netctl/netctl/plugins/internal/attach"
	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/wire"
)

var update = flag.Bool("update", false, "write the golden files anew")

// request makes the request for an ADD of interface eth0 of container web.
func request(t *testing.T, keys string) *cni.Request {
	t.Helper()
	env := map[string]string{"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "web", "CNI_NETNS": "/run/netns/web", "CNI_IFNAME": "eth0"}
	conf := `{"cniVersion":"1.1.0","name":"net","type":"bridge"` + keys + `}`
	req, err := cni.Parse(func(name string) string { return env[name] }, []byte(conf))
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func address(prefix, gateway string) wire.Address {
	a := wire.Address{Prefix: netip.MustParsePrefix(prefix)}
	if gateway != "" {
		a.Gateway = netip.MustParseAddr(gateway)
	}
	return a
}

// TestGoldenWirings shows each option as the commands a person would type.
func TestGoldenWirings(t *testing.T) {
	v4, v6 := address("10.88.0.2/16", "10.88.0.1"), address("fd00::2/64", "fd00::1")
	const gateway = `,"isDefaultGateway":true`
	scope := 253
	for name, c := range map[string]struct {
		keys  string
		grant attach.Grant
	}{
		"layer2":            {``, attach.Grant{}},
		"default-gateway":   {gateway, attach.Grant{Addresses: []wire.Address{v4}}},
		"dual-stack":        {gateway, attach.Grant{Addresses: []wire.Address{v4, v6}}},
		"gateway-no-route":  {`,"isGateway":true`, attach.Grant{Addresses: []wire.Address{v4}}},
		"gateway-not-given": {gateway, attach.Grant{Addresses: []wire.Address{address("10.88.0.2/16", "")}}},
		"internal":          {gateway + `,"internal":true`, attach.Grant{Addresses: []wire.Address{v4}}},
		"own-bridge-mtu":    {`,"bridge":"br7","mtu":1400`, attach.Grant{Addresses: []wire.Address{v4}}},
		"hairpin":           {`,"hairpinMode":true`, attach.Grant{Addresses: []wire.Address{v4}}},
		"promiscuous":       {`,"promiscMode":true`, attach.Grant{Addresses: []wire.Address{v4}}},
		"force-address":     {gateway + `,"forceAddress":true`, attach.Grant{Addresses: []wire.Address{v4}}},
		"port-isolation":    {`,"portIsolation":true`, attach.Grant{Addresses: []wire.Address{v4}}},
		"interface-down":    {`,"disableContainerInterface":true`, attach.Grant{}},
		"mac":               {`,"runtimeConfig":{"mac":"02:11:22:33:44:55"},"args":{"cni":{"mac":"02:00:00:00:00:99"}}`, attach.Grant{Addresses: []wire.Address{v4}}},
		"routes": {gateway, attach.Grant{Addresses: []wire.Address{v4}, Routes: []wire.Route{
			{To: netip.MustParsePrefix("192.0.2.0/24")},
			{To: netip.MustParsePrefix("198.51.100.0/24"), Via: netip.MustParseAddr("10.88.0.9"), Metric: 10, Table: 100, MTU: 1300, AdvMSS: 1200, Scope: &scope},
		}}},
		"own-default-route": {gateway, attach.Grant{Addresses: []wire.Address{v4}, Routes: []wire.Route{
			{To: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("10.88.0.254")}}}},
	} {
		t.Run(name, func(t *testing.T) {
			conf, err := parse(request(t, c.keys))
			if err != nil {
				t.Fatal(err)
			}
			w, err := conf.Wire(wire.Attachment{Network: "net", Container: "web", IfName: "eth0"}, c.grant)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, filepath.Join("testdata", name+".golden"), strings.Join(w.Lines(), "\n")+"\n")
		})
	}
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

func TestParseRefuses(t *testing.T) {
	for keys, want := range map[string]string{
		`,"bridge":""`:                            `key bridge: invalid name "": want 1 to 15 bytes`,
		`,"bridge":"a-name-of-20-bytes.."`:        `key bridge: invalid name "a-name-of-20-bytes..": want 1 to 15 bytes`,
		`,"mtu":-1`:                               `key mtu: invalid value -1: want 68 to 65535, or 0 for the kernel's choice`,
		`,"mtu":"1500"`:                           `configuration on standard input: key mtu: want a number, got string`,
		`,"hairpinMode":true,"promiscMode":true`:  `keys hairpinMode and promiscMode exclude each other: set one of them to false`,
		`,"runtimeConfig":{"mac":"01:00:00:0:0"}`: `runtimeConfig.mac: invalid MAC address "01:00:00:0:0": want six octets such as 02:42:ac:11:00:02`,
		`,"disableContainerInterface":true,"ipam":{"type":"static"}`: `key disableContainerInterface: an interface that stays down can't have addresses: remove ipam`,
	} {
		_, err := parse(request(t, keys))
		if err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", keys, err, want)
		}
	}
}
