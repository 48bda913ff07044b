package netctl

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/netctl/netctl/netctl/network"
	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/spec"
)

// fillNetwork reads everything about networks and names.
func (c containers) fillNetwork(f *containerFlags) func(*runner.Config) error {
	return func(cfg *runner.Config) error {
		if err := f.fillPorts(cfg); err != nil {
			return err
		}
		if err := c.fillMode(f, cfg); err != nil {
			return err
		}
		if err := f.checkMode(cfg.Network.Kind, c.app.Stderr); err != nil {
			return err
		}
		if cfg.Network.Kind == runner.NetworkAttached {
			if err := f.fillEndpoints(cfg); err != nil {
				return err
			}
			c.warnUnreached(cfg.Endpoints[0])
		}
		if err := f.fillNames(cfg); err != nil {
			return err
		}
		return f.fillSysctls(cfg)
	}
}

// fillMode finds out what kind of network is meant, and which.
func (c containers) fillMode(f *containerFlags, cfg *runner.Config) error {
	wishes := f.networks
	if len(wishes) == 0 {
		wishes = []string{network.Default}
	}
	for _, text := range wishes {
		e, special, err := parseNetwork(text)
		if err != nil {
			return usageError("--network %s: %w", text, err)
		}
		if special.Kind != "" {
			if len(wishes) > 1 {
				return usageError("--network %s: can't be combined with other networks", text)
			}
			return c.joinMode(special, cfg)
		}
		n, err := networkCommands(c).store().Find(e.Network)
		if err != nil {
			return c.networkFailure(err)
		}
		if slices.ContainsFunc(cfg.Endpoints, func(o runner.Endpoint) bool { return o.Network == n.Name }) {
			return usageError("network %s is specified multiple times", n.Name)
		}
		e.Network, e.IfPrefix = n.Name, n.InterfacePrefix()
		cfg.Endpoints = append(cfg.Endpoints, e)
	}
	cfg.Network.Kind = runner.NetworkAttached
	return nil
}

// networkFailure: a mistake in run's flags is status 125, with the hint that
// the network commands give.
func (c containers) networkFailure(err error) error {
	err = networkError(err)
	var own *Error
	if errors.As(err, &own) {
		own.Status = ExitUsage
	}
	return err
}

// joinMode sets a mode that is not a network. Who joins a container has its
// host name, and if that one has itself joined another, the other's namespace.
func (c containers) joinMode(m runner.NetworkMode, cfg *runner.Config) error {
	cfg.Network = m
	switch m.Kind {
	case runner.NetworkContainer:
		other, err := c.all().Find(context.Background(), m.Target)
		if err != nil {
			return &Error{Status: ExitUsage, Err: fmt.Errorf("--network container:%s: %w", m.Target, err)}
		}
		cfg.Network.Target = string(other.Config.ID)
		if other.Network.Kind == runner.NetworkContainer {
			cfg.Network = other.Network
		}
		if cfg.Hostname == "" {
			cfg.Hostname = other.Hostname
		}
	case runner.NetworkPath:
		if _, err := os.Stat(m.Target); err != nil || !filepath.IsAbs(m.Target) {
			return usageError("--network ns:%s: want the path of a network namespace", m.Target)
		}
	}
	return nil
}

// parseNetwork reads one --network: a special mode, or a network in docker's
// long form (name=NAME,alias=...,ip=...), podman's (NAME:ip=...,mac=...) or
// just its name.
func parseNetwork(text string) (runner.Endpoint, runner.NetworkMode, error) {
	var none runner.NetworkMode
	switch kind, target, _ := strings.Cut(text, ":"); {
	case text == "host", text == "none":
		return runner.Endpoint{}, runner.NetworkMode{Kind: runner.NetworkKind(text)}, nil
	case kind == "container", kind == "ns":
		if target == "" {
			return runner.Endpoint{}, none, fmt.Errorf("want %s: and a name", kind)
		}
		return runner.Endpoint{}, runner.NetworkMode{Kind: runner.NetworkKind(kind), Target: target}, nil
	}
	switch kind, _, _ := strings.Cut(text, ":"); kind {
	case "default", "private": // docker's and podman's words for it
		text = network.Default + strings.TrimPrefix(text, kind)
	case "pasta", "slirp4netns":
		return runner.Endpoint{}, none, fmt.Errorf("%s is for podman without root; without --network it is the default network", kind)
	}
	name, options, _ := strings.Cut(text, ":")
	if strings.Contains(name, "=") { // docker's; a colon is part of an address
		name, options = "", text
	}
	e := runner.Endpoint{Network: name}
	if options == "" {
		return e, none, nil
	}
	fields, err := csv.NewReader(strings.NewReader(options)).Read()
	if err != nil {
		return e, none, err
	}
	for _, field := range fields {
		if err := readNetworkOption(&e, field); err != nil {
			return e, none, err
		}
	}
	if e.Network == "" {
		return e, none, errors.New("name= is missing")
	}
	return e, none, nil
}

