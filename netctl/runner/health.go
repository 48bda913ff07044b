package runner

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"
)

// HealthCheck is a program that finds out whether a container does its work: docker's
// HEALTHCHECK. Its monitor runs it again and again.
type HealthCheck struct {
	// Test is "CMD" and a program with its arguments, or "CMD-SHELL" and a line for
	// /bin/sh. Empty, or "NONE": there is no check.
	Test []string `json:"test,omitempty"`
	// Interval is the pause between two checks, Timeout how long one may take.
	Interval time.Duration `json:"interval,omitempty"`
	Timeout  time.Duration `json:"timeout,omitempty"`
	// StartPeriod is how long a failure means only that the container is not ready yet;
	// StartInterval is the pause meanwhile.
	StartPeriod   time.Duration `json:"startPeriod,omitempty"`
	StartInterval time.Duration `json:"startInterval,omitempty"`
	// Retries is how many failures in a row make it unhealthy.
	Retries int `json:"retries,omitempty"`
}

// What a health check does that does not say (docker's).
const (
	healthInterval      = 30 * time.Second
	healthTimeout       = 30 * time.Second
	healthStartInterval = 5 * time.Second
	healthRetries       = 3
	// MinHealthInterval is the shortest pause: each check is some 20 ms of work for the
	// host.
	MinHealthInterval = 100 * time.Millisecond
)

// Enabled tells whether there is anything to run.
func (h HealthCheck) Enabled() bool { return len(h.Test) > 0 && h.Test[0] != "NONE" }

// Check tells what makes no sense in it.
func (h HealthCheck) Check() error {
	if !h.Enabled() {
		return nil
	}
	switch kind := h.Test[0]; {
	case kind != "CMD" && kind != "CMD-SHELL":
		return fmt.Errorf("test of kind %q: want CMD or CMD-SHELL", kind)
	case len(h.Test) < 2 || kind == "CMD-SHELL" && len(h.Test) != 2:
		return errors.New("no program to run")
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"interval", h.Interval}, {"timeout", h.Timeout}, {"start interval", h.StartInterval},
	} {
		if d.value != 0 && d.value < MinHealthInterval {
			return fmt.Errorf("%s of %s: want at least %s", d.name, d.value, MinHealthInterval)
		}
	}
	if h.StartPeriod < 0 || h.Retries < 0 {
		return errors.New("a start period or number of retries below 0")
	}
	return nil
}

// Args are the program to run and its arguments.
func (h HealthCheck) Args() []string {
	if h.Test[0] == "CMD-SHELL" {
		return []string{"/bin/sh", "-c", h.Test[1]}
	}
	return h.Test[1:]
}

// Limit is how long a check may take.
func (h HealthCheck) Limit() time.Duration { return cmp.Or(h.Timeout, healthTimeout) }

// Pause is how long to wait before the next check.
func (h HealthCheck) Pause(now Health, sinceStart time.Duration) time.Duration {
	if now.Status == HealthStarting && sinceStart < h.StartPeriod {
		return cmp.Or(h.StartInterval, healthStartInterval)
	}
	return cmp.Or(h.Interval, healthInterval)
}

// HealthStatus is a word of docker's.
type HealthStatus string

const (
	HealthStarting HealthStatus = "starting"
	Healthy        HealthStatus = "healthy"
	Unhealthy      HealthStatus = "unhealthy"
)

// Health is what the checks have found since the program's start.
type Health struct {
	Status        HealthStatus   `json:"status"`
	FailingStreak int            `json:"failingStreak,omitempty"`
	Log           []HealthResult `json:"log,omitempty"` // of the last checks, oldest first
}

// HealthResult is one check.
type HealthResult struct {
	Start, End time.Time
	ExitCode   int    // 0 is healthy; -1: it could not be run, or not to its end
	Output     string // the beginning of it
}

// maxHealthLog is how many results are kept (docker's).
const maxHealthLog = 5

// After is the health when another check has ended. sinceStart is how long the program
// had run when it began.
func (h Health) After(c HealthCheck, r HealthResult, sinceStart time.Duration) Health {
	h.Log = append(slices.Clone(h.Log[max(0, len(h.Log)-maxHealthLog+1):]), r)
	if r.ExitCode == 0 {
		h.Status, h.FailingStreak = Healthy, 0
		return h
	}
	if h.Status == HealthStarting && sinceStart < c.StartPeriod {
		return h
	}
	h.FailingStreak++
	retries := c.Retries
	if retries == 0 {
		retries = healthRetries
	}
	if h.FailingStreak >= retries {
		h.Status = Unhealthy
	}
	return h
}
