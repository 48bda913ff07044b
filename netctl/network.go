package netctl

import (
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/netctl/netctl/ipam"
	"github.com/netctl/netctl/netctl/network"
	"github.com/netctl/netctl/plugins"
)

// networkCommands are the verbs of `netctl network`. Some have a second place
// at the top level, hence a constructor for each.
type networkCommands struct{ app *App }

// addTo adds the group and, at the top level, those verbs that
// mean nothing else to a docker or podman user (spec cli 1.1).
func (c networkCommands) addTo(root *cobra.Command) {
	top := []*cobra.Command{c.topCreate(), c.list(), c.connect(), c.disconnect(), c.exists(), c.reload()}
	group := newGroup("network", "Make and look after networks",
		c.create(), c.list(), c.inspect(), c.remove(), c.prune(), c.connect(), c.disconnect(), c.exists(), c.reload())
	for _, cmd := range append([]*cobra.Command{group}, top...) {
		cmd.GroupID = groupNetworks
		root.AddCommand(cmd)
	}
}

func (c networkCommands) store() *network.Store {
	store := network.Open(c.app.ConfDir, c.app.Log)
	store.Supports = func(plugin string) bool { return slices.Contains(plugins.Names(), plugin) }
	return store
}

// networkError gives an error of package network its hint.
func networkError(err error) error {
	var (
		missing   *network.NotFoundError
		exhausted *ipam.PoolsExhaustedError
		overlap   *network.OverlapError
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &missing):
		return &Error{Status: ExitFailed, Err: err, Hint: "known networks: " + strings.Join(missing.Known, ", ")}
	case errors.As(err, &exhausted):
		return &Error{Status: ExitFailed, Err: err, Hint: "remove unused networks with 'netctl network prune', or choose a subnet with --subnet"}
	case errors.As(err, &overlap):
		return &Error{Status: ExitFailed, Err: err, Hint: "choose another --subnet, or leave it out to get a free one"}
	}
	return err
}
