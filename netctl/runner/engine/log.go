//go:build linux && cgo && seccomp

package engine

import (
	"io"
	"log/slog"
	"strings"

	"github.com/sirupsen/logrus"
)

// LogTo sends the warnings of libcontainer, and of the library for archives, to log,
// with what they are about in front. They would otherwise land on standard error,
// which may be the user's terminal. The libraries know only one logger per process,
// so this is for the process's main function to call, once.
func LogTo(log *slog.Logger, about string) {
	logrus.SetOutput(io.Discard)
	logrus.SetLevel(logrus.WarnLevel)
	logrus.AddHook(hook{log, about})
}

type hook struct {
	log   *slog.Logger
	about string
}

func (h hook) Levels() []logrus.Level { return logrus.AllLevels }

func (h hook) Fire(e *logrus.Entry) error {
	if strings.HasSuffix(e.Message, io.ErrClosedPipe.Error()) {
		return nil // who has stopped to read says why
	}
	level := slog.LevelWarn
	if e.Level <= logrus.ErrorLevel {
		level = slog.LevelError
	}
	h.log.Log(e.Context, level, h.about+": "+e.Message)
	return nil
}
