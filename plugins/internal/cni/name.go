package cni

import (
	"strings"
	"unicode"
)

// These three are the library's pkg/utils without its regular expression, which
// every call of a plugin would compile: a tenth of a millisecond.

// isName tells whether a container ID or a network's name is one by the
// specification: [a-zA-Z0-9][a-zA-Z0-9_.-]*
func isName(s string) bool {
	for i, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case i > 0 && (c == '_' || c == '.' || c == '-'):
		default:
			return false
		}
	}
	return s != ""
}

// IsIfName tells whether the kernel takes an interface's name (dev_valid_name).
func IsIfName(s string) bool {
	const longest = 15 // IFNAMSIZ less the final zero byte
	return s != "" && len(s) <= longest && s != "." && s != ".." &&
		!strings.ContainsFunc(s, func(r rune) bool { return r == '/' || r == ':' || unicode.IsSpace(r) })
}
