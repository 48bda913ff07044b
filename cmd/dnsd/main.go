// Command dnsd resolves the names of containers. See package dnsd.
package main

import (
	"os"

	"github.com/netctl/netctl/dnsd"
)

func main() { os.Exit(dnsd.Main(os.Args[1:], os.Stderr)) }
