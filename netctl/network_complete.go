package netctl

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/netctl/netctl/netctl/network"
)

// Completion says nothing when something is wrong: an error in the middle of a
// command line that is being typed helps nobody.

// completeNetworks proposes the networks not named yet.
func (c networkCommands) completeNetworks(_ *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
	return c.proposeNetworks(given, func(network.Network) bool { return true })
}

func (c networkCommands) completeRemovable(_ *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
	return c.proposeNetworks(given, func(n network.Network) bool { return n.Ours && !n.Predefined() })
}

func (c networkCommands) proposeNetworks(given []string, fits func(network.Network) bool) ([]string, cobra.ShellCompDirective) {
	networks, _ := network.Open(c.app.ConfDir, silent()).List()
	var proposals []string
	for _, n := range networks {
		if fits(n) && !slices.Contains(given, n.Name) {
			proposals = append(proposals, cobra.CompletionWithDesc(n.Name, n.Driver))
		}
	}
	return proposals, cobra.ShellCompDirectiveNoFileComp
}

// completeCreate proposes drivers and the options of the chosen one.
func (c networkCommands) completeCreate(cmd *cobra.Command) {
	fixed := func(values ...string) cobra.CompletionFunc {
		return cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)
	}
	options := func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		driver, _ := cmd.Flags().GetString("driver")
		return withEquals(network.Options(driver))
	}
	for flag, complete := range map[string]cobra.CompletionFunc{
		"driver":      fixed(network.Drivers()...),
		"ipam-driver": fixed("default", "none"),
		"opt":         options,
	} {
		_ = cmd.RegisterFlagCompletionFunc(flag, complete)
	}
}

func (c networkCommands) completeFilter(cmd *cobra.Command, keys []string) {
	_ = cmd.RegisterFlagCompletionFunc("filter", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return withEquals(keys)
	})
}

func withEquals(keys []string) ([]string, cobra.ShellCompDirective) {
	var proposals []string
	for _, key := range keys {
		proposals = append(proposals, key+"=")
	}
	return proposals, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}
