package netctl

import (
	"context"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/netctl/netctl/netctl/runner"
)

// selection is which containers a verb is about: those that are named, or with --all
// (podman's) all whose state the verb fits.
type selection struct {
	all  bool
	fits func(runner.Status) bool
}

func (s *selection) register(flags *pflag.FlagSet, short string) {
	flags.BoolVarP(&s.all, "all", short, false, "all containers for which there is something to do")
}

// args is the check of the command's arguments.
func (s *selection) args(cmd *cobra.Command, given []string) error {
	if s.all && len(given) == 0 {
		return nil
	}
	if s.all {
		return usageError("--all can't be combined with names of containers")
	}
	return args(1, -1)(cmd, given)
}

// refs are the containers' names: as they were typed, or all, newest first. In this
// order they are ended; oldest is the one in which they are started: who joins the
// network of another is the younger one.
func (s *selection) refs(ctx context.Context, c containers, given []string, oldest bool) ([]string, error) {
	if !s.all {
		return given, nil
	}
	list, err := c.all().List(ctx) // newest first
	if err != nil {
		return nil, err
	}
	var refs []string
	for _, rec := range list {
		if s.fits(rec.State.Status) {
			refs = append(refs, rec.Name)
		}
	}
	if oldest {
		slices.Reverse(refs)
	}
	return refs, nil
}
