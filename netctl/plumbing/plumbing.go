// Package plumbing attaches containers to networks with the CNI plugins, in the
// process that calls it. It is what the runner knows of networking.
package plumbing

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/netctl/netctl/netctl/network"
	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/plugins"
)

// Plumbing implements runner.Networks.
type Plumbing struct {
	store *network.Store
	host  plugins.Host
}

// undo is what Detach needs of an attachment, kept by the runner: the list as
// it was at ADD, and what the list answered.
type undo struct {
	List         json.RawMessage `json:"list"`
	Result       json.RawMessage `json:"result"`
	Capabilities map[string]any  `json:"capabilities,omitempty"`
}

// Attach implements runner.Networks.
func (p Plumbing) Attach(ctx context.Context, container, netns string, endpoints []runner.Endpoint) ([]runner.Attached, error) {
	if len(endpoints) == 0 {
		endpoints = []runner.Endpoint{{Network: network.None, IfName: "lo"}}
	}
	var done []runner.Attached
	for _, e := range byPriority(endpoints) {
		a, err := p.attachOne(ctx, container, netns, e)
		if err != nil {
			return nil, errors.Join(err, p.Detach(context.WithoutCancel(ctx), container, netns, done))
		}
		done = append(done, a)
	}
	if err := p.Rank(ctx, netns, endpoints, done); err != nil {
		return nil, errors.Join(err, p.Detach(context.WithoutCancel(ctx), container, netns, done))
	}
	return done, nil
}

// attachOne attaches to one network. Where any free host port will do, another
// one is tried if somebody was faster.
func (p Plumbing) attachOne(ctx context.Context, container, netns string, e runner.Endpoint) (runner.Attached, error) {
	n, err := p.store.Load(e.Network)
	if err != nil {
		return runner.Attached{}, err
	}
	if n.List, err = withSysctls(n.List, e); err != nil {
		return runner.Attached{}, err
	}
	list, err := p.host.Parse(n.List)
	if err != nil {
		return runner.Attached{}, err
	}
	for try := 0; ; try++ {
		ports, err := choosePorts(withHostIP(e.Ports, n.HostIP()), try)
		if err != nil {
			return runner.Attached{}, err
		}
		call := callOf(container, netns, e, ports)
		result, err := list.Add(ctx, call)
		var failure *plugins.Error
		if errors.As(err, &failure) && failure.Code == plugins.CodePort && try < tries(e.Ports) {
			continue
		}
		if err != nil {
			return runner.Attached{}, inFlags(n.Name, err)
		}
		return attached(n, call, e, ports, result)
	}
}

// tries is how often another port may be chosen: 0 where each is given.
func tries(ports []runner.PortSpec) int {
	const anyPort = 16
	n := 0
	for _, p := range ports {
		switch {
		case p.HostPortEnd != 0:
			n = max(n, int(p.HostPortEnd)-int(p.HostPort)+1)
		case p.HostPort == 0:
			n = max(n, anyPort)
		}
	}
	return n
}

// callOf turns an endpoint into a plugin call.
func callOf(container, netns string, e runner.Endpoint, ports []runner.PortSpec) plugins.Call {
	capabilities := map[string]any{}
	set := func(name string, value any, present bool) {
		if present {
			capabilities[name] = value
		}
	}
	set("portMappings", portMappings(ports), len(ports) > 0)
	set("aliases", e.Names, len(e.Names) > 0)
	set("hostname", e.Host, e.Host != "")
	set("ips", e.IPs, len(e.IPs) > 0)
	set("mac", e.MAC, e.MAC != "")
	set("dns", map[string]any{"servers": e.DNS}, len(e.DNS) > 0)
	return plugins.Call{ContainerID: container, Netns: netns, IfName: e.IfName, Capabilities: capabilities}
}

// portMapping is an entry of the portMappings capability.
type portMapping struct {
	HostPort      uint16 `json:"hostPort"`
	ContainerPort uint16 `json:"containerPort"`
	Protocol      string `json:"protocol"`
	HostIP        string `json:"hostIP,omitempty"`
}

func portMappings(ports []runner.PortSpec) []portMapping {
	var result []portMapping
	for _, p := range ports {
		m := portMapping{HostPort: p.HostPort, ContainerPort: p.ContainerPort, Protocol: p.Protocol}
		if p.HostIP.IsValid() {
			m.HostIP = p.HostIP.String()
		}
		result = append(result, m)
	}
	return result
}

