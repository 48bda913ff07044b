package plugins

import (
	"fmt"
	"strings"
)

// notAPlugin answers a call of the binary under its own name: with `names` it
// lists the plugins, for those who make the links.
func notAPlugin(program string, args []string, stdio Stdio) int {
	if len(args) == 1 && args[0] == "names" {
		fmt.Fprintln(stdio.Out, strings.Join(Names(), "\n"))
		return 0
	}
	fmt.Fprintf(stdio.Err, "%s is not a plugin: call this program by a link named %s\n", program, strings.Join(Names(), ", "))
	return 1
}
