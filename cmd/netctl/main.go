// Command netctl gives Linux containers their network, and runs containers.
package main

import (
	"context"
	"os"

	"github.com/netctl/netctl/netctl"
)

func main() {
	os.Exit(netctl.Main(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
