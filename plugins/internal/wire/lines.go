package wire

import (
	"fmt"
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
	lines := []string{add + mtu(b.MTU) + " type bridge"}
	verb := "add"
	if b.ReplaceGateways {
		verb = "replace"
	}
	for _, g := range b.Gateways {
		lines = append(lines, fmt.Sprintf("ip addr %s %s dev %s", verb, g, b.Name))
	}
	up := "ip link set " + b.Name + " up"
	if b.Promiscuous {
		up += " promisc on"
	}
	return append(lines, up)
}

func (o Owned) lines(container string) []string {
	in := "ip -n " + container + " "
	var lines []string
	if o.Loopback {
		lines = append(lines, in+"link set lo up")
	}
	if o.Link == nil {
		return lines
	}
	name := o.Link.ContainerName()
	lines = append(lines, o.Link.lines(container)...)
	for _, s := range o.Sysctls {
		lines = append(lines, fmt.Sprintf("ip netns exec %s sysctl -w %s", container, s))
	}
	for _, a := range o.Addresses {
		lines = append(lines, fmt.Sprintf("%saddr add %s dev %s", in, a.Prefix, name))
	}
	if o.Link.Up() {
		lines = append(lines, in+"link set "+name+" up")
	}
	for _, r := range o.Routes {
		lines = append(lines, in+r.line(name))
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
	lines := []string{add}
	if v.Hairpin {
		lines = append(lines, "bridge link set dev "+v.Host+" hairpin on")
	}
	if v.Isolated {
		lines = append(lines, "bridge link set dev "+v.Host+" isolated on")
	}
	return lines
}

// Up implements Link.
func (v Veth) Up() bool { return !v.Down }

func (r Route) line(dev string) string {
	line := "route append " + r.To.String()
	if r.Via.IsValid() {
		line += " via " + r.Via.String()
	}
	line += " dev " + dev
	for _, option := range []struct {
		name  string
		value int
	}{{"metric", r.Metric}, {"table", r.Table}, {"mtu", r.MTU}, {"advmss", r.AdvMSS}} {
		if option.value != 0 {
			line += fmt.Sprintf(" %s %d", option.name, option.value)
		}
	}
	if r.Scope != nil {
		line += fmt.Sprintf(" scope %d", *r.Scope)
	}
	return line
}

func mtu(bytes int) string {
	if bytes == 0 {
		return ""
	}
	return fmt.Sprintf(" mtu %d", bytes)
}
