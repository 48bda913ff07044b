// Command overlayd keeps this host a member of the overlay: it holds the
// host's pools and makes the kernel reach everybody else's. See the package
// plugins/overlay/agent.
package main

import (
	"os"

	"github.com/netctl/netctl/plugins/overlay/agent"
)

func main() { os.Exit(agent.Main(os.Args[1:], os.Stderr)) }
