package netctl

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/lifecycle"
	"github.com/netctl/netctl/netctl/runner/store"
)

// volumes are the verbs of `netctl volume`.
type volumes struct{ app *App }

func volumeCommands(app *App) *cobra.Command {
	v := volumes{app}
	group := newGroup("volume", "Make and look after volumes: data that outlives containers",
		v.create(), v.list(), v.inspect(), v.remove(), v.prune(), v.exists())
	group.GroupID = groupContainers
	return group
}

func (v volumes) all() *lifecycle.Containers { return containers(v).all() }

func (v volumes) create() *cobra.Command {
	var name, driver string
	var labels, options []string
	cmd := &cobra.Command{
		Use:               "create [OPTIONS] [VOLUME]",
		Short:             "Make a volume",
		Args:              args(0, 1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 {
				name = args[0]
			}
			if driver != "local" {
				return usageError("unsupported volume driver %q (known: local)", driver)
			}
			if len(options) > 0 {
				return usageError("--opt %s: a volume is a directory and has no options; mount other things with --mount", options[0])
			}
			return v.createOne(name, labels)
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "")
	_ = cmd.Flags().MarkHidden("name")
	cmd.Flags().StringVarP(&driver, "driver", "d", "local", "only local")
	cmd.Flags().StringArrayVar(&labels, "label", nil, "label, as KEY=VALUE")
	cmd.Flags().StringArrayVarP(&options, "opt", "o", nil, "")
	_ = cmd.Flags().MarkHidden("opt")
	return cmd
}

func (v volumes) createOne(name string, labels []string) error {
	pairs, err := keyValues("--label", labels, true)
	if err != nil {
		return err
	}
	if name == "" {
		name = string(runner.NewID())
	}
	all := v.all()
	_, err = all.Store.CreateVolume(name, pairs)
	if err != nil && !errors.Is(err, store.ErrVolumeExists) { // as docker: it is there, which is what was wanted
		return err
	}
	if err == nil {
		all.NoteVolume(name, "create", nil)
	}
	_, err = fmt.Fprintln(v.app.Stdout, name)
	return err
}

// volumeRow is a line of `volume ls`; the names are docker's.
type volumeRow struct {
	Driver     string
	Name       string `header:"VOLUME NAME"`
	ID         string // for -q
	Scope      string
	Mountpoint string
	Labels     string
	Size       string
	labels     map[string]string
}

// Label is docker's {{.Label "key"}}.
func (r volumeRow) Label(key string) string { return r.labels[key] }

func volumeFilters() []string { return []string{"dangling", "driver", "label", "label!", "name"} }

func (v volumes) list() *cobra.Command {
	l := listing{Columns: []string{"Driver", "Name"}}
	var pairs []string
	cmd := &cobra.Command{
		Use:               "ls [OPTIONS]",
		Aliases:           []string{"list"},
		Short:             "List volumes",
		Args:              args(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			f, err := parseFilters(pairs, volumeFilters()...)
			if err != nil {
				return err
			}
			list, err := v.matching(f)
			if err != nil {
				return err
			}
			var rows []volumeRow
			for _, vol := range list {
				rows = append(rows, volumeRow{
					Driver: "local", Name: vol.Name, ID: vol.Name, Scope: "local", Mountpoint: vol.Path,
					Labels: labelText(vol.Labels), Size: "N/A", labels: vol.Labels,
				})
			}
			return show(v.app.Stdout, l, rows)
		},
	}
	cmd.Flags().StringArrayVarP(&pairs, "filter", "f", nil, "show only some, as KEY=VALUE: "+strings.Join(volumeFilters(), ", "))
	listingFlags(cmd.Flags(), &l)
	networkCommands(v).completeFilter(cmd, volumeFilters())
	return cmd
}

// matching gives the volumes that satisfy the conditions.
func (v volumes) matching(f filters) ([]store.Volume, error) {
	all := v.all()
	list, err := all.Store.Volumes()
	if err != nil {
		return nil, err
	}
	used, err := v.used(all)
	if err != nil {
		return nil, err
	}
	dangling := func(vol store.Volume) bool {
		return f.any("dangling", func(want string) bool {
			yes, err := strconv.ParseBool(want)
			return err == nil && yes != used[vol.Name]
		})
	}
	return slices.DeleteFunc(list, func(vol store.Volume) bool {
		return !f.contains("name", vol.Name) || !f.equals("driver", "local") || !f.labels(vol.Labels) || !dangling(vol)
	}), nil
}

// used gives the names of the volumes that containers mount, running or not.
func (v volumes) used(all *lifecycle.Containers) (map[string]bool, error) {
	list, err := all.Store.List()
	used := map[string]bool{}
	for _, rec := range list {
		for _, m := range rec.Mounts {
			if m.Kind == runner.MountVolume {
				used[m.Source] = true
			}
		}
	}
	return used, err
}

// volumeObject is a volume as inspect shows it: docker's JSON.
type volumeObject struct {
	CreatedAt  stamp
	Driver     string
	Labels     map[string]string
	Mountpoint string
	Name       string
	Options    map[string]string
	Scope      string
}

func newVolumeObject(v store.Volume) volumeObject {
	return volumeObject{
		CreatedAt: newStamp(v.Created), Driver: "local", Labels: orEmpty(v.Labels), Mountpoint: v.Path, Name: v.Name,
		Options: map[string]string{}, Scope: "local",
	}
}

func (v volumes) inspect() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:               "inspect [OPTIONS] VOLUME...",
		Short:             "Show volumes in full",
		Args:              args(1, -1),
		ValidArgsFunction: v.complete,
		RunE: func(_ *cobra.Command, args []string) error {
			var objects []any
			var failures []error
			for _, name := range args {
				vol, err := v.all().Store.Volume(name)
				if err != nil {
					failures = append(failures, v.explain(err))
					continue
				}
				objects = append(objects, newVolumeObject(vol))
			}
			return errors.Join(showObjects(v.app.Stdout, format, objects), errors.Join(failures...))
		},
	}
	cmd.Flags().StringVarP(&format, "format", "f", "", "'json' or a Go template")
	return cmd
}

