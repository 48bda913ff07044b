package bridge

import (
	"net/netip"
	"testing"

	"github.com/netctl/netctl/plugins/internal/attach/attachtest"
	"github.com/netctl/netctl/plugins/internal/wire"
)

// TestGoldenWirings shows each option as the commands a person would type.
func TestGoldenWirings(t *testing.T) {
	v4, v6 := attachtest.Address("10.88.0.2/16", "10.88.0.1"), attachtest.Address("fd00::2/64", "fd00::1")
	ipv4, dual, layer2 := attachtest.Granted(v4), attachtest.Granted(v4, v6), attachtest.Granted()
	const gateway = `,"isDefaultGateway":true`
	scope, universe := 253, 0
	routes, own, multipath := ipv4, ipv4, dual
	routes.Routes = []wire.Route{
		{To: netip.MustParsePrefix("192.0.2.0/24")},
		{To: netip.MustParsePrefix("198.51.100.0/24"), Via: netip.MustParseAddr("10.88.0.9"), Metric: 10, Table: 100, MTU: 1300, AdvMSS: 1200, Scope: &scope},
		{To: netip.MustParsePrefix("203.0.113.0/24"), Scope: &universe},
	}
	own.Routes = []wire.Route{{To: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("10.88.0.254")}}
	multipath.Routes = []wire.Route{
		{To: netip.MustParsePrefix("192.0.2.0/24"), Via: netip.MustParseAddr("10.88.0.7")},
		{To: netip.MustParsePrefix("2001:db8::/32"), Via: netip.MustParseAddr("fd00::7")},
		{To: netip.MustParsePrefix("192.0.2.0/24"), Via: netip.MustParseAddr("10.88.0.8")},
		{To: netip.MustParsePrefix("192.0.2.0/24"), Via: netip.MustParseAddr("10.88.0.8")}, // the same again
		{To: netip.MustParsePrefix("192.0.2.0/24"), Via: netip.MustParseAddr("10.88.0.9"), Metric: 5},
		{To: netip.MustParsePrefix("2001:db8::/32"), Via: netip.MustParseAddr("fd00::8")},
	}
	attachtest.Goldens(t, Mode(), map[string]attachtest.Case{
		"layer2":            {Grant: layer2},
		"default-gateway":   {Keys: gateway, Grant: ipv4},
		"dual-stack":        {Keys: gateway, Grant: dual},
		"gateway-no-route":  {Keys: `,"isGateway":true`, Grant: ipv4},
		"gateway-not-given": {Keys: gateway, Grant: attachtest.Granted(attachtest.Address("10.88.0.2/16", ""))},
		"internal":          {Keys: gateway + `,"internal":true`, Grant: ipv4},
		"own-bridge-mtu":    {Keys: `,"bridge":"br7","mtu":1400`, Grant: ipv4},
		"hairpin":           {Keys: `,"hairpinMode":true`, Grant: ipv4},
		"promiscuous":       {Keys: `,"promiscMode":true`, Grant: ipv4},
		"force-address":     {Keys: gateway + `,"forceAddress":true`, Grant: ipv4},
		"port-isolation":    {Keys: `,"portIsolation":true`, Grant: ipv4},
		"interface-down":    {Keys: `,"disableContainerInterface":true`, Grant: layer2},
		"mac":               {Keys: `,"runtimeConfig":{"mac":"02:11:22:33:44:55"},"args":{"cni":{"mac":"02:00:00:00:00:99"}}`, Grant: ipv4},
		"mac-spoof-check":   {Keys: `,"macspoofchk":true`, Grant: ipv4},
		"enable-dad":        {Keys: gateway + `,"enabledad":true`, Grant: dual},
		"routes":            {Keys: gateway, Grant: routes},
		"own-default-route": {Keys: gateway, Grant: own},
		"multipath":         {Grant: multipath},
		"vlan":              {Keys: `,"vlan":100`, Grant: ipv4},
		"vlan-keep-default": {Keys: `,"vlan":100,"preserveDefaultVlan":true`, Grant: ipv4},
		"vlan-gateway":      {Keys: gateway + `,"vlan":100,"ipMasq":true,"forceAddress":true`, Grant: dual},
		"vlan-trunk":        {Keys: `,"vlanTrunk":[{"id":200},{"minID":100,"maxID":102},{"minID":102,"maxID":105,"id":1}]`, Grant: layer2},
		"vlan-and-trunk":    {Keys: `,"vlan":101,"vlanTrunk":[{"minID":100,"maxID":102}]`, Grant: layer2},
		"bandwidth": {Keys: `,"runtimeConfig":{"bandwidth":{"ingressRate":1000000,"ingressBurst":80000,"egressRate":2000000,"egressBurst":160000}}`,
			Grant: ipv4},
		"bandwidth-one-way": {Keys: `,"runtimeConfig":{"bandWidth":{"IngressRate":1000000,"IngressBurst":4294967295}}`, Grant: ipv4},
	})
}

