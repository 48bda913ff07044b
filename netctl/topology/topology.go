// Package topology draws networks and the containers on them: as a tree for
// the terminal, as an SVG picture, and as a Mermaid diagram. It draws a Model
// and looks at nothing else, so the same Model always gives the same drawing.
package topology

import (
	"fmt"
	"net/netip"
	"strings"
)

// Model is what is drawn.
type Model struct {
	Host     string // the host's name
	Networks []Network
	// Apart are containers without a network of their own.
	Apart []Apart
}

// Network is a network with what is attached to it.
type Network struct {
	Name, Driver string
	Device       string // the bridge or parent interface, or ""
	Subnets      []netip.Prefix
	Internal     bool
	Members      []Member
}

// Member is a container on a network. One that does not run has no addresses.
type Member struct {
	Container string
	Status    string // a word of docker's; "" for another runtime's
	Interface string
	Addresses []netip.Addr
	Ports     []string // published, as "8080 -> 80/tcp"
}

// Apart is a container that uses the host's network, another container's, or
// none.
type Apart struct {
	Container, Status string
	// Where is "host", "none", or "container:NAME".
	Where string
}

// title is a network in one line.
func (n Network) title() string {
	words := []string{n.Name, n.Driver}
	if n.Device != "" && n.Device != n.Name {
		words = append(words, n.Device)
	}
	for _, s := range n.Subnets {
		words = append(words, s.String())
	}
	if n.Internal {
		words = append(words, "internal")
	}
	return strings.Join(words, "  ")
}

func (m Member) running() bool { return m.Status == "running" || m.Status == "" }

// place is where the container is on the network.
func (m Member) place() string {
	words := []string{}
	if m.Interface != "" {
		words = append(words, m.Interface)
	}
	for _, a := range m.Addresses {
		words = append(words, a.String())
	}
	return strings.Join(words, " ")
}

// Tree is the drawing for a terminal.
func (m Model) Tree() string {
	var groups []group
	for _, n := range m.Networks {
		g := group{title: n.title()}
		width := 0
		for _, member := range n.Members {
			width = max(width, len(member.label()))
		}
		for _, member := range n.Members {
			line := fmt.Sprintf("%-*s  %s", width, member.label(), member.place())
			if len(member.Ports) > 0 {
				line += "  " + strings.Join(member.Ports, ", ")
			}
			g.lines = append(g.lines, strings.TrimRight(line, " "))
		}
		groups = append(groups, g)
	}
	groups = append(groups, m.apartGroups()...)
	var out strings.Builder
	fmt.Fprintln(&out, m.Host)
	for i, g := range groups {
		g.write(&out, i == len(groups)-1)
	}
	return out.String()
}

// label is the name, and what is to be said unless it runs.
func (m Member) label() string {
	if m.running() {
		return m.Container
	}
	return m.Container + " (" + m.Status + ")"
}

// apartGroups are the containers without a network of their own, by where they
// are.
func (m Model) apartGroups() []group {
	var groups []group
	for _, a := range m.Apart {
		title := map[string]string{"host": "the host's network", "none": "no network"}[a.Where]
		if title == "" {
			title = "the network of " + strings.TrimPrefix(a.Where, "container:")
		}
		if len(groups) == 0 || groups[len(groups)-1].title != title {
			groups = append(groups, group{title: title})
		}
		last := &groups[len(groups)-1]
		last.lines = append(last.lines, Member{Container: a.Container, Status: a.Status}.label())
	}
	return groups
}

// group is a branch of the tree.
type group struct {
	title string
	lines []string
}

func (g group) write(out *strings.Builder, last bool) {
	branch, below := "├─ ", "│  "
	if last {
		branch, below = "└─ ", "   "
	}
	fmt.Fprintln(out, branch+g.title)
	for i, line := range g.lines {
		twig := "├─ "
		if i == len(g.lines)-1 {
			twig = "└─ "
		}
		fmt.Fprintln(out, below+twig+line)
	}
}

// containers are the names of all containers on networks, in the order in
// which they first appear, with their ports and status.
func (m Model) containers() []Member {
	var list []Member
	index := map[string]int{}
	for _, n := range m.Networks {
		for _, member := range n.Members {
			i, ok := index[member.Container]
			if !ok {
				i = len(list)
				index[member.Container] = i
				list = append(list, Member{Container: member.Container, Status: member.Status})
			}
			list[i].Ports = append(list[i].Ports, member.Ports...)
		}
	}
	return list
}
