package network

import (
	"strings"
	"testing"
)

func TestDifferences(t *testing.T) {
	s := testStore(t)
	n, err := s.Create(Request{Name: "n", Subnets: pfx("10.88.0.0/16"), Options: map[string]string{"mtu": "1400"}})
	if err != nil {
		t.Fatal(err)
	}
	same := Request{Options: map[string]string{"mtu": "1400"}}
	for _, tt := range []struct {
		change func(*Request)
		want   string
	}{
		{func(*Request) {}, ""},
		{func(r *Request) { r.Subnets = pfx("10.88.0.0/16") }, ""},
		{func(r *Request) { r.Subnets = pfx("10.77.0.0/16") }, "subnet is 10.88.0.0/16, not 10.77.0.0/16"},
		{func(r *Request) { r.Gateways = addrs("10.88.0.9") }, "gateway is 10.88.0.1, not 10.88.0.9"},
		{func(r *Request) { r.Internal = true }, "internal is false, not true"},
		{func(r *Request) { r.IPv6 = true }, "ipv6 is false, not true"},
		{func(r *Request) { r.Driver = "macvlan" }, "driver is bridge, not macvlan"},
		{func(r *Request) { r.Options = nil }, "options is map[mtu:1400], not map[]"},
	} {
		r := same
		tt.change(&r)
		if got := strings.Join(n.Differences(r), "; "); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}
