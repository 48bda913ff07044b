package attach

import (
	"testing"

	"github.com/netctl/netctl/plugins/internal/cni"
)

func TestStatic(t *testing.T) {
	const two = `,"addresses":[{"address":"10.1.0.5/24","gateway":"10.1.0.254"},{"address":"fd00::5/64"}]`
	for _, tt := range []struct {
		name string
		call call
		want string
		code cni.Code
	}{
		{"configured", call{keys: two}, "10.1.0.5/24 via 10.1.0.254 fd00::5/64", 0},
		{"none", call{}, "", 0},
		{"CNI_ARGS in addition", call{keys: two, args: "IP=10.2.0.5/16, fd01::5/64"}, "10.1.0.5/24 via 10.1.0.254 fd00::5/64 10.2.0.5/16 fd01::5/64", 0},
		{"GATEWAY by subnet", call{keys: two, args: "IP=10.2.0.5/16;GATEWAY=10.2.0.1,fd00::1"}, "10.1.0.5/24 via 10.1.0.254 fd00::5/64 via fd00::1 10.2.0.5/16 via 10.2.0.1", 0},
		{"GATEWAY before the configuration's", call{keys: two, args: "GATEWAY=10.1.0.1"}, "10.1.0.5/24 via 10.1.0.1 fd00::5/64", 0},
		{"GATEWAY of no subnet", call{keys: two, args: "GATEWAY=192.0.2.1"}, "10.1.0.5/24 via 10.1.0.254 fd00::5/64", 0},
		{"args.cni instead", call{keys: two, args: "IP=10.2.0.5/16", top: `,"args":{"cni":{"ips":["10.3.0.5/24"]}}`}, "10.3.0.5/24", 0},
		{"runtimeConfig instead", call{keys: two, top: `,"args":{"cni":{"ips":["10.3.0.5/24"]}},"runtimeConfig":{"ips":["10.4.0.5/24","10.5.0.5/24"]}`}, "10.4.0.5/24 10.5.0.5/24", 0},
		{"GATEWAY for what came instead", call{keys: two, args: "GATEWAY=10.4.0.1", top: `,"runtimeConfig":{"ips":["10.4.0.5/24"]}`}, "10.4.0.5/24 via 10.4.0.1", 0},
		{"one of each family, old version", call{keys: two, version: "0.2.0"}, "10.1.0.5/24 via 10.1.0.254 fd00::5/64", 0},

		{"no prefix", call{keys: `,"addresses":[{"address":"10.1.0.5"}]`}, `ipam.addresses: invalid address "10.1.0.5": want address/prefix`, 7},
		{"no address", call{keys: `,"addresses":[{}]`}, `ipam.addresses: invalid address ""`, 7},
		{"gateway", call{keys: `,"addresses":[{"address":"10.1.0.5/24","gateway":"x"}]`}, "key ipam", 7},
		{"CNI_ARGS without prefix", call{keys: two, args: "IP=10.2.0.5"}, `CNI_ARGS IP: invalid address "10.2.0.5"`, 7},
		{"GATEWAY no address", call{keys: two, args: "GATEWAY=x"}, `GATEWAY: invalid address "x"`, 7},
		{"args.cni without prefix", call{keys: two, top: `,"args":{"cni":{"ips":["10.3.0.5"]}}`}, `args.cni.ips: invalid address "10.3.0.5"`, 7},
		{"two of a family, old version", call{keys: two, args: "IP=10.2.0.5/16", version: "0.2.0"}, "cniVersion 0.2.0", 7},
		{"route", call{keys: two + `,"routes":[{"gw":"10.1.0.1"}]`}, "key ipam.routes", 7},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.call.kind, tt.call.container = StaticIPAM, "c1"
			got, err := newMachine(t).add(tt.call)
			want(t, err, tt.code, tt.want)
			if err == nil && got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestStaticResult(t *testing.T) {
	m := newMachine(t)
	c := call{kind: StaticIPAM, container: "c1", keys: `,"addresses":[{"address":"10.1.0.5/24"}],
		"routes":[{"dst":"0.0.0.0/0"},{"dst":"10.9.0.0/16","gw":"10.1.0.2","mtu":1400,"priority":7}],
		"dns":{"nameservers":["10.1.0.1"],"domain":"a.example","search":["b.example"],"options":["ndots:2"]}`}
	got, err := m.IPAM(StaticIPAM).Add(t.Context(), m.request(cni.Add, c))
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Interfaces) != 0 || got.IPs[0].Interface != nil {
		t.Errorf("an IPAM plugin has no interfaces: %+v", got)
	}
	if len(got.Routes) != 2 || got.Routes[0].GW != nil || got.Routes[1].GW.String() != "10.1.0.2" || got.Routes[1].MTU != 1400 || got.Routes[1].Priority != 7 {
		t.Errorf("routes: %v", got.Routes)
	}
	if d := got.DNS; d.Nameservers[0] != "10.1.0.1" || d.Domain != "a.example" || d.Search[0] != "b.example" || d.Options[0] != "ndots:2" {
		t.Errorf("dns: %+v", d)
	}
}

func TestStaticCheck(t *testing.T) {
	m := newMachine(t)
	c := call{kind: StaticIPAM, container: "c1", keys: `,"addresses":[{"address":"10.1.0.5/24","gateway":"10.1.0.254"},{"address":"fd00::5/64"}]`}
	for _, tt := range []struct {
		name     string
		previous []string
		part     string
		code     cni.Code
	}{
		{"as given", []string{"10.1.0.5/24 via 10.1.0.254", "fd00::5/64"}, "", 0},
		{"with what others added", []string{"10.7.0.1/24", "10.1.0.5/24 via 10.1.0.254", "fd00::5/64 via fd00::1"}, "", 0},
		{"an address missing", []string{"10.1.0.5/24 via 10.1.0.254"}, "no address fd00::5", 109},
		{"another gateway", []string{"10.1.0.5/24 via 10.1.0.1", "fd00::5/64"}, "has gateway 10.1.0.1", 109},
	} {
		t.Run(tt.name, func(t *testing.T) { want(t, m.check(c, tt.previous...), tt.code, tt.part) })
	}
	want(t, m.IPAM(StaticIPAM).Check(t.Context(), m.request(cni.Check, c)), 7, "prevResult is missing")
}

// TestStaticReservesNothing: the other verbs find nothing to do, also for a
// configuration that ADD would refuse.
func TestStaticReservesNothing(t *testing.T) {
	m := newMachine(t)
	c := call{kind: StaticIPAM, container: "c1", keys: `,"addresses":[{"address":"10.1.0.5/24"}]`}
	m.mustAdd(c)
	m.mustAdd(c)
	c.container = "c2"
	m.mustAdd(c)
	want(t, m.status(c), 0, "")
	want(t, m.gc(c), 0, "")
	c.keys = `,"addresses":[{"address":"x"}]`
	m.mustDel(c)
	want(t, m.status(c), 7, `"x"`)
}
