package dns

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/netctl/netctl/plugins/internal/attach/attachtest"
)

func previous(interfaces, ips string) string {
	return `,"prevResult":{"cniVersion":"1.0.0","interfaces":[` + interfaces + `],"ips":[` + ips + `]}`
}

const (
	bridged = `{"name":"br0"},{"name":"veth1"},{"name":"eth0","sandbox":"/run/netns/web"}`
	alone   = `{"name":"eth0","sandbox":"/run/netns/web"}`
	v4      = `{"address":"10.1.0.2/24","gateway":"10.1.0.1","interface":2}`
	v6      = `{"address":"fd00::2/64","gateway":"fd00::1","interface":2}`
	noGate  = `{"address":"10.1.0.2/24","interface":2}`
	onAlone = `{"address":"10.1.0.2/24","gateway":"10.1.0.1","interface":0}`
)

// TestWhereItListens: at gateways of the host, or inside of the container.
func TestWhereItListens(t *testing.T) {
	tests := []struct {
		name, keys string
		inside     bool
		gateways   []string
	}{
		{"bridge", previous(bridged, v4), false, []string{"10.1.0.1:53"}},
		{"dual-stack", previous(bridged, v4+","+v6), false, []string{"10.1.0.1:53", "[fd00::1]:53"}},
		{"bridge without gateway", previous(bridged, noGate), true, nil},
		{"macvlan", previous(alone, onAlone), true, nil},
		{"by wish", `,"listen":"container"` + previous(bridged, v4), true, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := attachtest.Case{Keys: test.keys}.Wiring(t, Mode())
			var got []string
			for _, server := range w.Shared.Network.DNS {
				got = append(got, server.String())
			}
			if w.Owned.ResolverInside != test.inside || !slices.Equal(got, test.gateways) {
				t.Errorf("inside %v, gateways %v; want %v, %v", w.Owned.ResolverInside, got, test.inside, test.gateways)
			}
			if len(got) > 0 && (w.Shared.Network.Bridge != "br0" || w.Shared.Network.Network != "net+dns") {
				t.Errorf("policy %+v", w.Shared.Network)
			}
			if want := netip.MustParseAddr("10.1.0.2"); w.Owned.Addresses[0].Prefix.Addr() != want {
				t.Errorf("address %s, want %s", w.Owned.Addresses[0].Prefix, want)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	attachtest.Refuses(t, Mode(), map[string]string{
		`,"listen":"host"`: `key listen: invalid value "host": want gateway or container, or none to find out`,
		``:                 `key prevResult is missing: this plugin comes after one that makes an interface`,
		`,"listen":"gateway"` + previous(alone, onAlone): `key listen: prevResult has no gateway on an interface of the host: want container`,
		previous(bridged, ""):                            `key prevResult: the container has no address: names need one`,
	})
}
