package netctl

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// momentLayouts are the forms of a date that docker takes.
func momentLayouts() []string {
	return []string{
		time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04",
		"2006-01-02 15:04:05", "2006-01-02Z07:00", "2006-01-02",
	}
}

// parseMoment reads a point in time: a date, a Unix time in seconds with or
// without a fraction, or how long ago as a Go duration. Dates without a zone
// are local.
func parseMoment(text string, now time.Time) (time.Time, error) {
	if ago, err := time.ParseDuration(text); err == nil {
		return now.Add(-ago), nil
	}
	for _, layout := range momentLayouts() {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	seconds, fraction, _ := strings.Cut(text, ".")
	sec, err := strconv.ParseInt(seconds, 10, 64)
	nano, fractionErr := strconv.ParseInt((fraction + "000000000")[:9], 10, 64)
	if err != nil || fractionErr != nil || nano < 0 {
		return time.Time{}, fmt.Errorf("invalid time %q: want a date such as 2006-01-02T15:04:05, a Unix time, or a duration such as 10m", text)
	}
	return time.Unix(sec, nano), nil
}

// before reads a filter that names a point in time; the latest of several
// counts. The zero time means that the key wasn't given.
func (f filters) before(key string, now time.Time) (time.Time, error) {
	var latest time.Time
	for _, text := range f[key] {
		t, err := parseMoment(text, now)
		if err != nil {
			return time.Time{}, usageError("filter %s: %w", key, err)
		}
		if t.After(latest) {
			latest = t
		}
	}
	return latest, nil
}
