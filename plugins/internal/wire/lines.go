package wire

import (
	"fmt"
	"net/netip"
	"strings"
)

// Lines renders the kernel's part of a Wiring as the commands that a person
// would have typed: `ip` and `sysctl`, those inside the container with
// "ip -n CONTAINER" in front. The packet filter's part is package firewall's.
func (w Wiring) Lines() []string {
	var lines []string
	if b := w.Shared.Bridge; b != nil {
		lines = append(lines, b.lines()...)
	}
	if g := w.Shared.VLANGateway; g != nil {
		lines = append(lines, g.lines()...)
	}
	for _, s := range w.Shared.Sysctls {
		lines = append(lines, "sysctl -w "+s.String())
	}
	return append(lines, w.Owned.lines(w.Attachment.Container)...)
}

// String is the form of sysctl(8).
func (s Sysctl) String() string { return strings.ReplaceAll(s.Path, "/", ".") + "=" + s.Value }

func (b Bridge) lines() []string {
	add := "ip link add " + b.Name
	if b.MAC.IsValid() {
		add += " address " + b.MAC.String()
	}
	add += mtu(b.MTU) + " type bridge"
	if b.VLANs {
		add += " vlan_filtering 1"
	}
	lines := append([]string{add}, gatewayLines(b.Name, b.Gateways, b.ReplaceGateways)...)
	up := "ip link set " + b.Name + " up"
	if b.Promiscuous {
		up += " promisc on"
	}
	return append(lines, up)
}

func gatewayLines(dev string, gateways []netip.Prefix, replace bool) []string {
	verb := "add"
	if replace {
		verb = "replace"
	}
	var lines []string
	for _, g := range gateways {
		line := fmt.Sprintf("ip addr %s %s dev %s", verb, g, dev)
		if g.Addr().Is6() {
			line += " nodad"
		}
		lines = append(lines, line)
	}
	return lines
}

func (o Owned) lines(container string) []string {
	var lines []string
	if o.Loopback {
		lines = append(lines, "ip -n "+container+" link set lo up")
	}
	if o.Link != nil {
		lines = append(lines, o.linkLines(container)...)
	}
	lines = append(lines, o.guestLines()...)
	if o.Bandwidth != nil {
		lines = append(lines, o.Bandwidth.lines()...)
	}
	if o.Tuning != nil {
		lines = append(lines, o.Tuning.lines(container)...)
	}
	return lines
}

func (o Owned) linkLines(container string) []string {
	in, name := "ip -n "+container+" ", o.Link.ContainerName()
	lines := o.Link.lines(container)
	for _, s := range o.Sysctls {
		lines = append(lines, fmt.Sprintf("ip netns exec %s sysctl -w %s", container, s))
	}
	for _, a := range o.Addresses {
		add := fmt.Sprintf("%saddr add %s dev %s", in, a.Prefix, name)
		if a.Prefix.Addr().Is6() && !o.DetectDuplicates {
			add += " nodad"
		}
		lines = append(lines, add)
	}
	if o.Link.Up() {
		lines = append(lines, in+"link set "+name+" up")
	}
	for _, group := range Multipath(o.Routes) {
		lines = append(lines, in+routeLine(group, name))
	}
	return lines
}

func (v Veth) lines(container string) []string {
	add := fmt.Sprintf("ip link add %s%s up", v.Host, mtu(v.MTU))
	if v.Bridge != "" {
		add += " master " + v.Bridge
	}
	add += fmt.Sprintf(" type veth peer name %s netns %s%s", v.Container, container, mtu(v.MTU))
	if v.MAC.IsValid() {
		add += " address " + v.MAC.String()
	}
	lines := append([]string{add}, v.portLines()...)
	if v.OwnMACOnly {
		lines = append(lines,
			fmt.Sprintf("bridge fdb replace %s dev %s master static sticky", v.MAC, v.Host),
			"bridge link set dev "+v.Host+" learning off locked on")
	}
	return lines
}

// portLines set what a bridge port needs beyond its master.
func (v Veth) portLines() []string {
	var lines []string
	if v.Hairpin {
		lines = append(lines, "bridge link set dev "+v.Host+" hairpin on")
	}
	if v.Isolated {
		lines = append(lines, "bridge link set dev "+v.Host+" isolated on")
	}
	return append(lines, v.VLANs.lines(v.Host)...)
}

// guestLines make ports of links that are there.
func (o Owned) guestLines() []string {
	veth, _ := o.Link.(Veth)
	var lines []string
	for _, name := range o.Guests {
		lines = append(lines, fmt.Sprintf("ip link set %s master %s up", name, veth.Bridge))
		lines = append(lines, veth.GuestPort(name).portLines()...)
	}
	return lines
}

// Up implements Link.
func (v Veth) Up() bool { return !v.Down }

func mtu(bytes int) string {
	switch bytes {
	case 0:
		return ""
	case EgressMTU:
		return " mtu DEFAULT-ROUTE-MTU"
	}
	return fmt.Sprintf(" mtu %d", bytes)
}
