// Package conformance is the program cni-conformance: a black-box conformance
// suite for CNI plugins, whoever wrote them.
//
// It runs plugins as a container runtime would, on lab hosts made of network
// namespaces, and judges them by exit status, standard output, kernel state
// and real traffic against a numbered checklist. The packages below it:
//
//	protocol  requests, replies, results, the shapes of each version
//	lab       private hosts, containers, traffic, states, faults
//	trial     one row on one plugin
//	rows      the checklist and its checks
//	suite     what to run on what, in parallel
//	report    terminal, JSON, JUnit, comparison
//	double    the program as a delegate that does as it is told
package conformance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/netctl/netctl/conformance/double"
)

// errNotConforming ends a run in which rows failed; everything has been said.
var errNotConforming = errors.New("rows failed")

// errInterrupted ends a run that a signal has ended.
var errInterrupted = errors.New("interrupted")

// exitInterrupted is what shells make of a death by SIGINT.
const exitInterrupted = 130

// Main runs the program and returns its exit status: 0 when every row passed,
// does not apply or is a known deviation, 1 when rows failed or could not be
// judged, 2 when the suite could not run, 130 after Ctrl-C.
func Main(args []string) int {
	if exit, played := double.Play(args, os.Stdin, os.Stdout, os.Stderr); played {
		return exit
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	root := command()
	root.SetArgs(args[1:])
	err := root.ExecuteContext(ctx)
	switch {
	case errors.Is(err, errNotConforming):
		return 1
	case errors.Is(err, errInterrupted), err != nil && ctx.Err() != nil:
		return exitInterrupted
	case err != nil:
		fmt.Fprintf(os.Stderr, "cni-conformance: %v\n", err)
		return 2
	}
	return 0
}

// version is the one the program was built from: a release, or a commit.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return info.Main.Version
}

func command() *cobra.Command {
	root := &cobra.Command{
		Use:           "cni-conformance",
		Version:       version(),
		Short:         "Judge CNI plugins against the specification and what runtimes depend on",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.AddCommand(runCommand(), listCommand(), explainCommand(), compareCommand())
	return root
}
