package netctl

import (
	"github.com/spf13/cobra"
)

// systemCommands is the group of what concerns the whole host.
func systemCommands(app *App) *cobra.Command {
	return newGroup("system", "Look after this host: what there is, what it takes, what can go",
		dfCommand(app), systemPruneCommand(app), infoCommand(app), eventsCommand(app))
}
