package netctl

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/netctl/netctl/netctl/network"
)

// createFlags are the flags of `network create` as they are typed.
type createFlags struct {
	driver, ipamDriver, device                    string
	subnets, gateways, ranges, reserved, dns      []string
	options, ipamOptions, labels, routes          []string
	publishFrom, publishOn                        []string
	internal, ipv4, ipv6, noNames, ignore, dryRun bool
}

func (f *createFlags) register(flags *pflag.FlagSet) {
	flags.StringVarP(&f.driver, "driver", "d", "bridge", strings.Join(network.Drivers(), " or "))
	flags.StringSliceVar(&f.subnets, "subnet", nil, "subnet in CIDR form; one of each address family")
	flags.StringSliceVar(&f.gateways, "gateway", nil, "the containers' gateway; default: the subnet's first address")
	flags.StringSliceVar(&f.ranges, "ip-range", nil, "addresses given out, as a prefix or FIRST-LAST")
	flags.StringSliceVar(&f.reserved, "aux-address", nil, "address never given out, as NAME=ADDRESS")
	flags.BoolVar(&f.internal, "internal", false, "no way out of the network; names still resolve")
	flags.BoolVar(&f.ipv4, "ipv4", true, "choose an IPv4 subnet where none is given")
	flags.BoolVar(&f.ipv6, "ipv6", false, "choose an IPv6 subnet where none is given")
	flags.StringVar(&f.ipamDriver, "ipam-driver", "default", "default, or none for a network without addresses")
	flags.StringArrayVar(&f.ipamOptions, "ipam-opt", nil, "options of the address management, as KEY=VALUE")
	flags.StringArrayVarP(&f.options, "opt", "o", nil, "options of the driver, as KEY=VALUE, by docker's or podman's names")
	flags.StringSliceVar(&f.dns, "dns", nil, "servers asked for names outside; default: the host's")
	flags.BoolVar(&f.noNames, "disable-dns", false, "resolve no names on this network")
	flags.StringVar(&f.device, "interface-name", "", "the bridge, or the parent of a macvlan network")
	flags.StringArrayVar(&f.routes, "route", nil, "route of every container, as DESTINATION,GATEWAY[,METRIC]")
	flags.StringSliceVar(&f.publishFrom, "publish-from", nil, "only these prefixes reach published ports; default: everybody")
	flags.StringSliceVar(&f.publishOn, "publish-on", nil, "published ports are reached by these interfaces of the host; default: all")
	flags.StringArrayVar(&f.labels, "label", nil, "label, as KEY=VALUE")
	flags.BoolVar(&f.ignore, "ignore", false, "succeed if the same network exists already")
	flags.BoolVar(&f.dryRun, "dry-run", false, "print the configuration list instead of writing it")
	// docker's compose sets it; every network of ours is attachable.
	flags.Bool("attachable", true, "")
	_ = flags.MarkHidden("attachable")
}

func (c networkCommands) create() *cobra.Command {
	var f createFlags
	cmd := &cobra.Command{
		Use:               "create [OPTIONS] NETWORK",
		Short:             "Make a network",
		Example:           "  netctl network create my-bridge --subnet 10.88.0.0/16",
		Args:              args(1, 1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, args []string) error { return c.runCreate(cmd.Context(), f, args[0]) },
	}
	cmd.Flags().SortFlags = false
	f.register(cmd.Flags())
	c.completeCreate(cmd)
	return cmd
}

// topCreate is `netctl create`. It takes docker's "create IMAGE COMMAND" for
// what it is.
func (c networkCommands) topCreate() *cobra.Command {
	cmd := c.create()
	hinted := func(err error) error {
		var e *Error
		if errors.As(err, &e) {
			e.Hint = "'netctl create' makes networks; 'netctl container create' makes containers"
		}
		return err
	}
	count := cmd.Args
	cmd.Args = func(cmd *cobra.Command, args []string) error { return hinted(count(cmd, args)) }
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return hinted(flagError(cmd, err)) })
	return cmd
}

