package netctl

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/netctl/netctl/netctl/network"
	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/events"
)

// connectFlags are the flags of `network connect` as typed.
type connectFlags struct {
	aliases, options     []string
	priority             int
	ip, ip6, mac, ifName string
	dryRun               bool
}

func (f *connectFlags) register(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.aliases, "alias", nil, "further name on the network")
	flags.StringVar(&f.ip, "ip", "", "IPv4 address on the network")
	flags.StringVar(&f.ip6, "ip6", "", "IPv6 address on the network")
	flags.StringVar(&f.mac, "mac-address", "", "MAC address on the network")
	flags.StringVar(&f.ifName, "interface-name", "", "interface in the container; default: the next free ethN")
	flags.IntVar(&f.priority, "gw-priority", 0, "the network with the highest carries the default route; of equal ones, the first")
	flags.StringArrayVar(&f.options, "driver-opt", nil, "sysctls of the interface, as "+endpointSysctls+"=net.ipv4.conf.IFNAME.KEY=VALUE")
	flags.BoolVar(&f.dryRun, "dry-run", false, "print the commands that would connect the container, and do nothing")
}

// endpoint turns the flags into what is asked of the network.
func (f *connectFlags) endpoint(n network.Network) (runner.Endpoint, error) {
	e := runner.Endpoint{Network: n.Name, Aliases: f.aliases, IfPrefix: n.InterfacePrefix(), Priority: f.priority}
	for _, text := range f.options {
		if err := readDriverOption(&e, text); err != nil {
			return e, usageError("--driver-opt: %w", err)
		}
	}
	for _, option := range []struct{ flag, key, value string }{
		{"--ip", "ip", f.ip}, {"--ip6", "ip6", f.ip6}, {"--mac-address", "mac-address", f.mac},
		{"--interface-name", "interface_name", f.ifName},
	} {
		if option.value == "" {
			continue
		}
		if err := readNetworkOption(&e, option.key+"="+option.value); err != nil {
			return e, usageError("%s: %w", option.flag, err)
		}
	}
	return e, nil
}

func (c networkCommands) connect() *cobra.Command {
	var f connectFlags
	cmd := &cobra.Command{
		Use:               "connect [OPTIONS] NETWORK CONTAINER",
		Short:             "Connect a container, running or stopped, to a further network",
		Example:           `  netctl network connect --alias db backend web`,
		Args:              args(2, 2),
		ValidArgsFunction: c.completeConnect(anyStatus),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return c.connectTo(ctx, f, args[0], args[1])
		},
	}
	f.register(cmd.Flags())
	return cmd
}

func (c networkCommands) connectTo(ctx context.Context, f connectFlags, ref, container string) error {
	n, err := c.connectable(ref)
	if err != nil {
		return err
	}
	e, err := f.endpoint(n)
	if err != nil {
		return err
	}
	all := containers(c).all()
	rec, err := all.Find(ctx, container)
	if err != nil {
		return containers(c).explain(err, container)
	}
	if f.dryRun {
		return c.previewConnect(ctx, rec.Config, e)
	}
	if err := all.Change(ctx, &rec, runner.Change{Connect: &e}); err != nil {
		return fmt.Errorf("connect container %s to network %s: %w", rec.Name, n.Name, err)
	}
	c.note(n, "connect", map[string]string{"container": string(rec.Config.ID)})
	return nil
}

// connectable finds a network that containers can be connected to.
func (c networkCommands) connectable(ref string) (network.Network, error) {
	n, err := c.store().Find(ref)
	if err != nil {
		return n, networkError(err)
	}
	if n.Name == network.Host || n.Name == network.None {
		return n, fmt.Errorf("network %s is a mode of a whole container: nothing can be connected to it", n.Name)
	}
	return n, nil
}

// previewConnect prints what connecting would have the kernel do.
func (c networkCommands) previewConnect(ctx context.Context, cfg runner.Config, e runner.Endpoint) error {
	if err := cfg.Connect(e); err != nil {
		return err
	}
	lines, err := c.app.networks().Preview(ctx, cfg.Name, cfg.Endpoints[len(cfg.Endpoints)-1:])
	for _, line := range lines {
		fmt.Fprintln(c.app.Stdout, line)
	}
	return err
}

func (c networkCommands) disconnect() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:               "disconnect [OPTIONS] NETWORK CONTAINER",
		Short:             "Disconnect a container, running or stopped, from a network",
		Args:              args(2, 2),
		ValidArgsFunction: c.completeConnect(anyStatus),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return c.disconnectFrom(ctx, args[0], args[1], force)
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "also if the container does not exist (any more), or is another runtime's")
	return cmd
}

func (c networkCommands) disconnectFrom(ctx context.Context, ref, container string, force bool) error {
	n, err := c.store().Find(ref)
	if err != nil {
		return networkError(err)
	}
	all := containers(c).all()
	rec, err := all.Find(ctx, container)
	switch {
	case isMissing(err) && force:
		return c.disconnectStale(ctx, n, container)
	case err != nil:
		return containers(c).explain(err, container)
	}
	err = all.Change(ctx, &rec, runner.Change{Disconnect: n.Name})
	var not *runner.NotConnectedError
	if errors.As(err, &not) && force {
		return c.disconnectStale(ctx, n, string(rec.Config.ID))
	}
	if err != nil {
		return fmt.Errorf("disconnect container %s from network %s: %w", rec.Name, n.Name, err)
	}
	c.note(n, "disconnect", map[string]string{"container": string(rec.Config.ID)})
	return nil
}

// disconnectStale takes attachments away that belong to no container of ours, by
// the ID they were made with or its beginning.
func (c networkCommands) disconnectStale(ctx context.Context, n network.Network, id string) error {
	records, err := c.attachments()
	if err != nil {
		return err
	}
	var failures []error
	found := false
	for _, r := range records {
		if r.Network != n.Name || r.Part != "" || !strings.HasPrefix(r.Container, id) {
			continue
		}
		found = true
		attached := []runner.Attached{{Network: n.Name, IfName: r.IfName}}
		failures = append(failures, c.app.networks().Detach(ctx, r.Container, r.Netns, attached))
		c.note(n, "disconnect", map[string]string{"container": r.Container})
	}
	if !found {
		return fmt.Errorf("nothing on network %s belongs to a container %s", n.Name, id)
	}
	return errors.Join(failures...)
}

// note records that something happened to a network.
func (c networkCommands) note(n network.Network, action string, more map[string]string) {
	attributes := map[string]string{"name": n.Name, "type": n.Driver}
	for key, value := range more {
		attributes[key] = value
	}
	e := events.Event{Kind: events.Network, Action: action, ID: n.ID, Attributes: attributes}
	if err := events.Open(c.app.StateDir).Append(e); err != nil {
		c.app.Log.Warn("event", "action", action, "err", err)
	}
}

// completeConnect proposes networks, then containers.
func (c networkCommands) completeConnect(fits func(runner.Status) bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, given []string, typed string) ([]string, cobra.ShellCompDirective) {
		switch len(given) {
		case 0:
			return c.completeNetworks(cmd, given, typed)
		case 1:
			return containers(c).completion(fits)(cmd, nil, typed)
		}
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
}