// attached tells the runner what an endpoint got.
func attached(n network.Network, call plugins.Call, e runner.Endpoint, ports []runner.PortSpec, result *plugins.Result) (runner.Attached, error) {
	a := runner.Attached{Network: n.Name, NetworkID: n.ID, IfName: e.IfName, Ports: ports}
	for _, link := range result.Interfaces {
		if link.Sandbox == call.Netns && link.Name == e.IfName {
			a.MAC = link.Mac
		}
	}
	for _, ip := range result.IPs {
		addr, _ := netip.AddrFromSlice(ip.Address.IP)
		ones, _ := ip.Address.Mask.Size()
		a.Addresses = append(a.Addresses, netip.PrefixFrom(addr.Unmap(), ones))
		gateway, _ := netip.AddrFromSlice(ip.Gateway)
		a.Gateways = append(a.Gateways, gateway.Unmap())
	}
	if n.Names {
		for _, server := range result.DNS.Nameservers {
			addr, err := netip.ParseAddr(server)
			if err != nil {
				return a, fmt.Errorf("network %s: name server %q in the result: %w", n.Name, server, err)
			}
			a.Resolver = append(a.Resolver, addr)
		}
		a.Search = result.DNS.Search
	}
	answer, err := json.Marshal(result)
	if err != nil {
		return a, fmt.Errorf("network %s: keep result: %w", n.Name, err)
	}
	a.Undo, err = json.Marshal(undo{List: n.List, Result: answer, Capabilities: call.Capabilities})
	return a, err
}

// Detach implements runner.Networks. It goes on after a failure.
func (p Plumbing) Detach(ctx context.Context, container, netns string, attached []runner.Attached) error {
	var failures []error
	for _, a := range slices.Backward(attached) {
		if err := p.detachOne(ctx, container, netns, a); err != nil {
			failures = append(failures, fmt.Errorf("detach from network %s: %w", a.Network, err))
		}
	}
	return errors.Join(failures...)
}

func (p Plumbing) detachOne(ctx context.Context, container, netns string, a runner.Attached) error {
	u, err := p.undoOf(a)
	var unknown *network.NotFoundError
	if errors.As(err, &unknown) {
		return nil // the network has gone, and with it every attachment
	}
	if err != nil {
		return err
	}
	if u.List == nil {
		return nil // the default network, which nobody has used yet
	}
	list, err := p.host.Parse(u.List)
	if err != nil {
		return err
	}
	result := new(plugins.Result)
	if json.Unmarshal(u.Result, result) != nil {
		result = nil // DEL does without
	}
	return list.Del(ctx, plugins.Call{ContainerID: container, Netns: netns, IfName: a.IfName, Capabilities: u.Capabilities}, result)
}

// Rename implements runner.Networks.
func (p Plumbing) Rename(ctx context.Context, container string, endpoints []runner.Endpoint) error {
	var failures []error
	for _, e := range endpoints {
		failures = append(failures, p.host.Rename(ctx, e.Network, container, e.IfName, e.Names))
	}
	return errors.Join(failures...)
}

// undoOf reads what Attach kept. A monitor that was killed during Attach kept
// nothing; then the network's list as it is now will do, because our plugins
// need no more than the names.
func (p Plumbing) undoOf(a runner.Attached) (undo, error) {
	var u undo
	if len(a.Undo) > 0 {
		if err := json.Unmarshal(a.Undo, &u); err != nil {
			return u, fmt.Errorf("record of the attachment: %w", err)
		}
		return u, nil
	}
	n, err := p.store.Find(a.Network)
	u.List = n.List
	return u, err
}

// RemoveNetwork takes away what the network's attachments shared: rules and
// bridge. It fails while there are attachments.
func (p Plumbing) RemoveNetwork(ctx context.Context, n network.Network) error {
	if n.List == nil {
		return nil
	}
	list, err := p.host.Parse(n.List)
	if err != nil {
		return err
	}
	return list.RemoveShared(ctx)
}

// Check compares an attachment with what Attach has made.
func (p Plumbing) Check(ctx context.Context, container, netns string, a runner.Attached) error {
	u, err := p.undoOf(a)
	if err != nil {
		return err
	}
	list, err := p.host.Parse(u.List)
	if err != nil {
		return err
	}
	result := new(plugins.Result)
	if err := json.Unmarshal(u.Result, result); err != nil {
		return fmt.Errorf("record of the attachment: %w", err)
	}
	return list.Check(ctx, plugins.Call{ContainerID: container, Netns: netns, IfName: a.IfName, Capabilities: u.Capabilities}, result)
}

// withHostIP gives published ports the host address that the network's options
// name, where -p names none.
func withHostIP(ports []runner.PortSpec, host netip.Addr) []runner.PortSpec {
	if !host.IsValid() || host.IsUnspecified() {
		return ports
	}
	out := append([]runner.PortSpec(nil), ports...)
	for i := range out {
		if !out[i].HostIP.IsValid() {
			out[i].HostIP = host
		}
	}
	return out
}