func (c networkCommands) runCreate(ctx context.Context, f createFlags, name string) error {
	request, err := f.request(name)
	if err != nil {
		return err
	}
	if network.HasDots(name) {
		c.app.Log.Warn("a network name with dots can't be used as a single label in names", "network", name)
	}
	if !f.dryRun && isOverlay(f.driver) {
		return c.createOverlay(ctx, request, f.ignore)
	}
	if f.dryRun {
		planned, err := c.store().Plan(request)
		if err == nil {
			_, err = c.app.Stdout.Write(planned.List)
		}
		return networkError(err)
	}
	made, err := c.store().Create(request)
	if err == nil {
		c.note(made, "create", nil)
	}
	var exists *network.ExistsError
	if errors.As(err, &exists) && f.ignore {
		made, err = exists.Network, sameAs(exists.Network, request)
	}
	if err != nil {
		return networkError(err)
	}
	_, err = fmt.Fprintln(c.app.Stdout, made.ID)
	return err
}

// sameAs is --ignore: what exists must be what is asked for.
func sameAs(existing network.Network, request network.Request) error {
	if differences := existing.Differences(request); len(differences) > 0 {
		return fmt.Errorf("network %s already exists and differs: %s", existing.Name, strings.Join(differences, "; "))
	}
	return nil
}

// request turns the flags into values. What can't be read is a usage error.
func (f createFlags) request(name string) (network.Request, error) {
	r := network.Request{
		Name: name, Driver: f.driver, Device: f.device,
		NoIPv4: !f.ipv4, IPv6: f.ipv6, Internal: f.internal, NoNames: f.noNames,
	}
	var err error
	read := func(flag string, e error) {
		if e != nil && err == nil {
			err = usageError("--%s: %w", flag, e)
		}
	}
	var e error
	r.Subnets, e = parseAll(f.subnets, parsePrefix)
	read("subnet", e)
	r.Gateways, e = parseAll(f.gateways, parseAddr)
	read("gateway", e)
	r.Ranges, e = parseAll(f.ranges, network.ParseAddrRange)
	read("ip-range", e)
	r.DNS, e = parseAll(f.dns, parseAddr)
	read("dns", e)
	r.Routes, e = parseAll(f.routes, network.ParseRoute)
	read("route", e)
	r.Reserved, e = parseReserved(f.reserved)
	read("aux-address", e)
	r.Labels, e = parsePairs(f.labels)
	read("label", e)
	r.Options, e = parsePairs(f.options)
	read("opt", e)
	for key, values := range map[string][]string{"publish_from": f.publishFrom, "publish_on": f.publishOn} {
		if len(values) > 0 {
			r.Options[key] = strings.Join(values, ",")
		}
	}
	r.NoIPAM, e = f.noIPAM()
	read("ipam-driver", e)
	if len(f.ipamOptions) > 0 {
		read("ipam-opt", fmt.Errorf("unknown option %q: the address management has none", f.ipamOptions[0]))
	}
	if f.noNames && len(f.dns) > 0 {
		read("dns", errors.New("contradicts --disable-dns"))
	}
	return r, err
}

func (f createFlags) noIPAM() (bool, error) {
	switch f.ipamDriver {
	case "", "default", "host-local":
		return false, nil
	case "none":
		return true, nil
	}
	return false, fmt.Errorf("unsupported driver %q (known: default, none)", f.ipamDriver)
}

func parseAll[T any](texts []string, parse func(string) (T, error)) ([]T, error) {
	var list []T
	for _, text := range texts {
		value, err := parse(strings.TrimSpace(text))
		if err != nil {
			return nil, err
		}
		list = append(list, value)
	}
	return list, nil
}

func parsePrefix(text string) (netip.Prefix, error) {
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("invalid subnet %q: want a prefix such as 10.88.0.0/16 or fd00:1::/64", text)
	}
	return prefix, nil
}

func parseAddr(text string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" {
		return netip.Addr{}, fmt.Errorf("invalid IP address %q", text)
	}
	return addr, nil
}

func parseReserved(texts []string) (map[string]netip.Addr, error) {
	pairs, err := parsePairs(texts)
	if err != nil || len(pairs) == 0 {
		return nil, err
	}
	reserved := map[string]netip.Addr{}
	for name, text := range pairs {
		if reserved[name], err = parseAddr(text); err != nil {
			return nil, err
		}
	}
	return reserved, nil
}

// parsePairs reads repeated KEY=VALUE or KEY; the last value of a key counts.
func parsePairs(texts []string) (map[string]string, error) {
	pairs := map[string]string{}
	for _, text := range texts {
		key, value, _ := strings.Cut(text, "=")
		if key == "" {
			return nil, fmt.Errorf("invalid value %q: want KEY=VALUE", text)
		}
		pairs[key] = value
	}
	return pairs, nil
}
