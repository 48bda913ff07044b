package attach

import (
	"context"
	"errors"
	"fmt"
)

// undo is a stack of named steps that take back what was done. It is an
// ordinary value that the outer function unwinds when the inner one fails, so
// that nothing hangs on a deferred closure looking at an error variable.
type undo struct {
	steps []undoStep
}

type undoStep struct {
	name string
	fn   func(context.Context) error
}

func (u *undo) push(name string, fn func(context.Context) error) {
	u.steps = append(u.steps, undoStep{name, fn})
}

// unwind runs the steps, newest first, all of them, and joins their errors to
// the one that made it necessary. It works on after ctx has ended: a caller
// that gave up must not leave anything behind.
func (u *undo) unwind(ctx context.Context, cause error) error {
	ctx = context.WithoutCancel(ctx)
	all := []error{cause}
	for i := len(u.steps) - 1; i >= 0; i-- {
		if err := u.steps[i].fn(ctx); err != nil {
			all = append(all, fmt.Errorf("undo %s: %w", u.steps[i].name, err))
		}
	}
	if len(all) == 1 {
		return cause
	}
	return errors.Join(all...)
}
