package netctl

import (
	"errors"
	"fmt"
	"slices"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/netctl/netctl/netctl/image"
	imagestore "github.com/netctl/netctl/netctl/image/store"
)

// remove is `rmi`, by this and further names.
func (i images) remove(name string, aliases ...string) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:               name + " [OPTIONS] IMAGE...",
		Aliases:           aliases,
		Short:             "Remove images",
		Args:              args(1, -1),
		ValidArgsFunction: i.completion(),
		RunE: func(_ *cobra.Command, args []string) error {
			var failures []error
			for _, ref := range args {
				removed, err := i.store().Remove(ref, i.users, force)
				i.say(removed)
				if err != nil && !(force && isMissingImage(err)) {
					failures = append(failures, i.explain(err))
				}
			}
			return errors.Join(failures...)
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "all names of an ID; of an image in use only the names; missing ones are no error")
	return cmd
}

func isMissingImage(err error) bool {
	var missing *imagestore.NotFoundError
	return errors.As(err, &missing)
}

func (i images) say(r imagestore.Removed) {
	for _, name := range r.Untagged {
		fmt.Fprintln(i.app.Stdout, "Untagged: "+name)
	}
	for _, id := range r.Deleted {
		fmt.Fprintln(i.app.Stdout, "Deleted: "+string(id))
	}
}

func (i images) tag() *cobra.Command {
	return &cobra.Command{
		Use:               "tag IMAGE NAME[:TAG]",
		Short:             "Give an image another name",
		Args:              args(2, 2),
		ValidArgsFunction: i.completion(),
		RunE: func(_ *cobra.Command, args []string) error {
			name, err := image.ParseReference(args[1])
			if err != nil {
				return usageError("%w", err)
			}
			return i.explain(i.store().Tag(args[0], name))
		},
	}
}

func (i images) prune() *cobra.Command {
	var all, force bool
	var pairs []string
	cmd := &cobra.Command{
		Use:               "prune [OPTIONS]",
		Short:             "Remove images without a name, or with -a all that no container uses",
		Args:              args(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			if _, err := parseFilters(pairs, "label", "label!", "until"); err != nil {
				return err
			}
			warning := "This will remove all images without a name."
			if all {
				warning = "This will remove all images that no container uses."
			}
			if !force && !confirmed(i.app, "WARNING! "+warning) {
				return nil
			}
			removed, err := i.pruneImages(all, pairs)
			i.say(removed)
			if err == nil {
				fmt.Fprintf(i.app.Stdout, "Total reclaimed space: %s\n", units.HumanSize(float64(removed.Bytes)))
			}
			return err
		},
	}
	cmd.Flags().BoolVarP(&all, "all", "a", false, "those with a name too, unless a container uses them")
	cmd.Flags().BoolVarP(&force, "force", "f", false, "do not ask")
	cmd.Flags().StringArrayVar(&pairs, "filter", nil, "KEY=VALUE, by label, label!, until")
	return cmd
}

// usage counts what images take: a layer that several share as often as it is
// shared, as in docker.
func (i images) usage() (usage, error) {
	list, err := i.store().List()
	if err != nil {
		return usage{}, err
	}
	users, err := i.users()
	if err != nil {
		return usage{}, err
	}
	var u usage
	for _, img := range list {
		u.total++
		u.size += img.Size
		if len(users[img.ID]) > 0 {
			u.active++
		} else {
			u.reclaimable += img.Size
		}
	}
	return u, nil
}

// pruneImages removes what no container uses and, unless all is set, what has
// no name, and what interrupted pulls have left.
func (i images) pruneImages(all bool, pairs []string) (imagestore.Removed, error) {
	chosen, err := i.filtered(pairs, "label", "label!", "until")
	if err != nil {
		return imagestore.Removed{}, err
	}
	return i.store().Prune(i.users, func(img *image.Image) bool {
		return (all || len(img.Names) == 0) && slices.ContainsFunc(chosen, func(c image.Image) bool { return c.ID == img.ID })
	})
}
