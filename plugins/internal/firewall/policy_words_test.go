package firewall

import (
	"fmt"
	"net/netip"
	"reflect"
	"testing"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// Each field, alone and together with those before it, is in the text as package
// fmt has it; so is one that somebody adds.
func TestPolicyText(t *testing.T) {
	samples := map[reflect.Type]any{
		reflect.TypeFor[string]():           "br 0",
		reflect.TypeFor[bool]():             true,
		reflect.TypeFor[[]string]():         []string{"eth0", "", "eth1"},
		reflect.TypeFor[[]netip.Prefix]():   []netip.Prefix{netip.MustParsePrefix("10.88.0.0/16"), {}, netip.MustParsePrefix("fd00::/64")},
		reflect.TypeFor[[]netip.Addr]():     []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("fe80::1%eth0"), {}},
		reflect.TypeFor[[]netip.AddrPort](): []netip.AddrPort{netip.MustParseAddrPort("10.88.0.1:53"), netip.MustParseAddrPort("[fd00::1]:5353"), {}},
	}
	compare := func(p wire.NetworkPolicy) {
		t.Helper()
		if got, want := policyText(p), fmt.Sprintf("%+v", p); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	var all wire.NetworkPolicy
	compare(all)
	kind := reflect.TypeFor[wire.NetworkPolicy]()
	for i := range kind.NumField() {
		sample, ok := samples[kind.Field(i).Type]
		if !ok {
			t.Fatalf("field %s has the type %s: add a sample of it", kind.Field(i).Name, kind.Field(i).Type)
		}
		var one wire.NetworkPolicy
		for _, p := range []*wire.NetworkPolicy{&one, &all} {
			reflect.ValueOf(p).Elem().Field(i).Set(reflect.ValueOf(sample))
		}
		compare(one)
		compare(all)
	}
}
