package probe

import (
	"context"
	"errors"
	"net/netip"
	"os/exec"
	"strings"
)

// Forwards implements doctor.World, by iproute2: of the library's questions none has the
// link in it by which a packet comes in.
func (w World) Forwards(ctx context.Context, in string, from, to netip.Addr) (string, error) {
	out, err := exec.CommandContext(ctx, "ip", "route", "get", to.String(), "from", from.String(), "iif", in).CombinedOutput() //nolint:gosec // addresses and a link of ours
	var failed *exec.ExitError
	switch {
	case err == nil:
		return refusedRoute(string(out)), nil
	case errors.As(err, &failed):
		return routeError(string(out)), nil
	}
	return "", nil // no iproute2 here: not known
}

// routeError is the kernel's error in the output of ip.
func routeError(text string) string {
	_, reason, found := strings.Cut(text, "RTNETLINK answers: ")
	if !found {
		return "" // ip's own trouble
	}
	reason, _, _ = strings.Cut(reason, "\n")
	return strings.ToLower(reason)
}

// refusedRoute: some kernels answer with the route that refuses.
func refusedRoute(text string) string {
	word, _, _ := strings.Cut(strings.TrimSpace(text), " ")
	switch word {
	case "unreachable", "prohibit", "blackhole":
		return word
	}
	return ""
}
