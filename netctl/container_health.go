package netctl

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/lifecycle"
)

// healthFlags are docker's words for a health check.
type healthFlags struct {
	command                                       string
	interval, timeout, startPeriod, startInterval time.Duration
	retries                                       int
	none                                          bool
}

func (f *healthFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.command, "health-cmd", "", "shell line that tells by its status whether the container does its work")
	flags.DurationVar(&f.interval, "health-interval", 0, "pause between two checks (default 30s)")
	flags.DurationVar(&f.timeout, "health-timeout", 0, "how long one check may take (default 30s)")
	flags.IntVar(&f.retries, "health-retries", 0, "failures in a row that make it unhealthy (default 3)")
	flags.DurationVar(&f.startPeriod, "health-start-period", 0, "how long failures mean only that it is not ready yet")
	flags.DurationVar(&f.startInterval, "health-start-interval", 0, "pause between two checks meanwhile (default 5s)")
	flags.BoolVar(&f.none, "no-healthcheck", false, "do not run the image's health check")
}

// over gives the image's check with what the flags say in its place.
func (f *healthFlags) over(image runner.HealthCheck) (runner.HealthCheck, error) {
	if *f == (healthFlags{none: true}) {
		return runner.HealthCheck{}, nil
	}
	if f.none {
		return image, usageError("--no-healthcheck can't be combined with --health-cmd and the other --health flags")
	}
	check := image
	switch f.command {
	case "":
	case "none": // podman's spelling of --no-healthcheck
		check.Test = []string{"NONE"}
	default:
		var err error
		if check.Test, err = healthTest(f.command); err != nil {
			return check, err
		}
	}
	for _, d := range []struct{ from, to *time.Duration }{
		{&f.interval, &check.Interval}, {&f.timeout, &check.Timeout},
		{&f.startPeriod, &check.StartPeriod}, {&f.startInterval, &check.StartInterval},
	} {
		if *d.from != 0 {
			*d.to = *d.from
		}
	}
	if f.retries != 0 {
		check.Retries = f.retries
	}
	if !check.Enabled() && *f != (healthFlags{}) && f.command != "none" {
		return check, usageError("the --health flags need --health-cmd: the image has no health check")
	}
	return check, nil
}

// healthTest reads --health-cmd: a line for the shell, or as podman has it a list in JSON,
// with or without the word CMD.
func healthTest(text string) ([]string, error) {
	if !strings.HasPrefix(text, `["`) {
		return []string{"CMD-SHELL", text}, nil
	}
	var list []string
	if err := json.Unmarshal([]byte(text), &list); err != nil || len(list) == 0 {
		return nil, usageError(`--health-cmd %s: want a shell line, or a list in JSON such as ["curl","localhost"]`, text)
	}
	if list[0] != "CMD" && list[0] != "CMD-SHELL" {
		list = append([]string{"CMD"}, list...)
	}
	return list, nil
}

// fillHealth takes the image's check and the flags over it.
func (f *containerFlags) fillHealth(cfg *runner.Config) error {
	check, err := f.health.over(f.defaults.health)
	if err != nil {
		return err
	}
	if err := check.Check(); err != nil {
		if f.health == (healthFlags{}) {
			return fmt.Errorf("image %s: health check: %w", cfg.Image, err)
		}
		return usageError("health check: %w", err)
	}
	cfg.Health = runner.HealthCheck{}
	if check.Enabled() {
		cfg.Health = check
	}
	return nil
}

// healthText is what ps says behind "Up ...".
func healthText(h *runner.Health) string {
	switch {
	case h == nil:
		return ""
	case h.Status == runner.HealthStarting:
		return " (health: starting)"
	}
	return " (" + string(h.Status) + ")"
}

// healthWord is what `ps --filter health=` compares.
func healthWord(st runner.State) string {
	if st.Health == nil || !st.Status.Active() {
		return "none"
	}
	return string(st.Health.Status)
}

// healthcheck is podman's group of one verb.
func (c containers) healthcheck() *cobra.Command {
	return newGroup("healthcheck", "Run containers' health checks", &cobra.Command{
		Use:               "run CONTAINER",
		Short:             "Run a container's health check now: status 0 if it is healthy, 1 if not",
		Args:              args(1, 1),
		ValidArgsFunction: one(c.completion(isRunningNow)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.explain(c.checkNow(cmd, args[0]), args[0])
		},
	})
}

func (c containers) checkNow(cmd *cobra.Command, ref string) error {
	all := c.all()
	rec, err := all.Find(cmd.Context(), ref)
	if err != nil {
		return err
	}
	if !rec.Health.Enabled() {
		return fmt.Errorf("container %s has no health check", rec.Name)
	}
	// As in podman the monitor's own checks go on, and their results stay theirs.
	p, err := all.Exec(&rec, lifecycle.ExecRequest{Args: rec.Health.Args()})
	if err != nil {
		return execError(err)
	}
	code, err := p.Wait()
	if err == nil && code != 0 {
		fmt.Fprintln(c.app.Stdout, runner.Unhealthy)
		return statusError(1)
	}
	return err
}
