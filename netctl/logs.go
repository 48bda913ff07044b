package netctl

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/lifecycle"
	"github.com/netctl/netctl/netctl/runner/logfile"
)

type logFlags struct {
	follow, times, details, raw bool
	tail, since, until          string
}

func (c containers) logs() *cobra.Command {
	var f logFlags
	cmd := &cobra.Command{
		Use:               "logs [OPTIONS] CONTAINER",
		Short:             "Show what a container has printed",
		Args:              args(1, 1),
		ValidArgsFunction: one(c.completion(anyStatus)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.explain(c.showLogs(cmd.Context(), f, args[0]), args[0])
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&f.follow, "follow", "f", false, "go on until the container ends")
	flags.StringVarP(&f.tail, "tail", "n", "all", "number of lines from the end")
	flags.BoolVarP(&f.times, "timestamps", "t", false, "show when each line was printed")
	flags.StringVar(&f.since, "since", "", "only lines after this time, or of the last 10m")
	flags.StringVar(&f.until, "until", "", "only lines before this time")
	flags.BoolVar(&f.raw, "raw", false, "on a terminal too, pass control characters on as they are")
	flags.BoolVar(&f.details, "details", false, "")
	_ = flags.MarkHidden("details") // docker's log drivers' attributes; there are none
	return cmd
}

func (c containers) showLogs(ctx context.Context, f logFlags, ref string) error {
	q, err := f.query(time.Now())
	if err != nil {
		return err
	}
	all := c.all()
	rec, err := all.Find(ctx, ref)
	if err != nil {
		return err
	}
	if f.follow {
		q.Follow, q.Ended = true, endOf(ctx, all, rec.Config.ID)
	}
	p := printer{out: c.app.Stdout, err: c.app.Stderr, times: f.times, open: map[string]bool{}}
	p.rawOut, p.rawErr = f.raw || rawWriter(p.out), f.raw || rawWriter(p.err)
	return logfile.Read(ctx, all.Store.LogPath(rec.Config.ID), q, p.print)
}

// endOf is closed when no monitor is alive.
func endOf(ctx context.Context, all *lifecycle.Containers, id runner.ID) <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = all.Store.Wait(ctx, id)
	}()
	return ended
}

func (f logFlags) query(now time.Time) (logfile.Query, error) {
	q := logfile.Query{Tail: -1}
	var err error
	if f.tail != "all" {
		if q.Tail, err = strconv.Atoi(f.tail); err != nil {
			return q, usageError("--tail %s: want a number or 'all'", f.tail)
		}
	}
	for _, bound := range []struct {
		flag, text string
		into       *time.Time
	}{{"--since", f.since, &q.Since}, {"--until", f.until, &q.Until}} {
		if bound.text == "" {
			continue
		}
		if *bound.into, err = parseMoment(bound.text, now); err != nil {
			return q, usageError("%s: %w", bound.flag, err)
		}
	}
	return q, nil
}

// printer writes each entry to where the container wrote it.
type printer struct {
	out, err io.Writer
	// rawOut and rawErr: a stream takes control characters.
	rawOut, rawErr bool
	times          bool
	open           map[string]bool // streams in the middle of a line
}

func (p *printer) print(e logfile.Entry) error {
	w, raw := p.out, p.rawOut
	if e.Stream == logfile.Stderr {
		w, raw = p.err, p.rawErr
	}
	if p.times && !p.open[e.Stream] {
		if _, err := fmt.Fprintf(w, "%s ", e.Time.Format(time.RFC3339Nano)); err != nil {
			return err
		}
	}
	p.open[e.Stream] = e.Partial
	text := e.Text
	if !raw {
		text = visible(text)
	}
	if !e.Partial {
		text = append(text[:len(text):len(text)], '\n')
	}
	_, err := w.Write(text)
	return err
}
