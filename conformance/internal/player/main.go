// Command player is what the suite's own tests start in place of plugins: a
// mutant, the delegate, or the program itself. It is a program of its own, and
// built without the race detector whatever the tests are built with: that one
// makes a process sleep for a second before it exits while other goroutines
// live (atexit_sleep_ms), and a mutant is started thousands of times.
package main

import (
	"os"

	"github.com/netctl/netctl/conformance"
	"github.com/netctl/netctl/conformance/internal/mutant"
)

func main() {
	if exit, played := mutant.Play(os.Args); played {
		os.Exit(exit)
	}
	os.Exit(conformance.Main(os.Args))
}
