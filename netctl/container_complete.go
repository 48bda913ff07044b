package netctl

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/netctl/netctl/netctl/runner"
)

// completeRun proposes networks, other containers to join, and capabilities.
func (c containers) completeRun(cmd *cobra.Command) {
	networks := func(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		if strings.HasPrefix(typed, string(runner.NetworkContainer)+":") {
			names, directive := c.completion(isActive)(cmd, nil, typed)
			for i := range names {
				names[i] = string(runner.NetworkContainer) + ":" + names[i]
			}
			return names, directive
		}
		return networkCommands(c).completeNetworks(cmd, nil, typed)
	}
	for flag, complete := range map[string]cobra.CompletionFunc{
		"network":      networks,
		"userns":       cobra.FixedCompletions([]string{"auto", "host"}, cobra.ShellCompDirectiveNoFileComp),
		"security-opt": cobra.FixedCompletions([]string{"seccomp=unconfined", "seccomp=compat", "no-new-privileges=false"}, cobra.ShellCompDirectiveNoFileComp),
	} {
		_ = cmd.RegisterFlagCompletionFunc(flag, complete)
	}
}
