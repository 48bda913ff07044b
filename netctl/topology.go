package netctl

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/netctl/netctl/netctl/network"
	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/store"
	"github.com/netctl/netctl/netctl/topology"
)

func topologyCommand(app *App) *cobra.Command {
	var svg, mermaid bool
	var output string
	cmd := &cobra.Command{
		Use:   "topology [OPTIONS]",
		Short: "Draw networks, containers, addresses and published ports",
		Example: `  netctl topology
  netctl topology --svg -o network.svg
  netctl topology --mermaid >>README.md`,
		Args:              args(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		GroupID:           groupNetworks,
		RunE: func(*cobra.Command, []string) error {
			if svg && mermaid {
				return usageError("--svg and --mermaid are two drawings: ask for one")
			}
			m, err := networkCommands{app}.model()
			if err != nil {
				return err
			}
			text := m.Tree()
			switch {
			case svg:
				text = m.SVG()
			case mermaid:
				text = m.Mermaid()
			}
			if output != "" {
				return writeWhole(output, func(w io.Writer) error { _, err := io.WriteString(w, text); return err })
			}
			_, err = fmt.Fprint(app.Stdout, text)
			return err
		},
	}
	cmd.Flags().BoolVar(&svg, "svg", false, "as a picture")
	cmd.Flags().BoolVar(&mermaid, "mermaid", false, "as a diagram for Markdown")
	cmd.Flags().StringVarP(&output, "output", "o", "", "file (default: standard output)")
	return cmd
}

// model gathers what is to be drawn: every network that somebody has made, and
// the predefined one if somebody uses it.
func (c networkCommands) model() (topology.Model, error) {
	host, err := os.Hostname()
	if err != nil {
		return topology.Model{}, err
	}
	m := topology.Model{Host: host}
	networks, listErr := c.store().List()
	users, err := c.users()
	if err != nil {
		return m, errors.Join(listErr, err)
	}
	records, err := store.Open(c.app.StateDir, c.app.DataDir).List()
	if err != nil {
		return m, errors.Join(listErr, err)
	}
	byID := map[string]runner.Container{}
	for _, rec := range records {
		byID[string(rec.Config.ID)] = rec
	}
	for _, n := range networks {
		if n.Name == network.Host || n.Name == network.None || n.List == nil && len(users[n.Name]) == 0 {
			continue
		}
		m.Networks = append(m.Networks, drawnNetwork(n, users[n.Name], byID))
	}
	m.Apart = drawnApart(records)
	return m, listErr
}

func drawnNetwork(n network.Network, users []user, byID map[string]runner.Container) topology.Network {
	// Whoever wrote the list chose these two.
	d := topology.Network{Name: n.Name, Driver: visibleLine(n.Driver), Device: visibleLine(n.Device), Internal: n.Internal}
	for _, s := range n.Subnets() {
		d.Subnets = append(d.Subnets, s.Prefix)
	}
	for _, u := range users {
		member := topology.Member{Container: cmp.Or(u.Name, shortID(u.ID, false)), Status: string(u.Status), Interface: u.IfName}
		for _, p := range u.Addresses {
			member.Addresses = append(member.Addresses, p.Addr())
		}
		if rec, ok := byID[u.ID]; ok {
			if a := rec.State.Network(n.Name); a != nil {
				member.Ports = drawnPorts(a.Ports)
			}
		}
		d.Members = append(d.Members, member)
	}
	return d
}

// drawnPorts are published ports, one for each: both families are one line.
func drawnPorts(ports []runner.PortSpec) []string {
	var list []string
	for _, p := range sortedPorts(ports) {
		at := strconv.Itoa(int(p.HostPort))
		if p.HostIP.IsValid() && !p.HostIP.IsUnspecified() {
			at = netip.AddrPortFrom(p.HostIP, p.HostPort).String()
		}
		list = append(list, fmt.Sprintf("%s -> %d/%s", at, p.ContainerPort, p.Protocol))
	}
	return list
}

// drawnApart are the containers without a network of their own.
func drawnApart(records []runner.Container) []topology.Apart {
	names := map[string]string{}
	for _, rec := range records {
		names[string(rec.Config.ID)] = rec.Name
	}
	var list []topology.Apart
	for _, rec := range records {
		a := topology.Apart{Container: rec.Name, Status: string(rec.State.Status)}
		switch rec.Network.Kind {
		case runner.NetworkAttached:
			continue
		case runner.NetworkContainer:
			a.Where = "container:" + cmp.Or(names[rec.Network.Target], shortID(rec.Network.Target, false))
		case runner.NetworkPath:
			a.Where = "container:" + rec.Network.Target
		default:
			a.Where = string(rec.Network.Kind)
		}
		list = append(list, a)
	}
	slices.SortFunc(list, func(a, b topology.Apart) int {
		return cmp.Or(strings.Compare(a.Where, b.Where), strings.Compare(a.Container, b.Container))
	})
	return list
}
