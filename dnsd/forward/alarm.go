package forward

import "time"

// alarm is the one timer of all exchanges.
type alarm struct {
	timer *time.Timer
	at    time.Time // zero: not set
}

// setAlarm sees to it that the alarm rings when the first exchange falls due.
// It may ring early, never late.
func (f *Forwarder) setAlarm(now time.Time) {
	due := f.ends.due()
	if step := f.steps.due(); due.IsZero() || (!step.IsZero() && step.Before(due)) {
		due = step
	}
	if due.IsZero() || f.closed || (!f.alarm.at.IsZero() && !due.Before(f.alarm.at)) {
		return
	}
	f.alarm.at = due
	f.alarm.timer.Reset(due.Sub(now))
}

// ring looks after the exchanges that fell due.
func (f *Forwarder) ring() {
	for more := true; more; {
		var e effects
		f.mu.Lock()
		f.alarm.at = time.Time{}
		now := time.Now()
		more = f.nextDue(now, &e)
		f.setAlarm(now)
		f.mu.Unlock()
		e.happen()
	}
}

// nextDue deals with one exchange that fell due and tells whether there was one.
func (f *Forwarder) nextDue(now time.Time, e *effects) bool {
	if due := f.ends.due(); !due.IsZero() && !due.After(now) {
		f.count.TimedOut++
		f.giveUp(f.ends.head, e)
		return true
	}
	if due := f.steps.due(); !due.IsZero() && !due.After(now) {
		f.stepOn(f.steps.head, now, e)
		return true
	}
	return false
}

// stepOn asks the next server: the last one has had its time.
func (f *Forwarder) stepOn(x *exchange, now time.Time, e *effects) {
	f.steps.remove(x)
	if n := len(x.attempts); n > 0 {
		x.attempts[n-1].server.missed(now, f.opt.Penalty)
	}
	if len(x.failure) > 0 && now.Sub(x.started) > f.opt.Deadline/2 {
		f.giveUp(x, e) // one has failed, and the others seem to be dead
		return
	}
	f.resend(x, now, e)
}
