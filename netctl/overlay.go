package netctl

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/netctl/netctl/netctl/network"
	"github.com/netctl/netctl/plugins/overlay/control"
)

func isOverlay(driver string) bool { return driver == "overlay" || driver == "vxlan" }

// overlayError adds what to do where nobody answers.
func overlayError(err error) error {
	if errors.Is(err, control.ErrNotRunning) {
		return &Error{Status: ExitFailed, Err: err, Hint: "start overlayd on this host; docs/overlay.md says how"}
	}
	return err
}

func (a *App) overlayd() *control.Client { return control.Dial(a.StateDir) }

// createOverlay has the network made for all hosts. It is written to each
// host's directory by the overlayd there; this one's is there when the command
// returns.
func (c networkCommands) createOverlay(ctx context.Context, request network.Request, ignore bool) error {
	planned, err := c.store().Plan(request)
	var exists *network.ExistsError
	if errors.As(err, &exists) && ignore {
		return c.printID(exists.Network, sameAs(exists.Network, request))
	}
	if err != nil {
		return networkError(err)
	}
	wanted := control.CreateNetwork{Name: request.Name, Definition: planned.List}
	for _, s := range planned.Subnets() {
		wanted.Ranges = append(wanted.Ranges, s.Prefix)
	}
	bits, _ := strconv.Atoi(request.Options[network.OptionPoolBits]) // the driver has checked it
	for _, r := range wanted.Ranges {
		if r.Addr().Is4() {
			wanted.PoolBits4 = bits
		} else if bits > 32 || wanted.PoolBits4 == 0 {
			wanted.PoolBits6 = bits
		}
	}
	isolate, given := request.Options["isolate"]
	on, err := strconv.ParseBool(isolate)
	wanted.Open = given && err == nil && !on
	wanted.FastPath = request.Options[network.OptionFastPath] // checked, too
	if err := c.app.overlayd().Create(ctx, wanted); err != nil {
		return overlayError(err)
	}
	made, err := c.store().Find(request.Name)
	return c.printID(made, networkError(err))
}

func (c networkCommands) printID(n network.Network, err error) error {
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.app.Stdout, n.ID)
	return err
}

// removeOverlay takes the network away from all hosts.
func (c networkCommands) removeOverlay(ctx context.Context, n network.Network) error {
	users, err := c.users()
	if err != nil {
		return err
	}
	if len(users[n.Name]) > 0 {
		return inUse(n, users[n.Name])
	}
	if err := c.app.overlayd().Remove(ctx, n.Name); err != nil {
		return overlayError(err)
	}
	c.note(n, "destroy", nil)
	return nil
}

// overlayCommands look after the hosts of the overlay.
func overlayCommands(app *App) *cobra.Command {
	group := newGroup("overlay", "Look after networks that span hosts",
		overlayStatus(app), overlayDoctor(app), overlayReclaim(app), overlayPolicy(app), overlayPrune(app), overlayExtend(app), overlayLeave(app),
		overlayConfirm(app), overlayMigrate(app))
	group.GroupID = groupNetworks
	return group
}

func overlayStatus(app *App) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use: "status [OPTIONS]", Short: "Show this host's part in the overlay, the networks and the other hosts",
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := app.overlayd().Status(cmd.Context())
			if err != nil {
				return overlayError(err)
			}
			if format != "" {
				return showObjects(app.Stdout, format, []any{s})
			}
			return showOverlay(app, s)
		},
	}
	cmd.Flags().StringVarP(&format, "format", "f", "", "'json' or a Go template")
	return cmd
}

// overlayRow is a host in the table of status.
type overlayRow struct {
	Name, VTEP, Alive, RTT string
	PathMTU                string `header:"PATH MTU"`
	Heard                  string `header:"LAST HEARD"`
}

// What comes of the store is the other hosts' to choose, so it is shown as visibleLine
// has it.
func showOverlay(app *App, s control.Status) error {
	state := "ready"
	switch {
	case s.Degraded != "":
		state = "degraded: " + s.Degraded
		if !s.Since.IsZero() {
			state += " for " + time.Since(s.Since).Round(time.Second).String()
		}
	case !s.Ready:
		state = "not ready yet"
	}
	w := app.Stdout
	fmt.Fprintf(w, "host     %s (%s), tunnel %s, MTU %d\nstore    %s, cluster %s, revision %d\nstate    %s\n",
		visibleLine(s.Node), s.ID, s.VTEP, s.MTU, s.Store, visibleLine(s.Cluster), s.Revision, visibleLine(state))
	if s.Policy != nil {
		fmt.Fprintf(w, "policy   %s\n", policyText(*s.Policy))
	}
	for _, n := range s.Networks {
		fmt.Fprintf(w, "network  %s\n", visibleLine(overlayNetworkLine(n)))
		for _, o := range n.Owners {
			fmt.Fprintf(w, "           %s: %s\n", visibleLine(o.Node), prefixesText(o.Pools))
		}
	}
	for _, p := range s.Problems {
		fmt.Fprintf(w, "problem  %s\n", visibleLine(p))
	}
	if len(s.Peers) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	var rows []overlayRow
	for _, p := range s.Peers {
		rows = append(rows, newOverlayRow(p))
	}
	return show(w, listing{Columns: []string{"Name", "VTEP", "Alive", "RTT", "PathMTU", "Heard"}}, rows)
}