// TestTheVLANGatewayIsWhereTrafficAppears: rules and resolver belong there.
func TestTheVLANGatewayIsWhereTrafficAppears(t *testing.T) {
	c := attachtest.Case{
		Keys:  `,"isGateway":true,"vlan":7,"names":true`,
		Grant: attachtest.Granted(attachtest.Address("10.88.0.2/16", "10.88.0.1")),
	}
	if got := c.Wiring(t, Mode()).Shared.Network.Bridge; got != "cni0.7" {
		t.Errorf("got %s", got)
	}
}

func TestParseRefuses(t *testing.T) {
	attachtest.Refuses(t, Mode(), map[string]string{
		`,"bridge":""`:                            `key bridge: invalid name "": want 1 to 15 bytes without '/', ':' and space`,
		`,"bridge":"a-name-of-20-bytes.."`:        `key bridge: invalid name "a-name-of-20-bytes..": want 1 to 15 bytes without '/', ':' and space`,
		`,"bridge":"../all"`:                      `key bridge: invalid name "../all": want 1 to 15 bytes without '/', ':' and space`,
		`,"bridge":"a b"`:                         `key bridge: invalid name "a b": want 1 to 15 bytes without '/', ':' and space`,
		`,"mtu":-1`:                               `key mtu: invalid value -1: want 68 to 65535, or 0 for that of the default route's interface`,
		`,"mtu":"1500"`:                           `configuration on standard input: key mtu: want a whole number, got "1500"`,
		`,"hairpinMode":true,"promiscMode":true`:  `keys hairpinMode and promiscMode exclude each other: set one of them to false`,
		`,"runtimeConfig":{"mac":"01:00:00:0:0"}`: `runtimeConfig.mac: invalid MAC address "01:00:00:0:0": want six octets such as 02:42:ac:11:00:02`,
		`,"disableContainerInterface":true,"ipam":{"type":"static"}`: `key disableContainerInterface: an interface that stays down can't have addresses: remove ipam`,
		`,"vlan":4095`: `key vlan: invalid value 4095: want 1 to 4094, or 0 for none`,
		`,"vlan":-1`:   `key vlan: invalid value -1: want 1 to 4094, or 0 for none`,
		`,"isGateway":true,"vlan":4094,"bridge":"elevenbytes"`:                        `keys bridge and vlan: the gateway's interface "elevenbytes.4094" would have more than 15 bytes: want a shorter bridge`,
		`,"vlanTrunk":[{"id":1},{"minID":5}]`:                                         `key vlanTrunk[1]: minID and maxID: want both or neither`,
		`,"vlanTrunk":[{"minID":5,"maxID":4}]`:                                        `key vlanTrunk[0]: invalid VLANs 5 to 4: want 1 to 4094, the smaller one first`,
		`,"vlanTrunk":[{"id":0}]`:                                                     `key vlanTrunk[0]: invalid VLANs 0 to 0: want 1 to 4094, the smaller one first`,
		`,"runtimeConfig":{"bandwidth":{"egressRate":8}}`:                             `runtimeConfig.bandwidth: keys egressRate and egressBurst: 8 and 0: want both or neither`,
		`,"runtimeConfig":{"bandwidth":{"ingressRate":8,"ingressBurst":34359738360}}`: `runtimeConfig.bandwidth: key ingressBurst: invalid value 34359738360: want at most 34359738359 bits`,
		`,"runtimeConfig":{"bandwidth":{"ingressRate":7,"ingressBurst":8}}`:           `runtimeConfig.bandwidth: key ingressRate: invalid value 7: want at least 8 bits per second`,
	})
}
