package netctl

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	inUse := &Error{Status: ExitInUse, Err: errors.New("network a is in use"), Hint: "remove web"}
	for _, tt := range []struct {
		err    error
		status int
		want   string
	}{
		{nil, 0, ""},
		{errors.New("plain"), 1, "Error: plain\n"},
		{inUse, 2, "Error: network a is in use\nhint: remove web\n"},
		{errors.Join(errors.New("first"), inUse, &Error{Err: errors.New("third"), Hint: "second hint"}), 2,
			"Error: first\nError: network a is in use\nError: third\nhint: remove web\n"},
		{fmt.Errorf("run: %w", errors.Join(errors.New("failed"), errors.New("clean-up failed"))), 1,
			"Error: run: failed; clean-up failed\n"},
		{fmt.Errorf("more: %w", inUse), 2, "Error: more: network a is in use\nhint: remove web\n"},
		{statusError(1), 1, ""},
		{errors.Join(statusError(3), errors.New("and this")), 3, "Error: and this\n"},
		{usageError("unknown flag: %s", "--x"), 125, "Error: unknown flag: --x\n"},
	} {
		var out strings.Builder
		if status := report(&out, tt.err); status != tt.status || out.String() != tt.want {
			t.Errorf("%v: got %d\n%swant %d\n%s", tt.err, status, out.String(), tt.status, tt.want)
		}
	}
}
