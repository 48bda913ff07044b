package netctl

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// newGroup makes a command that only holds others: alone it prints its help.
func newGroup(use, short string, commands ...*cobra.Command) *cobra.Command {
	group := &cobra.Command{
		Use:   use,
		Short: short,
		// Without this cobra would answer unknown commands of the root itself.
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return cmd.Help()
		},
		SuggestionsMinimumDistance: 2,
	}
	group.AddCommand(commands...)
	return group
}

func unknownCommand(group *cobra.Command, typed string) error {
	err := usageError("unknown command '%s'", group.CommandPath()+" "+typed)
	err.Hint = fmt.Sprintf("see '%s --help'", group.CommandPath())
	if instead := elsewhereCommand(group.CommandPath(), typed); instead != "" {
		err.Hint = instead
		return err
	}
	// Of a word of three letters two in common are no likeness.
	group.SuggestionsMinimumDistance = min(group.SuggestionsMinimumDistance, len(typed)/2)
	if near := group.SuggestionsFor(typed); len(near) > 0 {
		err.Hint = fmt.Sprintf("did you mean '%s'?", near[0])
	}
	return err
}

// goParsing is what the standard library's own name for a mistake in a number begins with.
var goParsing = regexp.MustCompile(`strconv\.\w+: parsing ".*": `)

// flagError answers for a flag that can't be read. If a word that is no
// command came before it, that word is the mistake.
func flagError(cmd *cobra.Command, err error) error {
	if words := cmd.Flags().Args(); cmd.HasSubCommands() && len(words) > 0 {
		return unknownCommand(cmd, words[0])
	}
	e := usageError("%s", goParsing.ReplaceAllString(err.Error(), ""))
	e.Hint = fmt.Sprintf("see '%s --help'", cmd.CommandPath())
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		e.Hint = cmp.Or(elsewhereFlag(cmd.CommandPath(), unknown.GetSpecifiedName()), e.Hint)
	}
	return e
}

// args checks the number of arguments; most < 0 means no upper limit.
func args(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error {
		if len(given) >= least && (most < 0 || len(given) <= most) {
			return nil
		}
		e := usageError("'%s' %s, not %d", cmd.CommandPath(), takes(least, most), len(given))
		e.Hint = "usage: " + cmd.UseLine()
		return e
	}
}

func takes(least, most int) string {
	switch {
	case most == 0:
		return "takes no arguments"
	case most < 0:
		return "takes at least " + counted(least, "argument")
	case least == most:
		return "takes " + counted(least, "argument")
	}
	return fmt.Sprintf("takes %d to %s", least, counted(most, "argument"))
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// pruneRefusal is in the place of a top-level prune, which in docker's world
// could mean any of three things, all of them final.
func pruneRefusal() *cobra.Command {
	return &cobra.Command{
		Use:                "prune",
		Hidden:             true,
		DisableFlagParsing: true,
		RunE: func(*cobra.Command, []string) error {
			e := usageError("'netctl prune' does not say what to remove")
			e.Hint = "use 'netctl container prune', 'netctl network prune' or 'netctl system prune'"
			return e
		},
	}
}
