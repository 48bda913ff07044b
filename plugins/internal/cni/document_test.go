package cni

import (
	"encoding/json"
	"net"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
)

// What we write is what the library writes, to the byte.
func TestDocumentIsTheLibrarys(t *testing.T) {
	_, address, _ := net.ParseCIDR("10.88.0.0/16")
	_, address6, _ := net.ParseCIDR("fd00::/64")
	zero, large := 0, 254
	full := current.Result{
		CNIVersion: "1.1.0",
		Interfaces: []*current.Interface{
			{Name: "eth0", Mac: "02:00:00:00:00:01", Mtu: 1500, Sandbox: "/run/netns/a", SocketPath: "/run/s", PciID: "0000:00:1f.6"},
			{Name: "odd<&>é\"\\\u2028"}, {},
		},
		IPs:    []*current.IPConfig{{Interface: &zero, Address: *address, Gateway: net.IPv4(10, 88, 0, 1)}, {Address: *address6}, {}},
		Routes: []*types.Route{{Dst: *address, GW: net.IPv4(1, 2, 3, 4).To4(), MTU: 1400, AdvMSS: 1360, Priority: 10, Table: &large, Scope: &zero}, {Dst: *address6}},
		DNS:    types.DNS{Nameservers: []string{"10.88.0.1"}, Domain: "d", Search: []string{"a", "b"}, Options: []string{"ndots:5"}},
	}
	for name, r := range map[string]current.Result{
		"full": full, "empty": {}, "version": {CNIVersion: "1.0.0", IPs: []*current.IPConfig{}, Routes: []*types.Route{}},
		"domain only":  {DNS: types.DNS{Domain: "d"}},
		"no interface": {Interfaces: []*current.Interface{nil}},
		"no address":   {IPs: []*current.IPConfig{nil}}, "no route": {Routes: []*types.Route{nil}},
		"not a gateway": {IPs: []*current.IPConfig{{Gateway: net.IP{1, 2, 3}}}}, "nor there": {Routes: []*types.Route{{GW: net.IP{1}}}},
	} {
		want, wantErr := json.MarshalIndent(&r, "", "    ")
		got, err := indented(&r)
		if string(got) != string(want) || (err == nil) != (wantErr == nil) {
			t.Errorf("%s:\n got %s, %v\nwant %s, %v", name, got, err, want, wantErr)
		}
	}
	if _, ours := documentOfResult(&full).(resultDocument); !ours {
		t.Error("a full result is left to the library")
	}
}