func readNetworkOption(e *runner.Endpoint, field string) error {
	key, value, given := strings.Cut(field, "=")
	if !given || value == "" {
		return fmt.Errorf("%q: want KEY=VALUE", field)
	}
	switch strings.ToLower(key) {
	case "name":
		e.Network = value // its case is kept, unlike in docker (docker/cli#7317)
	case "alias":
		e.Aliases = append(e.Aliases, value)
	case "ip", "ip6":
		return addIP(e, value, key == "ip6")
	case "mac", "mac-address":
		return setMAC(e, value)
	case "interface_name":
		if len(value) > 15 || strings.ContainsAny(value, "/ ") {
			return fmt.Errorf("invalid interface name %q: at most 15 characters", value)
		}
		e.IfName = value
	case "gw-priority":
		priority, err := strconv.Atoi(value)
		if err != nil {
			return fmt.Errorf("invalid gw-priority %q: want a number", value)
		}
		e.Priority = priority
	case "driver-opt":
		return readDriverOption(e, value)
	default:
		return fmt.Errorf("option %q is not supported (known: alias, driver-opt, gw-priority, interface_name, ip, ip6, mac-address)", key)
	}
	return nil
}

// addIP adds an address to ask for. podman's ip= takes both families.
func addIP(e *runner.Endpoint, text string, six bool) error {
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" {
		return fmt.Errorf("invalid IP address: %s", text)
	}
	if six && !a.Is6() {
		return fmt.Errorf("invalid IPv6 address: %s", text)
	}
	if slices.ContainsFunc(e.IPs, func(o netip.Addr) bool { return o.Is4() == a.Is4() }) {
		return fmt.Errorf("a second address of the same family: %s", text)
	}
	e.IPs = append(e.IPs, a)
	return nil
}

func setMAC(e *runner.Endpoint, text string) error {
	hw, err := net.ParseMAC(text)
	if err != nil || len(hw) != 6 || hw[0]&1 != 0 || hw.String() == "00:00:00:00:00:00" {
		return fmt.Errorf("invalid MAC address %s: want six bytes of a unicast address", text)
	}
	e.MAC = hw.String()
	return nil
}

// fillEndpoints applies the flags that are not part of --network.
func (f *containerFlags) fillEndpoints(cfg *runner.Config) error {
	if len(cfg.Endpoints) > 1 && f.ip+f.ip6+f.mac != "" {
		return usageError("--ip, --ip6 and --mac-address don't say which network is meant: use --network name=NETWORK,ip=ADDRESS")
	}
	first := &cfg.Endpoints[0]
	for _, a := range []struct {
		flag, text string
		set        func() error
	}{
		{"--ip", f.ip, func() error { return addIP(first, f.ip, false) }},
		{"--ip6", f.ip6, func() error { return addIP(first, f.ip6, true) }},
		{"--mac-address", f.mac, func() error { return setMAC(first, f.mac) }},
	} {
		if a.text == "" {
			continue
		}
		if err := a.set(); err != nil {
			return usageError("%s: %w", a.flag, err)
		}
	}
	servers, err := parseAll(f.dns, parseAddr)
	if err != nil {
		return usageError("--dns: %w", err)
	}
	for i := range cfg.Endpoints {
		e := &cfg.Endpoints[i]
		e.Aliases = append(e.Aliases, f.aliases...)
		e.DNS = servers
	}
	if err := runner.NameInterfaces(cfg.Endpoints); err != nil {
		return usageError("--network: %w", err)
	}
	first.Ports = append(first.Ports, publishOf(f, cfg.Exposed)...)
	return nil
}

// warnUnreached says so where a port is published on a host address of a family that
// the network does not have: docker's proxy would translate, rules can't.
func (c containers) warnUnreached(e runner.Endpoint) {
	for _, p := range e.Ports {
		if !p.HostIP.IsValid() {
			continue
		}
		n, err := networkCommands(c).store().Find(e.Network)
		if err != nil || len(n.Subnets()) == 0 || n.HasFamily(p.HostIP.Is4()) {
			continue
		}
		lacks := "IPv6"
		if p.HostIP.Is4() {
			lacks = "IPv4"
		}
		fmt.Fprintf(c.app.Stderr, "Warning: nobody will answer on %s: network %s has no %s\n", hostAddress(p), n.Name, lacks)
	}
}

