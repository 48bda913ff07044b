package netctl

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/store"
)

// containerRow is a line of ps; the names are docker's.
type containerRow struct {
	ID           string `header:"CONTAINER ID"`
	Image        string
	Command      string
	CreatedAt    string `header:"CREATED AT"`
	RunningFor   string `header:"CREATED"`
	Status       string
	State        string
	Ports        string
	Names        string
	Networks     string
	Labels       string
	Mounts       string
	LocalVolumes string `header:"LOCAL VOLUMES"`
	Size         string
	labels       map[string]string

	// podman's, which templates use; docker's JSON does not have them.
	Created   stamp  `json:"-"`
	StartedAt int64  `json:"-"` // seconds since 1970
	ExitedAt  int64  `json:"-"`
	Pid       int    `json:"-"`
	ExitCode  int    `json:"-"`
	Restarts  int    `json:"-"`
	ImageID   string `json:"-"`
}

// Label is docker's {{.Label "key"}}.
func (r containerRow) Label(key string) string { return r.labels[key] }

type listFlags struct {
	listing
	all, latest, full, size bool
	last                    int
	filters                 []string
}

// list is `ps`, by this and further names.
func (c containers) list(name string, aliases ...string) *cobra.Command {
	var f listFlags
	cmd := &cobra.Command{
		Use:               name + " [OPTIONS]",
		Aliases:           aliases,
		Short:             "List containers",
		Args:              args(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return c.showList(cmd.Context(), f) },
	}
	flags := cmd.Flags()
	flags.BoolVarP(&f.all, "all", "a", false, "stopped ones too")
	flags.BoolVarP(&f.Quiet, "quiet", "q", false, "show IDs only")
	flags.BoolVar(&f.full, "no-trunc", false, "shorten nothing")
	flags.BoolVar(&f.NoHeading, "noheading", false, "leave the column heads out")
	flags.StringVar(&f.Format, "format", "", "'table', 'table TEMPLATE', 'json' (an object a line) or a Go template")
	flags.StringArrayVarP(&f.filters, "filter", "f", nil, "KEY=VALUE, by "+strings.Join(containerFilters(), ", "))
	flags.IntVarP(&f.last, "last", "n", -1, "the last so many, whatever their state")
	flags.BoolVarP(&f.size, "size", "s", false, "what their own changes and logs take on disk")
	flags.BoolVarP(&f.latest, "latest", "l", false, "the last one, whatever its state")
	networkCommands(c).completeFilter(cmd, containerFilters())
	return cmd
}

func (c containers) showList(ctx context.Context, f listFlags) error {
	conditions, err := parseFilters(f.filters, containerFilters()...)
	if err != nil {
		return err
	}
	chosen, err := c.filtered(ctx, conditions)
	if err != nil {
		return err
	}
	if f.latest {
		f.last = 1
	}
	switch {
	case f.last >= 0:
		chosen = chosen[:min(f.last, len(chosen))]
	case !f.all && len(conditions["status"])+len(conditions["exited"]) == 0:
		chosen = slices.DeleteFunc(chosen, func(rec runner.Container) bool { return !rec.State.Status.Active() })
	}
	f.Columns = []string{"ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names"}
	if f.size {
		f.Columns = append(f.Columns, "Size")
	}
	now := time.Now()
	measure := f.size || strings.Contains(f.Format, ".Size")
	var rows []containerRow
	for _, rec := range chosen {
		row := newContainerRow(rec, f.full, now)
		if measure {
			row.Size = units.HumanSize(float64(c.all().Store.Usage(rec.Config.ID)))
		}
		rows = append(rows, row)
	}
	return show(c.app.Stdout, f.listing, rows)
}

func newContainerRow(rec runner.Container, full bool, now time.Time) containerRow {
	var networks, mounts []string
	volumes := 0
	for _, e := range rec.Endpoints {
		networks = append(networks, e.Network)
	}
	if rec.Network.Kind != runner.NetworkAttached {
		networks = []string{string(rec.Network.Kind)}
	}
	for _, m := range rec.Mounts {
		mounts = append(mounts, m.Source)
		if m.Kind == runner.MountVolume {
			volumes++
		}
	}
	command := strconv.Quote(strings.Join(rec.Process.Args, " "))
	if !full && len([]rune(command)) > 20 {
		command = truncate(command, 18) + `…"`
	}
	return containerRow{
		ID: shortID(string(rec.Config.ID), full), Image: rec.Image, Command: command,
		CreatedAt: rec.Created.Format("2006-01-02 15:04:05 -0700 MST"), RunningFor: units.HumanDuration(now.Sub(rec.Created)) + " ago",
		Status: statusText(rec.State, now), State: string(rec.State.Status), Ports: portsText(rec),
		Names: rec.Name, Networks: strings.Join(networks, ","), Labels: labelText(rec.Labels),
		Mounts: strings.Join(mounts, ","), LocalVolumes: strconv.Itoa(volumes), Size: "0B", labels: rec.Labels,
		Created: newStamp(rec.Created), StartedAt: seconds(rec.State.Started), ExitedAt: seconds(rec.State.Finished),
		Pid: rec.State.Pid, ExitCode: rec.State.ExitCode, Restarts: rec.State.Restarts,
		ImageID: shortID(strings.TrimPrefix(rec.ImageID, "sha256:"), full),
	}
}

