package monitor

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/engine"
	"github.com/netctl/netctl/netctl/runner/store"
)

// argumentCheck has this program run a container's health check, once:
//
//	netctl-monitor check STATE DATA ID
//
// Its status is the check's, or engine.StatusOwnFailure and its like if there is none; a
// SIGTERM ends the check.
const argumentCheck = "check"

func runCheck(args []string) int {
	// What the monitor has for itself is not for what runs in the container.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("0"), 0)
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer stop()
	code, err := checkOnce(ctx, args)
	if err != nil {
		status, text := engine.Explain(err)
		fmt.Fprintln(os.Stderr, text)
		return status
	}
	return code
}

func checkOnce(ctx context.Context, args []string) (int, error) {
	id, err := runner.ParseID(args[3])
	if err != nil {
		return 0, err
	}
	s := store.Open(args[1], args[2])
	rec, err := s.Load(id)
	if err != nil {
		return 0, err
	}
	var asRun specs.Spec
	if err := s.Spec(id, &asRun); err != nil {
		return 0, err
	}
	box, err := engine.Engine{Root: s.EngineRoot()}.Load(string(id))
	if err != nil {
		return 0, err
	}
	p := asRun.Process
	p.Args, p.Terminal, p.ConsoleSize = rec.Health.Args(), false, nil
	started, err := box.Exec(engine.Process{Spec: p, Stdout: os.Stdout, Stderr: os.Stderr})
	if err != nil {
		return 0, err
	}
	return waitOrKill(ctx, started)
}

// waitOrKill waits for a child's end, which it brings about when ctx ends.
func waitOrKill(ctx context.Context, p *engine.Started) (int, error) {
	// Nobody has waited for it, so its number is its own; what we hold from here on is
	// the process, not the number (pidfd).
	child, err := os.FindProcess(p.Pid)
	if err != nil {
		return p.Wait()
	}
	defer child.Release() //nolint:errcheck // closes
	defer context.AfterFunc(ctx, func() { _ = child.Kill() })()
	return p.Wait()
}
