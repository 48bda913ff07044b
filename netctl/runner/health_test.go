package runner

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// A letter is a check: o that went well, x that failed. Below it, the status.
func TestHealthAfter(t *testing.T) {
	for name, test := range map[string]struct {
		check          HealthCheck
		results, wants string
	}{
		"three failures":         {HealthCheck{}, "xxxo", "ssuh"},
		"a success in between":   {HealthCheck{}, "xxoxxo", "sshhhh"},
		"healthy, then not":      {HealthCheck{Retries: 2}, "oxxxo", "hhuuh"},
		"one is enough":          {HealthCheck{Retries: 1}, "xox", "uhu"},
		"failures of the start":  {HealthCheck{Retries: 1, StartPeriod: 3 * time.Second}, "xxxx", "sssu"},
		"start ends with health": {HealthCheck{Retries: 1, StartPeriod: 10 * time.Second}, "xox", "shu"},
	} {
		h := Health{Status: HealthStarting}
		var got strings.Builder
		for i, letter := range test.results {
			code := 0
			if letter == 'x' {
				code = 1
			}
			h = h.After(test.check, HealthResult{ExitCode: code, Output: fmt.Sprint(i)}, time.Duration(i)*time.Second)
			got.WriteByte(string(h.Status)[0])
		}
		if got.String() != test.wants {
			t.Errorf("%s: %s gives %s, want %s", name, test.results, got.String(), test.wants)
		}
		if last := h.Log[len(h.Log)-1].Output; last != fmt.Sprint(len(test.results)-1) || len(h.Log) != min(5, len(test.results)) {
			t.Errorf("%s: the log is %+v", name, h.Log)
		}
	}
}

func TestHealthPause(t *testing.T) {
	check := HealthCheck{StartPeriod: time.Minute}
	for _, test := range []struct {
		status HealthStatus
		since  time.Duration
		want   time.Duration
	}{
		{HealthStarting, time.Second, 5 * time.Second},
		{HealthStarting, 2 * time.Minute, 30 * time.Second},
		{Healthy, time.Second, 30 * time.Second},
	} {
		if got := check.Pause(Health{Status: test.status}, test.since); got != test.want {
			t.Errorf("%s after %s: %s, want %s", test.status, test.since, got, test.want)
		}
	}
}

func TestHealthCheckRefused(t *testing.T) {
	for want, check := range map[string]HealthCheck{
		"":                                   {Test: []string{"NONE"}, Interval: -1},
		"want CMD or CMD-SHELL":              {Test: []string{"curl", "x"}},
		"no program to run":                  {Test: []string{"CMD"}},
		"no program":                         {Test: []string{"CMD-SHELL", "a", "b"}},
		"interval of 1ms: want at least 100": {Test: []string{"CMD", "a"}, Interval: time.Millisecond},
		"timeout of -1s: want":               {Test: []string{"CMD", "a"}, Timeout: -time.Second},
		"below 0":                            {Test: []string{"CMD", "a"}, Retries: -1},
	} {
		err := check.Check()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: got %v, want %s", check, err, want)
		}
	}
}
