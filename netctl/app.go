// Package netctl is the command line: one file per command. It turns flags
// into typed requests and results into text; the work is done by packages
// network (named networks), runner (containers) and plugins (attachments).
package netctl

import (
	"io"
	"log/slog"

	"github.com/netctl/netctl/netctl/plumbing"
)

// App is what every command is given. There are no globals beside it.
type App struct {
	plumbing.Setting

	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Log            *slog.Logger
}

// networks attach containers in this process.
func (a *App) networks() plumbing.Plumbing { return a.Open(a.Log) }

// Exit statuses, as docker's client uses them (spec cli 1.6).
const (
	ExitFailed     = 1   // the operation failed
	ExitInUse      = 2   // network rm: in use
	ExitUsage      = 125 // bad flags or arguments; run, exec: our own failure
	ExitCannotExec = 126 // run, exec: found but not executable
	ExitNotFound   = 127 // run, exec: not found
)

// Error is a failure with the exit status and, where there is one, the remedy.
type Error struct {
	Status int
	Err    error
	Hint   string
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }
