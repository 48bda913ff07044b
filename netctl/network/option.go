package network

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// settings are the options of -o, read.
type settings struct {
	device     string
	mtu        int // bytes; 0: the kernel's default
	isolate    bool
	noPeers    bool // containers of the network can't reach each other
	noMasq     bool
	noDefault  bool       // no default route
	metric     int        // of the default route; 0: the kernel's choice
	mode       string     // macvlan
	hostIP     netip.Addr // where ports are published by default
	ifNameHead string     // interface names in the container: eth gives eth0
	poolBits   int        // overlay
	ruleSettings
}

// An option is a key of -o: podman's short name or docker's long one.
type option struct {
	names []string
	set   func(*settings, string) error
}

var (
	optMTU = option{[]string{"mtu", "com.docker.network.driver.mtu"},
		func(s *settings, v string) (err error) { s.mtu, err = parseInt(v, 68, 65535); return }}
	optIsolate = option{[]string{"isolate"},
		func(s *settings, v string) (err error) { s.isolate, err = parseBool(v); return }}
	optNoDefault = option{[]string{"no_default_route"},
		func(s *settings, v string) (err error) { s.noDefault, err = parseBool(v); return }}
	optMetric = option{[]string{"metric"},
		func(s *settings, v string) (err error) { s.metric, err = parseInt(v, 1, 1<<31-1); return }}
	optPeers = option{[]string{"com.docker.network.bridge.enable_icc"},
		func(s *settings, v string) error { on, err := parseBool(v); s.noPeers = !on; return err }}
	optMasquerade = option{[]string{"com.docker.network.bridge.enable_ip_masquerade"},
		func(s *settings, v string) error { on, err := parseBool(v); s.noMasq = !on; return err }}
	optHostIP = option{[]string{"com.docker.network.bridge.host_binding_ipv4"},
		func(s *settings, v string) error { return setHostIP(s, v) }}
	optIfPrefix = option{[]string{"com.docker.network.container_iface_prefix"},
		func(s *settings, v string) error { s.ifNameHead = v; return checkInterfaceName(v + "00") }}
	optBridge = option{[]string{"com.docker.network.bridge.name"},
		func(s *settings, v string) error { s.device = v; return checkInterfaceName(v) }}
	optParent = option{[]string{"parent"},
		func(s *settings, v string) error { s.device = v; return checkInterfaceName(v) }}
	optMacvlanMode = option{[]string{"mode", "macvlan_mode"},
		func(s *settings, v string) error {
			s.mode = v
			return oneOf(v, "bridge", "private", "vepa", "passthru")
		}}
)

// Options gives the -o keys a driver understands, sorted.
func Options(driver string) []string {
	d, err := driverNamed(driver)
	if err != nil {
		return nil
	}
	return d.optionNames()
}

func (d driver) optionNames() []string {
	var names []string
	for _, o := range d.options {
		names = append(names, o.names...)
	}
	slices.Sort(names)
	return names
}

// parseOptions refuses what the driver doesn't know: an option that is silently
// ignored is worse than none.
func (d driver) parseOptions(given map[string]string) (settings, error) {
	var s settings
	for _, key := range sortedKeys(given) {
		known := func(o option) bool { return slices.Contains(o.names, key) }
		i := slices.IndexFunc(d.options, known)
		if i < 0 {
			return settings{}, fmt.Errorf("unknown option %s for driver %s (known: %s)",
				key, d.name, strings.Join(d.optionNames(), ", "))
		}
		if err := d.options[i].set(&s, given[key]); err != nil {
			return settings{}, fmt.Errorf("option %s: %w", key, err)
		}
	}
	return s, nil
}

func setHostIP(s *settings, v string) error {
	addr, err := netip.ParseAddr(v)
	if err != nil || !addr.Is4() {
		return fmt.Errorf("invalid value %q: want an IPv4 address", v)
	}
	s.hostIP = addr
	return nil
}

func parseBool(v string) (bool, error) {
	b, err := strconv.ParseBool(v)
	if err != nil {
		return false, fmt.Errorf("invalid value %q: want true or false", v)
	}
	return b, nil
}

func parseInt(v string, low, high int) (int, error) {
	n, err := strconv.Atoi(v)
	if err != nil || n < low || n > high {
		return 0, fmt.Errorf("invalid value %q: want a number from %d to %d", v, low, high)
	}
	return n, nil
}

func oneOf(v string, values ...string) error {
	if !slices.Contains(values, v) {
		return fmt.Errorf("invalid value %q: want %s", v, strings.Join(values, ", "))
	}
	return nil
}

// settings reads the network's own options again; those of another tool's list
// are none of ours.
func (n Network) settings() settings {
	d, err := driverNamed(n.Driver)
	if err != nil {
		return settings{}
	}
	s, err := d.parseOptions(n.Options)
	if err != nil {
		return settings{}
	}
	return s
}

// HostIP is the host address on which ports of the network's containers are
// published unless -p says otherwise. The zero Addr stands for all.
func (n Network) HostIP() netip.Addr { return n.settings().hostIP }

// InterfacePrefix is what the names of the containers' interfaces begin with.
func (n Network) InterfacePrefix() string {
	if head := n.settings().ifNameHead; head != "" {
		return head
	}
	return "eth"
}
