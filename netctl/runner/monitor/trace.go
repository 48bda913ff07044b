package monitor

import (
	"sync"
	"time"
)

// Step is one step of a start: what was done, when it began and how long it took.
type Step struct {
	Name  string        `json:"name"`
	Begun time.Time     `json:"begun"`
	Took  time.Duration `json:"took"` // nanoseconds
}

// trace collects the steps; some are done at the same time.
type trace struct {
	mu    sync.Mutex
	steps []Step
}

func newTrace() *trace { return &trace{} }

// step does f and notes how long it took.
func (t *trace) step(name string, f func() error) error {
	begun := time.Now()
	err := f()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.steps = append(t.steps, Step{Name: name, Begun: begun, Took: time.Since(begun)})
	return err
}

func (t *trace) all() []Step {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.steps
}
