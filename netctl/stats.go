package netctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/engine"
	"github.com/netctl/netctl/netctl/runner/lifecycle"
)

// statsRow is a line of stats; the names are docker's.
type statsRow struct {
	ID        string `header:"CONTAINER ID"`
	Container string
	Name      string
	CPUPerc   string `header:"CPU %"`
	MemUsage  string `header:"MEM USAGE / LIMIT"`
	MemPerc   string `header:"MEM %"`
	NetIO     string `header:"NET I/O"`
	BlockIO   string `header:"BLOCK I/O"`
	PIDs      string
}

type statsFlags struct {
	listing
	once, all, full bool
}

func (c containers) stats() *cobra.Command {
	var f statsFlags
	cmd := &cobra.Command{
		Use:               "stats [OPTIONS] [CONTAINER...]",
		Short:             "Show what containers use, now and every second",
		ValidArgsFunction: c.completion(isActive),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return c.showStats(ctx, f, args)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.once, "no-stream", false, "show one table and end")
	flags.BoolVarP(&f.all, "all", "a", false, "stopped ones too")
	flags.BoolVar(&f.full, "no-trunc", false, "shorten nothing")
	flags.StringVar(&f.Format, "format", "", "'table', 'table TEMPLATE', 'json' (an object a line) or a Go template")
	return cmd
}

// statsInterval is the time between two readings, which CPU % is about.
const statsInterval = time.Second

func (c containers) showStats(ctx context.Context, f statsFlags, refs []string) error {
	all := c.all()
	f.Columns = []string{"ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs"}
	before, err := c.readings(ctx, all, f, refs)
	if err != nil {
		return err
	}
	tick := time.NewTicker(statsInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now, err := c.readings(ctx, all, f, refs)
		if err != nil {
			return err
		}
		var rows []statsRow
		for _, r := range now {
			rows = append(rows, r.row(before, f.full))
		}
		if !f.once && isTerminalWriter(c.app.Stdout) {
			_, _ = io.WriteString(c.app.Stdout, "\x1b[H\x1b[2J")
		}
		if err := show(c.app.Stdout, f.listing, rows); err != nil || f.once {
			return err
		}
		before = now
	}
}

// reading is one container at one moment; stats and net are zero if it doesn't
// run.
type reading struct {
	rec   runner.Container
	stats engine.Stats
	net   lifecycle.Traffic
}

func (c containers) readings(ctx context.Context, all *lifecycle.Containers, f statsFlags, refs []string) ([]reading, error) {
	chosen, err := c.chosen(ctx, all, refs)
	if err != nil {
		return nil, err
	}
	var out []reading
	for _, rec := range chosen {
		if !rec.State.Status.Active() {
			if f.all || len(refs) > 0 {
				out = append(out, reading{rec: rec})
			}
			continue
		}
		s, net, err := all.Stats(&rec)
		if errors.Is(err, engine.ErrNotRunning) {
			continue // ended meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("container %s: %w", rec.Name, err)
		}
		out = append(out, reading{rec, *s, net})
	}
	return out, nil
}

func (c containers) chosen(ctx context.Context, all *lifecycle.Containers, refs []string) ([]runner.Container, error) {
	if len(refs) == 0 {
		return all.List(ctx)
	}
	var out []runner.Container
	for _, ref := range refs {
		rec, err := all.Find(ctx, ref)
		if err != nil {
			return nil, c.explain(err, ref)
		}
		out = append(out, rec)
	}
	return out, nil
}

func (r reading) row(before []reading, full bool) statsRow {
	id := string(r.rec.Config.ID)
	row := statsRow{ID: shortID(id, full), Container: shortID(id, full), Name: r.rec.Name}
	if r.stats.Read.IsZero() {
		row.CPUPerc, row.MemUsage, row.MemPerc, row.NetIO, row.BlockIO, row.PIDs = "--", "-- / --", "--", "--", "--", "--"
		return row
	}
	row.CPUPerc = "0.00%"
	if i := slices.IndexFunc(before, func(b reading) bool { return b.rec.Config.ID == r.rec.Config.ID }); i >= 0 {
		b := before[i].stats
		if wall := r.stats.Read.Sub(b.Read); !b.Read.IsZero() && wall > 0 {
			row.CPUPerc = percent(float64(r.stats.CPU-b.CPU), float64(wall))
		}
	}
	row.MemUsage = units.BytesSize(float64(r.stats.Memory)) + " / " + units.BytesSize(float64(r.stats.MemoryLimit))
	row.MemPerc = percent(float64(r.stats.Memory), float64(r.stats.MemoryLimit))
	row.NetIO = pair(r.net.Received, r.net.Sent)
	row.BlockIO = pair(r.stats.BlockRead, r.stats.BlockWrite)
	row.PIDs = fmt.Sprint(r.stats.Pids)
	return row
}

func percent(part, whole float64) string {
	if whole == 0 {
		return "0.00%"
	}
	return fmt.Sprintf("%.2f%%", 100*part/whole)
}

func pair(a, b uint64) string {
	return units.HumanSizeWithPrecision(float64(a), 3) + " / " + units.HumanSizeWithPrecision(float64(b), 3)
}

func isTerminalWriter(w io.Writer) bool {
	r, ok := w.(io.Reader)
	return ok && isTerminal(r)
}