// seconds since 1970; 0 for what has not been.
func seconds(t time.Time) int64 { return max(t.Unix(), 0) }

// statusText is docker's wording.
func statusText(st runner.State, now time.Time) string {
	switch st.Status {
	case runner.StatusRunning:
		return "Up " + units.HumanDuration(now.Sub(st.Started)) + healthText(st.Health)
	case runner.StatusPaused:
		return "Up " + units.HumanDuration(now.Sub(st.Started)) + " (Paused)"
	case runner.StatusExited:
		return fmt.Sprintf("Exited (%d) %s ago", st.ExitCode, units.HumanDuration(now.Sub(st.Finished)))
	case runner.StatusRestarting:
		return fmt.Sprintf("Restarting (%d) %s ago", st.ExitCode, units.HumanDuration(now.Sub(st.Finished)))
	case runner.StatusRemoving:
		return "Removal In Progress"
	case runner.StatusStarting:
		return "Starting"
	}
	return "Created"
}

func containerFilters() []string {
	return []string{
		"ancestor", "before", "exited", "expose", "health", "id", "label", "label!", "name", "network", "publish",
		"since", "status", "until", "volume",
	}
}

// filtered gives the containers that satisfy the conditions, newest first.
func (c containers) filtered(ctx context.Context, f filters) ([]runner.Container, error) {
	all := c.all()
	list, err := all.List(ctx)
	if err != nil {
		return nil, err
	}
	if wanted := f["ancestor"]; len(wanted) > 0 {
		list = slices.DeleteFunc(list, func(rec runner.Container) bool {
			return !slices.ContainsFunc(wanted, func(ref string) bool { return images(c).isImage(&rec, ref) })
		})
	}
	match, err := containerMatcher(f, func(ref string) (runner.Container, error) { return all.Find(ctx, ref) })
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(list, func(rec runner.Container) bool { return !match(rec) }), nil
}

// containerMatcher makes one condition of all filters.
func containerMatcher(f filters, find func(string) (runner.Container, error)) (func(runner.Container) bool, error) {
	until, err := f.before("until", time.Now())
	if err != nil {
		return nil, err
	}
	bound := func(key string) (time.Time, error) {
		if len(f[key]) == 0 {
			return time.Time{}, nil
		}
		rec, err := find(f[key][0])
		return rec.Created, err
	}
	before, err := bound("before")
	if err != nil {
		return nil, err
	}
	since, err := bound("since")
	if err != nil {
		return nil, err
	}
	for _, key := range []string{"publish", "expose"} {
		if _, err := parseAll(f[key], parseExpose); err != nil {
			return nil, usageError("filter %s: %w", key, err)
		}
	}
	return func(rec runner.Container) bool {
		return (before.IsZero() || rec.Created.Before(before)) && rec.Created.After(since) &&
			(until.IsZero() || rec.Created.Before(until)) && matchContainer(f, rec)
	}, nil
}

func matchContainer(f filters, rec runner.Container) bool {
	inNetwork := func(want string) bool {
		if rec.Network.Kind != runner.NetworkAttached {
			return want == string(rec.Network.Kind)
		}
		return slices.ContainsFunc(rec.Endpoints, func(e runner.Endpoint) bool { return e.Network == want }) ||
			slices.ContainsFunc(rec.State.Attached, func(a runner.Attached) bool { return strings.HasPrefix(a.NetworkID, want) })
	}
	mounts := func(want string) bool {
		return slices.ContainsFunc(rec.Mounts, func(m runner.Mount) bool { return m.Source == want || m.Target == want })
	}
	exited := func(want string) bool {
		return rec.State.Status == runner.StatusExited && strconv.Itoa(rec.State.ExitCode) == want
	}
	return f.labels(rec.Labels) && f.contains("name", rec.Name, "/"+rec.Name) &&
		f.equals("status", string(rec.State.Status)) && f.equals("health", healthWord(rec.State)) && f.any("exited", exited) && f.any("network", inNetwork) &&
		f.any("id", func(want string) bool { return strings.HasPrefix(string(rec.Config.ID), want) }) &&
		f.any("volume", mounts) && f.any("publish", hasHostPort(published(rec))) &&
		f.any("expose", hasPort(append(published(rec), rec.Exposed...)))
}

// hasPort tells whether a port, or one of a range, is among ports.
func hasPort(ports []runner.PortSpec) func(string) bool {
	return func(want string) bool {
		wanted, _ := parseExpose(want)
		return slices.ContainsFunc(wanted, func(w runner.PortSpec) bool {
			return slices.ContainsFunc(ports, func(p runner.PortSpec) bool {
				return p.ContainerPort == w.ContainerPort && p.Protocol == w.Protocol
			})
		})
	}
}

// hasHostPort takes a published port by either side of it: docker's manual has the
// container's, docker itself the host's.
func hasHostPort(ports []runner.PortSpec) func(string) bool {
	both := slices.Clone(ports)
	for _, p := range ports {
		both = append(both, runner.PortSpec{Protocol: p.Protocol, ContainerPort: p.HostPort})
	}
	return hasPort(both)
}

func isMissing(err error) bool {
	var missing *store.NotFoundError
	return errors.As(err, &missing)
}
