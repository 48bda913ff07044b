package netctl

import "time"

// stamp is a time in what inspect shows. It is a text, as docker's is, so that a template
// prints it as JSON has it and may cut pieces out of it; and it has the methods that
// podman's users know.
type stamp string

func newStamp(t time.Time) stamp { return stamp(t.Format(time.RFC3339Nano)) }

// Format is time.Time's.
func (s stamp) Format(layout string) string { return s.time().Format(layout) }

// Unix is in seconds.
func (s stamp) Unix() int64 { return s.time().Unix() }

func (s stamp) time() time.Time {
	t, _ := time.Parse(time.RFC3339Nano, string(s)) // newStamp's
	return t
}
