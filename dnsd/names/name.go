package names

import (
	"errors"
	"fmt"
	"strings"
)

// A Name is a domain name as it travels (RFC 1035 section 3.1), labels with
// their length in front, in lower case and without the root's zero byte:
// "web.mynet" is "\x03web\x05mynet" and the root is "". Suffix tests on it
// can't mistake a dot inside a label for the end of one, nor "xmynet" for a
// name below "mynet".
type Name string

// The limits of RFC 1035 section 2.3.4: octets in a label, and in a whole name
// on the wire without the root's own octet.
const (
	maxLabel = 63
	maxName  = 254
)

// ErrBadName is the cause in every error of Parse.
var ErrBadName = errors.New("not a domain name")

// Parse reads a dotted name, with or without the final dot. A backslash has no
// special meaning: container and network names can't hold dots inside a label.
func Parse(s string) (Name, error) {
	s = strings.TrimSuffix(s, ".")
	if s == "" {
		return "", nil
	}
	var b strings.Builder
	for label := range strings.SplitSeq(s, ".") {
		switch {
		case label == "":
			return "", fmt.Errorf("%w: %q has an empty label", ErrBadName, s)
		case len(label) > maxLabel:
			return "", fmt.Errorf("%w: label %q of %q is longer than %d bytes", ErrBadName, label, s, maxLabel)
		}
		b.WriteByte(byte(len(label)))
		b.WriteString(label)
	}
	if b.Len() > maxName {
		return "", fmt.Errorf("%w: %q is longer than %d bytes", ErrBadName, s, maxName-1)
	}
	return Name(Lower([]byte(b.String()))), nil
}

// MustParse is Parse for names written in the program.
func MustParse(s string) Name {
	n, err := Parse(s)
	if err != nil {
		panic(err)
	}
	return n
}

// Lower turns the ASCII letters of a name into small ones, in place, and
// returns it (RFC 4343: only these 26 fold). Length octets are below 'A' and
// so stay as they are.
func Lower(wire []byte) []byte {
	for i, c := range wire {
		if 'A' <= c && c <= 'Z' {
			wire[i] = c + ('a' - 'A')
		}
	}
	return wire
}

// String is the name with dots, without the final one; "." is the root. Bytes
// that are no plain text appear as \DDD.
func (n Name) String() string {
	if n == "" {
		return "."
	}
	var b strings.Builder
	for rest := n; rest != ""; rest = rest.parent() {
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		for _, c := range []byte(rest[1 : 1+int(rest[0])]) {
			if c <= ' ' || c > '~' || c == '.' || c == '\\' {
				fmt.Fprintf(&b, "\\%03d", c)
				continue
			}
			b.WriteByte(c)
		}
	}
	return b.String()
}

// parent is the name without its first label.
func (n Name) parent() Name { return n[1+int(n[0]):] }

// IsSingle tells whether a name in wire form is one label long.
func IsSingle(n []byte) bool { return len(n) > 0 && len(n) == 1+int(n[0]) }

// cutSuffix splits a name at the label boundary before suffix. A name is its
// own suffix, with nothing before it.
func cutSuffix(name []byte, suffix Name) (before []byte, ok bool) {
	at := len(name) - len(suffix)
	if at < 0 || string(name[at:]) != string(suffix) {
		return nil, false
	}
	for off := 0; off <= at; off += 1 + int(name[off]) {
		if off == at {
			return name[:at], true
		}
	}
	return nil, false
}
