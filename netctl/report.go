package netctl

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// usageError is a mistake in the command line.
func usageError(format string, args ...any) *Error {
	return &Error{Status: ExitUsage, Err: fmt.Errorf(format, args...)}
}

// A statusError ends the program with a status and says nothing: the status is
// the answer (exists), or everything has been said.
type statusError int

func (s statusError) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// report prints what went wrong, a line for each failure and at most one hint,
// and returns the exit status: the highest of the failures'.
func report(w io.Writer, err error) int {
	if err == nil {
		return 0
	}
	status, hint := 0, ""
	for _, failure := range flatten(err) {
		var only statusError
		if errors.As(failure, &only) {
			status = max(status, int(only))
			continue
		}
		fmt.Fprintf(w, "Error: %s\n", oneLine(failure))
		status = max(status, statusOf(failure))
		if hint == "" {
			hint = hintOf(failure)
		}
	}
	if hint != "" {
		fmt.Fprintf(w, "hint: %s\n", visibleLine(hint))
	}
	return status
}

// flatten takes apart what bulk commands have joined. A wrapped join stays one
// failure: it is about one object.
func flatten(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error }) //nolint:errorlint // the outermost error is meant
	if !ok {
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, flatten(e)...)
	}
	return all
}

// oneLine is an error's text as it may be shown: a file's name in it may be a
// container's to choose, and other words a registry's.
func oneLine(err error) string {
	return visibleLine(strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; "))
}

func statusOf(err error) int {
	var e *Error
	if errors.As(err, &e) && e.Status != 0 {
		return e.Status
	}
	return ExitFailed
}

func hintOf(err error) string {
	var e *Error
	if errors.As(err, &e) && e.Hint != "" {
		return e.Hint
	}
	if errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0 {
		return "netctl needs root"
	}
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return "the disk is full, or has no inodes left ('df', 'df -i'); 'netctl system df' shows what is netctl's, 'netctl system prune' frees what is unused"
	case errors.Is(err, unix.EROFS):
		return "that file system is mounted read-only; --state-dir, --data-dir and --conf-dir choose others"
	}
	return ""
}
