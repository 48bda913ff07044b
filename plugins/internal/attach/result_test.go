package attach

import (
	"encoding/json"
	"net/netip"
	"testing"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/netctl/netctl/plugins/internal/cni"
)

// TestResultDNS: the capability, the configuration, IPAM, in this order; and
// the gateway instead of servers where it serves names.
func TestResultDNS(t *testing.T) {
	ipam := types.DNS{Nameservers: []string{"10.1.0.1"}, Options: []string{"ndots:1"}}
	for _, tt := range []struct {
		name, conf string
		gateway    string
		want       string
	}{
		{"IPAM's", `{}`, "", `{"nameservers":["10.1.0.1"],"options":["ndots:1"]}`},
		{"the configuration's", `{"dns":{"search":["a.example"]}}`, "", `{"search":["a.example"]}`},
		{"the capability's", `{"dns":{"search":["a.example"]},"runtimeConfig":{"dns":{"servers":["192.0.2.53"],"searches":["b.example"],"options":["ndots:2"]}}}`, "",
			`{"nameservers":["192.0.2.53"],"search":["b.example"],"options":["ndots:2"]}`},
		{"one key of the capability", `{"runtimeConfig":{"dns":{"servers":["192.0.2.53"]}}}`, "", `{"nameservers":["192.0.2.53"],"options":["ndots:1"]}`},
		{"a network with names", `{"runtimeConfig":{"dns":{"servers":["192.0.2.53"],"searches":["b.example"]}}}`, "10.9.0.1:53",
			`{"nameservers":["10.9.0.1"],"search":["` + BaseDomain + `","b.example"],"options":["ndots:1"]}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &plan{req: &cni.Request{}}
			p.grant.DNS = ipam
			if err := json.Unmarshal([]byte(tt.conf), &p.req.Conf); err != nil {
				t.Fatal(err)
			}
			if tt.gateway != "" {
				p.wiring.Shared.Network.DNS = []netip.AddrPort{netip.MustParseAddrPort(tt.gateway)}
			}
			if got, _ := json.Marshal(p.dns()); string(got) != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}
