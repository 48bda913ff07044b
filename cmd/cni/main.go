// Command cni is all CNI plugins in one binary. It is called by links that are
// named like the plugins: bridge, host, none, loopback, ...
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/netctl/netctl/plugins"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(plugins.Main(ctx, os.Args, plugins.Stdio{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}
