package trial

import (
	"slices"

	"github.com/netctl/netctl/conformance/protocol"
)

// Subject is a plugin in its place in a configuration list, or a whole list.
type Subject struct {
	Name     string // its type, or the list's name; unique in a run
	Type     string // of the plugin
	Kind     Kind
	Plugin   string   // path of the executable
	Path     []string // directories for CNI_PATH
	Conf     protocol.Conf
	Versions []string // what VERSION lists
	Delegate string   // type of the IPAM plugin it calls, or ""
	Env      map[string]string
	Uplink   string // name of the host's interface to the outside, or ""

	Members []*Subject // of a list, in order
}

// Supports reports whether the plugin lists the version.
func (s *Subject) Supports(version string) bool { return slices.Contains(s.Versions, version) }

// Latest is the newest released version the plugin lists.
func (s *Subject) Latest() string {
	for _, v := range slices.Backward(protocol.Versions()) {
		if s.Supports(v) {
			return v
		}
	}
	return s.Conf.String("cniVersion")
}

// Declares reports whether the configuration switches a capability on. An IPAM
// plugin is given the configuration of the plugin that delegates to it, whose
// other capabilities are not its own.
func (s *Subject) Declares(capability string) bool {
	if s.Kind == IPAM && !slices.Contains([]string{"ips", "ipRanges"}, capability) {
		return false
	}
	return s.Conf.Bool("capabilities." + capability)
}

// Fits reports whether a row of the given scope concerns the subject.
func (s *Subject) Fits(scope Kind) bool { return s.Kind&scope != 0 }