// fillPorts reads -p and --expose before anything else, so that a mistake in
// them is found whatever the network.
func (f *containerFlags) fillPorts(cfg *runner.Config) error {
	for _, text := range f.publish {
		if _, err := parsePublish(text); err != nil {
			return usageError("--publish %s: %w", text, err)
		}
	}
	var exposed []exposedRange
	for _, text := range f.expose {
		r, err := parseExposed(text)
		if err != nil {
			return usageError("--expose %s: %w", text, err)
		}
		exposed = append(exposed, r)
	}
	for _, text := range f.defaults.exposed {
		r, err := parseExposed(text)
		if err != nil {
			return fmt.Errorf("image %s: exposed port %s: %w", cfg.Image, text, err)
		}
		exposed = append(exposed, r)
	}
	cfg.Exposed = portsOf(exposed)
	return nil
}

// publishOf is what is published: -p, and with -P all exposed ports that -p
// doesn't name. fillPorts has seen that all can be read.
func publishOf(f *containerFlags, exposed []runner.PortSpec) []runner.PortSpec {
	var ports []runner.PortSpec
	for _, text := range f.publish {
		p, _ := parsePublish(text)
		ports = append(ports, p...)
	}
	if !f.publishAll {
		return ports
	}
	type inside struct {
		protocol string
		port     uint16
	}
	named := map[inside]bool{}
	for _, p := range ports {
		named[inside{p.Protocol, p.ContainerPort}] = true
	}
	for _, e := range exposed {
		if !named[inside{e.Protocol, e.ContainerPort}] {
			ports = append(ports, e)
		}
	}
	return ports
}

func (f *containerFlags) fillNames(cfg *runner.Config) error {
	var err error
	if cfg.Names.Servers, err = parseAll(f.dns, parseAddr); err != nil {
		return usageError("--dns: %w", err)
	}
	cfg.Names.Search, cfg.Names.Options = f.dnsSearch, f.dnsOptions
	for _, text := range f.hosts {
		h, err := parseAddHost(text)
		if err != nil {
			return usageError("--add-host %s: %w", text, err)
		}
		cfg.Names.Hosts = append(cfg.Names.Hosts, h...)
	}
	if err := f.checkNames(); err != nil {
		return err
	}
	if cfg.Network.Kind == runner.NetworkHost && cfg.Hostname == "" {
		cfg.Hostname, err = os.Hostname()
	}
	return err
}

// checkNames: they become words of /etc/hosts and /etc/resolv.conf, and names for others.
func (f *containerFlags) checkNames() error {
	for _, n := range []struct{ flag, text string }{{"--hostname", f.hostname}, {"--domainname", f.domainname}} {
		switch {
		case len(n.text) > 64: // sethostname(2), setdomainname(2)
			return usageError("%s %s: longer than 64 characters", n.flag, n.text)
		case n.text != "" && !hostName.MatchString(n.text):
			return usageError("%s %q: want letters, digits, '.', '-' and '_', beginning with a letter or digit", n.flag, n.text)
		}
	}
	for _, list := range []struct {
		flag  string
		texts []string
	}{{"--dns-search", f.dnsSearch}, {"--dns-option", f.dnsOptions}} {
		for _, text := range list.texts {
			if text == "" || strings.ContainsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) || r == '#' || r == ';' }) {
				return usageError("%s %q: want one word of resolv.conf", list.flag, text)
			}
		}
	}
	return nil
}

var hostName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)

// parseAddHost reads NAME:ADDRESS or NAME=ADDRESS, podman's NAME;NAME:ADDRESS,
// and host-gateway in place of an address, which becomes the zero Addr.
func parseAddHost(text string) ([]runner.HostName, error) {
	i := strings.IndexAny(text, ":=")
	if i <= 0 {
		return nil, errors.New("want NAME:ADDRESS")
	}
	names, address := text[:i], text[i+1:]
	var addr netip.Addr
	if address != "host-gateway" {
		var err error
		if addr, err = netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(address, "["), "]")); err != nil {
			return nil, fmt.Errorf("invalid IP address: %s", address)
		}
	}
	var out []runner.HostName
	for name := range strings.SplitSeq(names, ";") {
		if name == "" || strings.ContainsAny(name, " \t\n#") {
			return nil, fmt.Errorf("invalid host name %q", name)
		}
		out = append(out, runner.HostName{Name: name, Addr: addr})
	}
	return out, nil
}

func (f *containerFlags) fillSysctls(cfg *runner.Config) error {
	var err error
	if cfg.Sysctls, err = keyValues("--sysctl", f.sysctls, false); err != nil {
		return err
	}
	for name := range cfg.Sysctls {
		if err := spec.CheckSysctl(name, cfg.Network); err != nil {
			return usageError("%w", err)
		}
	}
	return nil
}
