package runner

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// RestartWhen is a word of docker's --restart.
type RestartWhen string

const (
	RestartNo            RestartWhen = ""
	RestartOnFailure     RestartWhen = "on-failure"
	RestartAlways        RestartWhen = "always"
	RestartUnlessStopped RestartWhen = "unless-stopped"
)

// RestartPolicy says when a container that has ended is run again. Its monitor
// does that; after a boot `netctl start --after-boot`.
type RestartPolicy struct {
	When RestartWhen `json:"when,omitempty"`
	// MaxRetries bounds on-failure; 0 is no bound.
	MaxRetries int `json:"maxRetries,omitempty"`
}

// ParseRestartPolicy reads no, on-failure[:N], always or unless-stopped.
func ParseRestartPolicy(text string) (RestartPolicy, error) {
	word, count, bounded := strings.Cut(text, ":")
	p := RestartPolicy{When: RestartWhen(word)}
	switch p.When {
	case "no":
		p.When = RestartNo
	case RestartNo, RestartOnFailure, RestartAlways, RestartUnlessStopped:
	default:
		return p, fmt.Errorf("invalid restart policy %q: want no, on-failure[:N], always or unless-stopped", text)
	}
	if !bounded {
		return p, nil
	}
	if p.When != RestartOnFailure {
		return p, fmt.Errorf("invalid restart policy %q: only on-failure has a number of retries", text)
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 {
		return p, fmt.Errorf("invalid restart policy %q: the number of retries must be 0 or more", text)
	}
	p.MaxRetries = n
	return p, nil
}

func (p RestartPolicy) String() string {
	switch {
	case p.When == RestartNo:
		return "no"
	case p.MaxRetries > 0:
		return fmt.Sprintf("%s:%d", p.When, p.MaxRetries)
	}
	return string(p.When)
}

// Again tells whether a container that ended by itself with code is run again,
// after so many restarts.
func (p RestartPolicy) Again(code, restarts int) bool {
	switch p.When {
	case RestartAlways, RestartUnlessStopped:
		return true
	case RestartOnFailure:
		return code != 0 && (p.MaxRetries == 0 || restarts < p.MaxRetries)
	}
	return false
}

// AfterBoot tells whether a container that had been started is run again when
// the host comes up. stopped: somebody had stopped it.
func (p RestartPolicy) AfterBoot(stopped bool) bool {
	return p.When == RestartAlways || p.When == RestartUnlessStopped && !stopped
}

// Backoff is docker's: 100 ms, doubled with each restart up to a minute, and
// from the beginning after a run of ten seconds.
type Backoff struct{ next time.Duration }

const (
	firstPause   = 100 * time.Millisecond
	longestPause = time.Minute
	goodRun      = 10 * time.Second
)

// Next is the pause before the restart after a run of that length.
func (b *Backoff) Next(ran time.Duration) time.Duration {
	if b.next == 0 || ran >= goodRun {
		b.next = firstPause
	}
	pause := b.next
	b.next = min(2*b.next, longestPause)
	return pause
}
