package runner

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"regexp"
)

// ID names a container for ever: 64 lower-case hex digits.
type ID string

// shortIDLen is the length people see, and docker's.
const shortIDLen = 12

// NewID returns a fresh random ID.
func NewID() ID {
	var b [32]byte
	rand.Read(b[:]) // never fails since Go 1.24
	return ID(hex.EncodeToString(b[:]))
}

// ParseID checks that s is an ID, so that it may become part of a path.
func ParseID(s string) (ID, error) {
	if len(s) != 64 || !isHex(s) {
		return "", fmt.Errorf("invalid container ID %q: want 64 hex digits", s)
	}
	return ID(s), nil
}

// Short is the form shown to people.
func (id ID) Short() string { return string(id[:min(shortIDLen, len(id))]) }

func isHex(s string) bool {
	for _, c := range s {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// namePattern is docker's rule (spec cli 1.1). It keeps a name from being a
// path, a flag, or "." and "..".
const namePattern = `^[a-zA-Z0-9][a-zA-Z0-9_.-]+$`

// CheckName tells what is wrong with a name for a container.
func CheckName(name string) error {
	if len(name) > 253 {
		return fmt.Errorf("invalid container name %q: longer than 253 characters", name)
	}
	if ok, _ := regexp.MatchString(namePattern, name); !ok {
		return fmt.Errorf("invalid container name %q: only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed, at least two characters", name)
	}
	return nil
}
