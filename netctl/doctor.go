package netctl

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/netctl/netctl/netctl/doctor"
	"github.com/netctl/netctl/netctl/doctor/probe"
	"github.com/netctl/netctl/netctl/network"
	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/plugins"
)

// doctorFlags are the question.
type doctorFlags struct {
	port     uint16
	to       string
	patience time.Duration
}

func doctorCommand(app *App) *cobra.Command {
	var f doctorFlags
	c := containers{app}
	cmd := &cobra.Command{
		Use:   "doctor [OPTIONS] [CONTAINER]",
		Short: "Find out why a container can't be reached, or can't reach something",
		Long: `Find the one cause why a container can't be reached, or can't reach something, and
the command that mends it. Nothing is changed: it looks, and makes connections from
where the packets come from.`,
		Example: `  netctl doctor web                      is everything right with web?
  netctl doctor web --port 8080          why does port 8080 not lead to it?
  netctl doctor web --to db --port 5432  why does it not reach port 5432 of db?
  netctl doctor web --to example.org     why is that name not found?
  netctl doctor --port 8080              who has port 8080?`,
		Args:              args(0, 1),
		ValidArgsFunction: one(c.completion(anyStatus)),
		GroupID:           groupNetworks,
		RunE: func(cmd *cobra.Command, args []string) error {
			ref := ""
			if len(args) > 0 {
				ref = args[0]
			}
			return c.doctor(cmd.Context(), ref, f)
		},
	}
	cmd.Flags().Uint16Var(&f.port, "port", 0, "port of the host or the container; with --to, the port to reach")
	cmd.Flags().StringVar(&f.to, "to", "", "container, address or name that the container should reach")
	cmd.Flags().DurationVar(&f.patience, "timeout", 2*time.Second, "patience with what does not answer")
	return cmd
}

// doctor prints what is right, and the cause; the status says which it was.
func (c containers) doctor(ctx context.Context, ref string, f doctorFlags) error {
	if f.to != "" && ref == "" {
		return usageError("--to needs the container that should reach it")
	}
	question, err := c.question(ctx, ref, f)
	if err != nil {
		return err
	}
	report, err := doctor.Diagnose(ctx, question, doctor.Checks())
	for _, name := range report.Right {
		fmt.Fprintln(c.app.Stdout, "ok     "+name)
	}
	if err != nil {
		return fmt.Errorf("doctor: %w", err)
	}
	if report.Finding == nil {
		fmt.Fprintln(c.app.Stdout, "nothing is wrong")
		return nil
	}
	fmt.Fprintf(c.app.Stdout, "cause  %s\nmend   %s\n", visibleLine(report.Finding.Cause), visibleLine(report.Finding.Mend))
	return statusError(ExitFailed)
}

// question gathers what the records say.
func (c containers) question(ctx context.Context, ref string, f doctorFlags) (*doctor.Case, error) {
	all := c.all()
	records, err := all.List(ctx)
	if err != nil {
		return nil, err
	}
	q := &doctor.Case{Port: f.port, World: probe.World{Compare: c.compare(records), Patience: f.patience}}
	byID := map[runner.ID]*doctor.Container{}
	for _, rec := range records {
		patient := c.patient(&rec)
		byID[rec.Config.ID] = patient
		q.All = append(q.All, patient)
	}
	if ref != "" {
		rec, err := all.Find(ctx, ref)
		if err != nil {
			return nil, c.explain(err, ref)
		}
		q.Subject = byID[rec.Config.ID]
	} else if f.port != 0 {
		q.Subject = publisher(q.All, f.port)
	}
	if f.to == "" {
		return q, nil
	}
	if address, err := netip.ParseAddr(f.to); err == nil {
		q.Address = address
	} else if rec, err := all.Find(ctx, f.to); err == nil {
		q.Peer = byID[rec.Config.ID]
	} else {
		q.Name = f.to
	}
	return q, nil
}

// publisher is the running container to which a port of the host leads.
func publisher(all []*doctor.Container, port uint16) *doctor.Container {
	for _, p := range all {
		if p.Running() && slices.ContainsFunc(p.Published, func(o doctor.Port) bool { return o.Host == port }) {
			return p
		}
	}
	return nil
}

// patient is a container in the doctor's words.
func (c containers) patient(rec *runner.Container) *doctor.Container {
	st := rec.State
	p := &doctor.Container{
		Name: rec.Name, Status: string(st.Status), ExitCode: st.ExitCode, OOM: st.OOMKilled, Error: st.Error, Restarts: st.Restarts,
		Kind: string(rec.Network.Kind), Namespace: doctor.Namespace(st.Netns),
	}
	if h := st.Health; h != nil && h.Status == runner.Unhealthy && len(h.Log) > 0 {
		p.Unhealthy = &doctor.Failure{Streak: h.FailingStreak, Output: h.Log[len(h.Log)-1].Output}
	}
	ports := published(*rec)
	if len(st.Attached) == 0 { // what it will have when it runs
		for _, e := range rec.Endpoints {
			ports = append(ports, e.Ports...)
		}
	}
	for _, port := range ports {
		p.Published = append(p.Published, doctor.Port{Protocol: port.Protocol, HostIP: port.HostIP, Host: port.HostPort, Container: port.ContainerPort})
	}
	networks := networkCommands(c).store()
	for _, a := range st.Attached {
		at := doctor.Attachment{Interface: a.IfName, Addresses: a.Addresses, Gateways: a.Gateways, Publishes: len(a.Ports) > 0, Network: doctor.Network{Name: a.Network}}
		if n, err := networks.Find(a.Network); err == nil {
			at.Network = doctorNetwork(n)
		}
		if a.Network != network.None {
			p.Attached = append(p.Attached, at)
		}
		p.Servers = append(p.Servers, a.Resolver...)
	}
	if text, err := os.ReadFile(c.all().Store.File(rec.Config.ID, "resolv.conf")); err == nil {
		p.Resolv = probe.Servers(string(text))
	}
	return p
}

func doctorNetwork(n network.Network) doctor.Network {
	d := doctor.Network{
		Name: n.Name, Driver: n.Driver, Device: n.Device, Internal: n.Internal,
		Apart: n.Options["com.docker.network.bridge.enable_icc"] == "false",
	}
	for _, s := range n.Subnets() {
		if s.Gateway.IsValid() && n.Driver == "bridge" {
			d.Gateways = append(d.Gateways, netip.PrefixFrom(s.Gateway, s.Prefix.Bits()))
		}
	}
	return d
}

// compare does CHECK for an attachment of one of the records.
func (c containers) compare(records []runner.Container) func(context.Context, string, string) (string, error) {
	return func(ctx context.Context, name, networkName string) (string, error) {
		i := slices.IndexFunc(records, func(rec runner.Container) bool { return rec.Name == name })
		rec := records[i]
		a := rec.State.Network(networkName)
		err := c.app.networks().Check(ctx, string(rec.Config.ID), rec.State.Netns, *a)
		var differs *plugins.Error
		if errors.As(err, &differs) {
			return differs.Error(), nil
		}
		return "", err
	}
}