func overlayNetworkLine(n control.Network) string {
	line := fmt.Sprintf("%s: range %s, group %d", n.Name, prefixesText(n.Ranges), n.Group)
	if n.Free >= 0 {
		line += fmt.Sprintf(", %d of %d pools free", n.Free, n.Total)
	}
	if n.Open {
		line += ", open"
	}
	if n.UsualWay == "" {
		line += ", fast path"
	} else {
		line += ", usual way (" + n.UsualWay + ")"
	}
	if n.Leaving {
		line += ", being removed"
	}
	if len(n.Stranded) > 0 {
		line += fmt.Sprintf("; stranded containers (their pool was lost): %s", strings.Join(n.Stranded, ", "))
	}
	if n.Exhausted != "" {
		line += "; " + n.Exhausted
	}
	return line
}

func newOverlayRow(p control.Peer) overlayRow {
	row := overlayRow{Name: p.Name, VTEP: p.VTEP.String(), Alive: "-", RTT: "-", PathMTU: "-", Heard: "never"}
	if p.Alive != nil {
		row.Alive = strconv.FormatBool(*p.Alive)
	}
	if !p.Heard.IsZero() {
		row.RTT, row.Heard = fmt.Sprintf("%.2f ms", p.RTT), time.Since(p.Heard).Round(time.Second).String()+" ago"
	}
	if p.MTU != 0 {
		row.PathMTU = strconv.Itoa(p.MTU)
		if p.MTU < p.Full {
			row.PathMTU += fmt.Sprintf(" (of %d)", p.Full)
		}
	}
	return row
}

func prefixesText(all []netip.Prefix) string {
	var texts []string
	for _, p := range all {
		texts = append(texts, p.String())
	}
	return cmp.Or(strings.Join(texts, ", "), "none")
}

func overlayDoctor(app *App) *cobra.Command {
	return &cobra.Command{
		Use: "doctor", Short: "Compare everything with how it should be, and explain what is not",
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			findings, err := app.overlayd().Doctor(cmd.Context())
			if err != nil {
				return overlayError(err)
			}
			wrong := 0
			for _, f := range findings {
				what := f.What
				if f.Peer != "" {
					what = f.Peer + ": " + what
				}
				if f.OK {
					fmt.Fprintln(app.Stdout, "ok    "+visibleLine(what))
					continue
				}
				wrong++
				fmt.Fprintln(app.Stdout, "WRONG "+visibleLine(what+": "+f.Why))
			}
			if wrong > 0 {
				return statusError(ExitFailed)
			}
			return nil
		},
	}
}

func overlayExtend(app *App) *cobra.Command {
	return &cobra.Command{
		Use: "extend NETWORK RANGE", Short: "Give an overlay network a further range",
		Args: args(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := parsePrefix(args[1])
			if err != nil {
				return usageError("%w", err)
			}
			return overlayError(app.overlayd().Extend(cmd.Context(), args[0], r))
		},
	}
}

func overlayLeave(app *App) *cobra.Command {
	return &cobra.Command{
		Use: "leave", Short: "Give back what this host owns in the overlay, and end overlayd",
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return overlayError(app.overlayd().Leave(cmd.Context())) },
	}
}

func overlayConfirm(app *App) *cobra.Command {
	return &cobra.Command{
		Use: "confirm", Short: "After a restored store: let go what it does not know of",
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return overlayError(app.overlayd().Confirm(cmd.Context()))
		},
	}
}

func overlayMigrate(app *App) *cobra.Command {
	var settings string
	cmd := &cobra.Command{
		Use: "migrate --to FILE", Short: "Move from a peers file to the store that FILE names; pools keep their owners",
		Long: `Enters the networks and every host's pools of the peers file into the store
that FILE (overlayd's settings) names. Then start overlayd with these settings on
one host after the other: nothing is renumbered and no packet is lost.`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if settings == "" {
				return usageError("--to: want the file with overlayd's new settings")
			}
			moved, err := app.overlayd().Migrate(cmd.Context(), settings)
			if err != nil {
				return overlayError(err)
			}
			for _, line := range moved {
				fmt.Fprintln(app.Stdout, visibleLine(line))
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&settings, "to", "", "overlayd's new settings")
	return cmd
}

// overlayPart is what inspect shows of an overlay network beside the rest: the
// pools of this host and of the others. Without overlayd there is none.
func (c networkCommands) overlayPart(ctx context.Context, n network.Network) json.RawMessage {
	if !isOverlay(n.Driver) {
		return nil
	}
	s, err := c.app.overlayd().Status(ctx)
	if err != nil {
		return nil
	}
	for _, o := range s.Networks {
		if o.Name == n.Name {
			data, _ := json.Marshal(o) // plain values
			return data
		}
	}
	return nil
}
