package netctl

import (
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/netctl/netctl/netctl/network"
)

// networkRow is what `network ls --format` knows. The first four columns are
// docker's, in docker's order: scripts count on it.
type networkRow struct {
	ID        string `header:"NETWORK ID"`
	Name      string
	Driver    string
	Scope     string
	Subnet    string
	IPv4      string
	IPv6      string
	Internal  string
	Labels    string
	CreatedAt string `header:"CREATED AT"`

	labels map[string]string
}

// Label is the value of one label.
func (r networkRow) Label(name string) string { return r.labels[name] }

func newNetworkRow(n network.Network, fullID bool) networkRow {
	row := networkRow{
		ID: shortID(n.ID, fullID), Name: n.Name, Driver: n.Driver, Scope: "local",
		IPv4: strconv.FormatBool(n.HasFamily(true)), IPv6: strconv.FormatBool(n.HasFamily(false)),
		Internal: strconv.FormatBool(n.Internal), Labels: labelText(n.Labels), labels: n.Labels,
	}
	var subnets []string
	for _, s := range n.Subnets() {
		subnets = append(subnets, s.Prefix.String())
	}
	row.Subnet = strings.Join(subnets, ", ")
	if !n.Created.IsZero() {
		row.CreatedAt = n.Created.Local().Format("2006-01-02 15:04:05 -0700 MST")
	}
	return row
}

func (c networkCommands) list() *cobra.Command {
	l := listing{Columns: []string{"ID", "Name", "Driver", "Scope", "Subnet"}}
	var pairs []string
	var full bool
	cmd := &cobra.Command{
		Use:               "ls [OPTIONS]",
		Aliases:           []string{"list"},
		Short:             "List networks",
		Args:              args(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			networks, err := c.filtered(pairs)
			if err != nil {
				return err
			}
			var rows []networkRow
			for _, n := range networks {
				rows = append(rows, newNetworkRow(n, full))
			}
			return show(c.app.Stdout, l, rows)
		},
	}
	cmd.Flags().StringArrayVarP(&pairs, "filter", "f", nil, "show only some, as KEY=VALUE: "+strings.Join(networkFilters(), ", "))
	cmd.Flags().BoolVar(&full, "no-trunc", false, "show IDs in full")
	listingFlags(cmd.Flags(), &l)
	c.completeFilter(cmd, networkFilters())
	return cmd
}

func networkFilters() []string {
	return []string{"dangling", "driver", "id", "label", "label!", "name", "scope", "type", "until"}
}

// filtered gives the networks that satisfy the conditions.
func (c networkCommands) filtered(pairs []string) ([]network.Network, error) {
	f, err := parseFilters(pairs, networkFilters()...)
	if err != nil {
		return nil, err
	}
	until, err := f.before("until", time.Now())
	if err != nil {
		return nil, err
	}
	unused, err := c.unusedWanted(f)
	if err != nil {
		return nil, err
	}
	networks, err := c.store().List()
	if err != nil {
		return nil, err
	}
	var chosen []network.Network
	for _, n := range networks {
		if f.labels(n.Labels) && f.equals("driver", n.Driver) && f.contains("id", n.ID) &&
			f.contains("name", n.Name) && f.equals("scope", "local") && f.equals("type", networkType(n)) &&
			(until.IsZero() || !n.Created.IsZero() && n.Created.Before(until)) && unused(n) {
			chosen = append(chosen, n)
		}
	}
	return chosen, nil
}

func networkType(n network.Network) string {
	if n.Predefined() {
		return "builtin"
	}
	return "custom"
}

// unusedWanted reads the filter "dangling": true wants networks that no
// container is attached to or configured for, false the others.
func (c networkCommands) unusedWanted(f filters) (func(network.Network) bool, error) {
	values, given := f["dangling"]
	if !given {
		return func(network.Network) bool { return true }, nil
	}
	want := map[bool]bool{}
	for _, v := range values {
		b, err := strconv.ParseBool(v)
		if err != nil {
			return nil, usageError("invalid filter dangling=%s: want true or false", v)
		}
		want[b] = true
	}
	users, err := c.users()
	if err != nil {
		return nil, err
	}
	return func(n network.Network) bool {
		return want[!n.Predefined() && len(users[n.Name]) == 0]
	}, nil
}
