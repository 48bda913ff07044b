//go:build !linux || !cgo || !seccomp

package engine

import (
	"log/slog"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Create answers ErrNotBuilt.
func (e Engine) Create(string, *specs.Spec) (Container, error) { return nil, ErrNotBuilt }

// Load answers ErrNotBuilt.
func (e Engine) Load(string) (Container, error) { return nil, ErrNotBuilt }

// Remove does nothing: this binary cannot have made anything.
func (e Engine) Remove(string, string) error { return nil }

// LogTo does nothing.
func LogTo(*slog.Logger, string) {}
