package netctl

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/netctl/netctl/netctl/runner"
)

// A modeRule is a flag and the kinds of network it makes no sense with.
type modeRule struct {
	flag  string
	given bool
	not   []runner.NetworkKind
}

// checkMode refuses flags that contradict the kind of network, as docker does,
// and warns where docker only warns or says nothing.
func (f *containerFlags) checkMode(kind runner.NetworkKind, warnings io.Writer) error {
	const (
		host   = runner.NetworkHost
		none   = runner.NetworkNone
		joined = runner.NetworkContainer
		path   = runner.NetworkPath
	)
	ports := len(f.publish) > 0 || f.publishAll
	for _, r := range []modeRule{
		{"--publish", ports, []runner.NetworkKind{joined, path}},
		{"--expose", len(f.expose) > 0, []runner.NetworkKind{joined}},
		{"--hostname", f.hostname != "", []runner.NetworkKind{joined}},
		{"--dns", len(f.dns)+len(f.dnsSearch)+len(f.dnsOptions) > 0, []runner.NetworkKind{joined}},
		{"--add-host", len(f.hosts) > 0, []runner.NetworkKind{joined}},
		{"--ip", f.ip != "", []runner.NetworkKind{host, none, joined, path}},
		{"--ip6", f.ip6 != "", []runner.NetworkKind{host, none, joined, path}},
		{"--mac-address", f.mac != "", []runner.NetworkKind{host, none, joined, path}},
		{"--network-alias", len(f.aliases) > 0, []runner.NetworkKind{host, none, joined, path}},
	} {
		if r.given && slices.Contains(r.not, kind) {
			return usageError("%s can't be combined with --network %s", r.flag, kind)
		}
	}
	if ports && kind == host {
		fmt.Fprintln(warnings, "Warning: published ports are discarded when using host network mode")
	}
	if ports && kind == none {
		fmt.Fprintln(warnings, "Warning: published ports are discarded: the container has no network")
	}
	if kind == host && addsCapability(f.capAdd, "NET_ADMIN") {
		fmt.Fprintln(warnings, "Warning: with NET_ADMIN on the host's network the container can change the host's network")
	}
	return nil
}

func addsCapability(names []string, wanted string) bool {
	return slices.ContainsFunc(names, func(n string) bool {
		n = strings.TrimPrefix(strings.ToUpper(n), "CAP_")
		return n == wanted || n == "ALL"
	})
}
