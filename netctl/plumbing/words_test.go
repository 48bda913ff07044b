package plumbing

import (
	"errors"
	"testing"
)

func TestInFlags(t *testing.T) {
	for _, test := range []struct{ err, want string }{
		{"runtimeConfig.ips: address 10.9.0.1 can't be given out", "network n: --ip: address 10.9.0.1 can't be given out"},
		{"runtimeConfig.ips: address fd00::1 can't be given out", "network n: --ip6: address fd00::1 can't be given out"},
		{`key master: parent interface "eth9": no such device`, `network n: -o parent: interface "eth9": no such device`},
		{"key master is missing, and there is no default route", "network n: it was made without -o parent=INTERFACE, and there is no default route"},
		{"port 80/tcp is in use", "port 80/tcp is in use"},
	} {
		from := errors.New(test.err)
		got := inFlags("n", from)
		if got.Error() != test.want || !errors.Is(got, from) {
			t.Errorf("%s: got %s, want %s", test.err, got, test.want)
		}
	}
}
