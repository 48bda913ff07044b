//go:build linux && cgo && seccomp

package engine

import (
	"io"
	"log/slog"

	"github.com/sirupsen/logrus"
)

// LogTo sends libcontainer's warnings to log. They would otherwise land on
// standard error, which may be the user's terminal. libcontainer knows only one
// logger per process, so this is for the process's main function to call.
func LogTo(log *slog.Logger) {
	logrus.SetOutput(io.Discard)
	logrus.SetLevel(logrus.WarnLevel)
	logrus.AddHook(hook{log})
}

type hook struct{ log *slog.Logger }

func (h hook) Levels() []logrus.Level { return logrus.AllLevels }

func (h hook) Fire(e *logrus.Entry) error {
	level := slog.LevelWarn
	if e.Level <= logrus.ErrorLevel {
		level = slog.LevelError
	}
	h.log.Log(e.Context, level, "engine: "+e.Message)
	return nil
}
