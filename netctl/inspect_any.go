package netctl

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/store"
)

// inspect is `container inspect`.
func (c containers) inspect() *cobra.Command {
	var format string
	var size bool
	cmd := &cobra.Command{
		Use:               "inspect [OPTIONS] CONTAINER...",
		Short:             "Show containers in full",
		Args:              args(1, -1),
		ValidArgsFunction: c.completion(anyStatus),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.inspectRefs(cmd.Context(), format, "container", size, args)
		},
	}
	cmd.Flags().StringVarP(&format, "format", "f", "", "'json' or a Go template")
	cmd.Flags().BoolVarP(&size, "size", "s", false, "show the size of containers' files")
	return cmd
}

// inspectAny is the top-level inspect: a container, or else an image, a network
// or a volume.
func (c containers) inspectAny() *cobra.Command {
	var format, kind string
	var size bool
	cmd := &cobra.Command{
		Use:   "inspect [OPTIONS] NAME...",
		Short: "Show containers, images, networks or volumes in full",
		Args:  args(1, -1),
		ValidArgsFunction: func(cmd *cobra.Command, given []string, typed string) ([]string, cobra.ShellCompDirective) {
			names, directive := c.completion(anyStatus)(cmd, given, typed)
			more, _ := networkCommands(c).completeNetworks(cmd, given, typed)
			return slices.Concat(names, more, images(c).familiarNames()), directive
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains([]string{"", "container", "image", "network", "volume"}, kind) {
				return usageError("--type %s: want container, image, network or volume", kind)
			}
			return c.inspectRefs(cmd.Context(), format, kind, size, args)
		},
	}
	cmd.Flags().StringVarP(&format, "format", "f", "", "'json' or a Go template")
	cmd.Flags().BoolVarP(&size, "size", "s", false, "show the size of containers' files")
	cmd.Flags().StringVar(&kind, "type", "", "container, image, network or volume")
	return cmd
}

// inspectRefs shows what it finds and reports what it doesn't. The empty kind
// means any.
func (c containers) inspectRefs(ctx context.Context, format, kind string, size bool, refs []string) error {
	var objects []any
	var failures []error
	for _, ref := range refs {
		o, err := c.inspectOne(ctx, kind, ref)
		if err != nil {
			failures = append(failures, err)
			continue
		}
		if container, ok := o.(containerObject); ok && size {
			o = c.withSize(container)
		}
		objects = append(objects, o)
	}
	return errors.Join(showObjects(c.app.Stdout, format, objects), errors.Join(failures...))
}

// withSize measures the container's files.
func (c containers) withSize(o containerObject) containerObject {
	own := c.all().Store.Usage(runner.ID(o.ID))
	all := own
	if rec, err := c.all().Store.Load(runner.ID(o.ID)); err == nil {
		for _, layer := range rec.Layers {
			all += store.DiskUsage(layer)
		}
	}
	o.SizeRw, o.SizeRootFs = &own, &all
	return o
}

func (c containers) inspectOne(ctx context.Context, kind, ref string) (any, error) {
	if kind == "volume" {
		vol, err := c.all().Store.Volume(ref)
		return newVolumeObject(vol), volumes(c).explain(err)
	}
	if kind == "" || kind == "container" {
		rec, err := c.all().Find(ctx, ref)
		if err == nil {
			return c.newObject(rec), nil
		}
		if kind == "container" || !isMissing(err) {
			return nil, c.explain(err, ref)
		}
	}
	if kind == "" || kind == "image" {
		img, err := images(c).store().Find(ref)
		if err == nil {
			return images(c).newObject(&img), nil
		}
		if kind == "image" || !isMissingImage(err) {
			return nil, images(c).explain(err)
		}
	}
	found, err := networkCommands(c).inspectAll(ctx, []string{ref})
	if err != nil && kind == "" {
		if vol, err := c.all().Store.Volume(ref); err == nil {
			return newVolumeObject(vol), nil
		}
		return nil, &Error{Status: ExitFailed, Err: fmt.Errorf("no such container, image, network or volume: %s", ref)}
	}
	if err != nil {
		return nil, err
	}
	return found[0], nil
}
