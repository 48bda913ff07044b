// Command cni-conformance judges CNI plugins against the specification and
// what container runtimes depend on. See the package conformance.
package main

import (
	"os"

	"github.com/netctl/netctl/conformance"
)

func main() { os.Exit(conformance.Main(os.Args)) }
