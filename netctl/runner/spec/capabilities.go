package spec

import (
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/netctl/netctl/netctl/runner"
)

// defaultCapabilities are docker's fourteen.
func defaultCapabilities() []string {
	return []string{
		"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW",
		"CAP_SETGID", "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE",
		"CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
	}
}

// capabilities computes the sets. Nothing is inheritable or ambient, but for
// one case: a user other than root keeps the capabilities that were added by
// name, as in podman. Without ambient ones `--user 1000 --cap-add NET_ADMIN`
// would give nothing at all, which helps nobody who works on networks.
func capabilities(c *runner.Config, h Host) (*specs.LinuxCapabilities, error) {
	add, err := capabilityNames(c.CapAdd, h.Capabilities)
	if err != nil {
		return nil, err
	}
	drop, err := capabilityNames(c.CapDrop, h.Capabilities)
	if err != nil {
		return nil, err
	}
	for _, n := range add {
		if !slices.Contains(h.Bounding, n) {
			return nil, fmt.Errorf("--cap-add %s: netctl itself runs without this capability here", n)
		}
	}
	bounding := boundingSet(c, add, drop, h.Bounding)
	if h.User.UID == 0 {
		return &specs.LinuxCapabilities{Bounding: bounding, Permitted: bounding, Effective: bounding}, nil
	}
	kept := intersect(add, bounding)
	return &specs.LinuxCapabilities{
		Bounding: bounding, Permitted: kept, Effective: kept, Inheritable: kept, Ambient: kept,
	}, nil
}

// CapabilitiesFor are the sets of a further process of the same container that
// runs as another user: root has the bounding set, others nothing but what was
// ambient.
func CapabilitiesFor(c *specs.LinuxCapabilities, uid uint32) *specs.LinuxCapabilities {
	out := *c
	if uid == 0 {
		out.Permitted, out.Effective, out.Inheritable, out.Ambient = c.Bounding, c.Bounding, nil, nil
	} else {
		out.Permitted, out.Effective = c.Ambient, c.Ambient
	}
	return &out
}

// boundingSet applies additions and removals as docker does: ALL first, then
// what is named; dropping ALL and adding some leaves just those. ALL is all that we
// have.
func boundingSet(c *runner.Config, add, drop, ours []string) []string {
	set := defaultCapabilities()
	if hasAll(c.CapAdd) {
		set = ours
	}
	if hasAll(c.CapDrop) {
		set = nil
		if hasAll(c.CapAdd) {
			set = ours
		}
	}
	set = slices.DeleteFunc(slices.Clone(set), func(n string) bool { return slices.Contains(drop, n) })
	for _, n := range add {
		if !slices.Contains(set, n) {
			set = append(set, n)
		}
	}
	return intersect(set, ours)
}

// CheckCapability tells whether a name given by a user is one.
func CheckCapability(name string, known []string) error {
	_, err := capabilityNames([]string{name}, known)
	return err
}

// capabilityNames brings names into the kernel's spelling; ALL is left out.
func capabilityNames(names, known []string) ([]string, error) {
	var out []string
	for _, n := range names {
		if isAll(n) {
			continue
		}
		full := strings.ToUpper(n)
		if !strings.HasPrefix(full, "CAP_") {
			full = "CAP_" + full
		}
		if !slices.Contains(known, full) {
			return nil, fmt.Errorf("unknown capability %q (see capabilities(7); ALL means every one)", n)
		}
		out = append(out, full)
	}
	return out, nil
}

func hasAll(names []string) bool { return slices.ContainsFunc(names, isAll) }

func isAll(name string) bool {
	return strings.EqualFold(name, "ALL") || strings.EqualFold(name, "CAP_ALL")
}

func intersect(a, b []string) []string {
	out := []string{}
	for _, n := range a {
		if slices.Contains(b, n) {
			out = append(out, n)
		}
	}
	return out
}
