//go:build linux && cgo && seccomp

package engine

import (
	"errors"
	"testing"
)

func TestExplainDeath(t *testing.T) {
	dead := errors.New("container process is already dead")
	few, none := int64(4), int64(-1)
	for limit, want := range map[*int64]string{
		nil: dead.Error(), &none: dead.Error(),
		&few: "container process is already dead (--pids-limit 4 can be too few for its set-up: want at least 16)",
	} {
		if got := explainDeath(dead, limit); got.Error() != want || !errors.Is(got, dead) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if err := explainDeath(nil, &few); err != nil {
		t.Error(err)
	}
}