func (v volumes) explain(err error) error {
	var missing *store.NoVolumeError
	var used *lifecycle.VolumeInUseError
	switch {
	case errors.As(err, &missing):
		return &Error{Status: ExitFailed, Err: err, Hint: "'netctl volume ls' lists all volumes"}
	case errors.As(err, &used):
		return &Error{Status: ExitFailed, Err: err, Hint: "remove the containers first: netctl rm -f CONTAINER"}
	}
	return err
}

func (v volumes) remove() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:               "rm [OPTIONS] VOLUME...",
		Aliases:           []string{"remove"},
		Short:             "Remove volumes, with what is in them",
		Args:              args(1, -1),
		ValidArgsFunction: v.complete,
		RunE: func(_ *cobra.Command, args []string) error {
			var failures []error
			for _, name := range args {
				err := v.all().RemoveVolume(name)
				var missing *store.NoVolumeError
				if force && errors.As(err, &missing) {
					continue
				}
				if err != nil {
					failures = append(failures, v.explain(err))
					continue
				}
				fmt.Fprintln(v.app.Stdout, name)
			}
			return errors.Join(failures...)
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "no error for volumes that do not exist")
	return cmd
}

func (v volumes) prune() *cobra.Command {
	var force, all bool
	var pairs []string
	cmd := &cobra.Command{
		Use:               "prune [OPTIONS]",
		Short:             "Remove the volumes that no container mounts",
		Args:              args(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := parseFilters(pairs, "all", "label", "label!")
			if err != nil {
				return err
			}
			all = all || slices.Contains(f["all"], "true") || slices.Contains(f["all"], "1")
			warning := "WARNING! This will remove anonymous local volumes not used by at least one container."
			if all {
				warning = "WARNING! This will remove all local volumes not used by at least one container."
			}
			if !force && !confirmed(v.app, warning) {
				return nil
			}
			size, err := v.pruneUnused(cmd.Context(), f, all)
			fmt.Fprintf(v.app.Stdout, "Total reclaimed space: %s\n", units.HumanSize(float64(size)))
			return err
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "do not ask")
	cmd.Flags().BoolVarP(&all, "all", "a", false, "those with a name too")
	cmd.Flags().StringArrayVar(&pairs, "filter", nil, "remove only some, as KEY=VALUE: all, label, label!")
	return cmd
}

// pruneUnused removes volumes and returns how many bytes they took. One that
// somebody begins to use meanwhile is kept.
func (v volumes) pruneUnused(ctx context.Context, f filters, all bool) (int64, error) {
	delete(f, "all")
	list, err := v.matching(f)
	if err != nil {
		return 0, err
	}
	var size int64
	var removed []string
	var failures []error
	for _, vol := range list {
		if ctx.Err() != nil || !all && !vol.Anonymous() {
			continue
		}
		usage := store.DiskUsage(vol.Path)
		err := v.all().RemoveVolume(vol.Name)
		var used *lifecycle.VolumeInUseError
		switch {
		case err == nil:
			size += usage
			removed = append(removed, vol.Name)
		case !errors.As(err, &used):
			failures = append(failures, err)
		}
	}
	if len(removed) > 0 {
		fmt.Fprintf(v.app.Stdout, "Deleted Volumes:\n%s\n\n", strings.Join(removed, "\n"))
	}
	return size, errors.Join(failures...)
}

// complete proposes the volumes not named yet.
func (v volumes) complete(_ *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
	list, _ := store.Open(v.app.StateDir, v.app.DataDir).Volumes()
	var proposals []string
	for _, vol := range list {
		if !slices.Contains(given, vol.Name) {
			proposals = append(proposals, vol.Name)
		}
	}
	return proposals, cobra.ShellCompDirectiveNoFileComp
}
