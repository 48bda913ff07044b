package netctl

import (
	"context"
	"fmt"
	"maps"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/netctl/netctl/netctl/runner/events"
)

// eventObject is an event as --format knows it: docker's JSON.
type eventObject struct {
	Status   string `json:"status,omitempty"` // of containers, docker's older fields
	ID       string `json:"id,omitempty"`
	From     string `json:"from,omitempty"`
	Type     string
	Action   string
	Actor    eventActor
	Scope    string `json:"scope"`
	Time     int64  `json:"time"`     // seconds
	TimeNano int64  `json:"timeNano"` // nanoseconds
}

type eventActor struct {
	ID         string
	Attributes map[string]string
}

type eventFlags struct {
	since, until, format string
	filters              []string
}

func eventFilters() []string {
	return []string{"container", "event", "image", "label", "network", "type", "volume"}
}

func eventsCommand(app *App) *cobra.Command {
	var f eventFlags
	cmd := &cobra.Command{
		Use:   "events [OPTIONS]",
		Short: "Show what happens to containers, networks and volumes, as it happens",
		Long: `Show what happens to containers, networks and volumes, as it happens. With --since
what has happened before comes first, back to the host's start; with --until the
command ends.`,
		Args:              args(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return showEvents(ctx, app, f)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.since, "since", "", "events after this time too, or of the last 10m")
	flags.StringVar(&f.until, "until", "", "end at this time")
	flags.StringVar(&f.format, "format", "", "'json' (an object a line) or a Go template")
	flags.StringArrayVarP(&f.filters, "filter", "f", nil, "show only some, as KEY=VALUE: "+strings.Join(eventFilters(), ", "))
	networkCommands{app}.completeFilter(cmd, eventFilters())
	return cmd
}

func showEvents(ctx context.Context, app *App, f eventFlags) error {
	conditions, err := parseFilters(f.filters, eventFilters()...)
	if err != nil {
		return err
	}
	now := time.Now()
	since, until := now, time.Time{}
	if f.since != "" {
		if since, err = parseMoment(f.since, now); err != nil {
			return usageError("--since: %w", err)
		}
	}
	if f.until != "" {
		if until, err = parseMoment(f.until, now); err != nil {
			return usageError("--until: %w", err)
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, until)
		defer cancel()
	}
	var failure error
	err = events.Open(app.StateDir).Read(ctx, since, until.IsZero() || until.After(now), func(e events.Event) bool {
		if !until.IsZero() && e.Time.After(until) {
			return false
		}
		if matchEvent(conditions, e) {
			failure = printEvent(app, f.format, e)
		}
		return failure == nil
	})
	if failure != nil {
		return failure
	}
	return err
}

func matchEvent(f filters, e events.Event) bool {
	object := func(key string, kind events.Kind, attribute string) bool {
		return f.any(key, func(want string) bool {
			if e.Kind != kind {
				return attribute != "" && want != "" && strings.HasPrefix(e.Attributes[attribute], want)
			}
			return e.Attributes["name"] == want || e.ID == want || len(want) >= 4 && strings.HasPrefix(e.ID, want)
		})
	}
	return f.equals("type", string(e.Kind)) && f.any("event", func(want string) bool { return e.Action == want || strings.HasPrefix(e.Action, want+": ") }) && f.equals("image", e.Attributes["image"]) &&
		f.labels(e.Attributes) && object("container", events.Container, "container") &&
		object("network", events.Network, "") && object("volume", events.Volume, "")
}

func printEvent(app *App, format string, e events.Event) error {
	switch format {
	case "":
		_, err := fmt.Fprintln(app.Stdout, eventText(e))
		return err
	case "json":
		format = "{{json .}}"
	}
	return showTemplate(app.Stdout, format, []eventObject{newEventObject(e)})
}

func newEventObject(e events.Event) eventObject {
	o := eventObject{
		Type: string(e.Kind), Action: e.Action, Actor: eventActor{ID: e.ID, Attributes: e.Attributes}, Scope: "local",
		Time: e.Time.Unix(), TimeNano: e.Time.UnixNano(),
	}
	if e.Kind == events.Container {
		o.Status, o.ID, o.From = e.Action, e.ID, e.Attributes["image"]
	}
	return o
}

// eventText is docker's line, and one line whatever the labels are.
func eventText(e events.Event) string {
	var attributes []string
	for _, key := range slices.Sorted(maps.Keys(e.Attributes)) {
		attributes = append(attributes, key+"="+e.Attributes[key])
	}
	return visibleLine(fmt.Sprintf("%s %s %s %s (%s)", e.Time.Format("2006-01-02T15:04:05.000000000Z07:00"), e.Kind, e.Action, e.ID, strings.Join(attributes, ", ")))
}
