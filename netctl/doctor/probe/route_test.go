package probe

import "testing"

// What iproute2 prints, and what it says of a packet.
func TestRefusedRoutes(t *testing.T) {
	for text, want := range map[string]string{
		"RTNETLINK answers: Permission denied\n":                                                      "permission denied",
		"RTNETLINK answers: No route to host\n":                                                       "no route to host",
		"Error: any valid prefix is expected rather than \"x\".\n":                                    "",
		"192.0.2.1 from 10.1.0.2 dev eth0 \n    cache iif nb0 \n":                                     "",
		"prohibit 192.0.2.1 from 10.1.0.2 dev lo table unspec \n    cache <local,prohibit> iif nb0\n": "prohibit",
	} {
		if got := routeError(text) + refusedRoute(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
