package agent

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A pass that fails is tried again without anybody saying anything: soon, and
// then less often. One that goes well ends that, and one that has to be called
// again at a time is.
func TestAFailedPassIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &Agent{dirty: newBell()}
		ctx, cancel := context.WithCancel(t.Context())
		failures := 8 // 23 s at most: before the audit
		var waits []time.Duration
		last := time.Now()
		pass := func() (time.Duration, error) {
			waits = append(waits, time.Since(last))
			last = time.Now()
			switch n := len(waits); {
			case n <= failures:
				return 0, errors.New("no fence")
			case n == failures+1:
				return 3 * time.Second, nil
			case n == failures+3:
				cancel()
			}
			return 0, nil
		}
		a.dirty.ring()
		if err := a.look(ctx, pass); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		for i, least := 1, firstAgain/2; i <= failures; i, least = i+1, min(2*least, lastAgain/2) {
			if waits[i] < least || waits[i] > 2*least {
				t.Errorf("attempt %d came %v after the one before, want %v to %v", i, waits[i], least, 2*least)
			}
		}
		if good, next := waits[failures+1], waits[failures+2]; good != 3*time.Second || next > audit || next < 3*time.Second {
			t.Errorf("after the first one that went well: %v and %v, want 3s, and then nothing before the audit", good, next)
		}
	})
}
