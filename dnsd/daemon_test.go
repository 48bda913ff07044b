package dnsd

import (
	"testing"

	"github.com/miekg/dns"
)

// TestServes is the whole of it, on the real kernel: two networks, a container
// on each and one on both, asking over UDP and TCP, IPv4 and IPv6.
func TestServes(t *testing.T) {
	w := newWorld(t)
	w.network("front", "10.88.0.1/24", "fd00:88::1/64")
	w.network("back", "10.89.0.1/24")
	web := w.container("front", "web", "www")
	db := w.container("back", "db")
	app := w.container("front", "app", "www")
	app.attach("back", "eth1", "app")
	w.serve()

	tests := []struct {
		from   *container
		server string
		name   string
		kind   uint16
		want   string
	}{
		{web, "10.88.0.1", "web", dns.TypeA, "10.88.0.2"},
		{web, "10.88.0.1", "WEB.Front", dns.TypeA, "10.88.0.2"},
		{web, "10.88.0.1", "app.netctl.internal", dns.TypeA, "10.88.0.3"},
		{web, "10.88.0.1", "app.front.netctl.internal", dns.TypeAAAA, "fd00:88::3"},
		{web, "fd00:88::1", "app", dns.TypeAAAA, "fd00:88::3"},
		{web, "10.88.0.1", "app", dns.TypeMX, "NODATA"},
		{web, "10.88.0.1", "3.0.88.10.in-addr.arpa", dns.TypePTR, "app.front.netctl.internal."},
		{web, "10.88.0.1", "db", dns.TypeA, "SERVFAIL"}, // not his network, and no upstream
		{web, "10.88.0.1", "db.netctl.internal", dns.TypeA, "NXDOMAIN"},
		{app, "10.88.0.1", "db", dns.TypeA, "10.89.0.2"},
		{app, "10.89.0.1", "web", dns.TypeA, "10.88.0.2"},
		{app, "10.89.0.1", "db", dns.TypeAAAA, "NODATA"},
		{db, "10.89.0.1", "app", dns.TypeA, "10.89.0.3"},
		{db, "10.89.0.1", "web", dns.TypeA, "SERVFAIL"},
	}
	for _, transport := range []string{"udp", "tcp"} {
		for _, test := range tests {
			t.Run(transport+" "+test.from.key.Container+" asks "+test.name, func(t *testing.T) {
				got := answers(ask(test.from.Namespace, transport, test.server, query(test.name, test.kind)))
				if got != test.want {
					t.Errorf("%s %s at %s: got %s, want %s", test.name, dns.TypeToString[test.kind], test.server, got, test.want)
				}
			})
		}
	}
	t.Run("the host", func(t *testing.T) {
		for _, server := range []string{"10.88.0.1", "fd00:88::1"} {
			if got := answers(ask(w.host, "udp", server, query("web", dns.TypeA))); got != "10.88.0.2" {
				t.Errorf("at %s: %s", server, got)
			}
		}
	})
}
