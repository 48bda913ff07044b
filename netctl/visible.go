package netctl

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"
)

// What a container prints is not ours to trust: on a terminal it could set the
// title, write to the clipboard, answer in the user's name, or hide lines. So on a
// terminal its log is shown with control characters in a form that does nothing;
// tabs and colours stay. Into a pipe or file it goes as it is.

// colour is the one escape sequence that only looks (ECMA-48, SGR).
var colour = regexp.MustCompile(`^\x1b\[[0-9;:]*m`)

// visible returns a line's text with its control characters as ^[ (as cat -v
// has it), those of the second set (C1) and bytes that are no text as \x9b. A
// carriage return at the end belongs to a terminal's line end and stays.
func visible(text []byte) []byte {
	if !bytes.ContainsFunc(text, needsEscape) {
		return text
	}
	var out bytes.Buffer
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		switch sequence := colour.Find(text); {
		case sequence != nil:
			size = len(sequence)
			out.Write(sequence)
		case !needsEscape(r), r == '\r' && len(text) == 1:
			out.Write(text[:size])
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&out, `\x%02x`, text[0])
		case r < 0x20, r == 0x7f:
			out.Write([]byte{'^', byte(r) ^ 0x40})
		case r == utf8.RuneError:
			out.Write(text[:size])
		default:
			fmt.Fprintf(&out, `\x%02x`, r)
		}
		text = text[size:]
	}
	return out.Bytes()
}

// visibleLine is what stays within its line and cell of a table, without colours:
// labels and commands are an image's to choose.
func visibleLine(text string) string {
	return string(visible([]byte(strings.NewReplacer("\t", " ", "\n", " ", "\r", " ", "\x1b", "^[").Replace(text))))
}

// needsEscape: control characters but for the tab; and what is no UTF-8, in which
// terminals with 8-bit controls would find some.
func needsEscape(r rune) bool {
	return r < 0x20 && r != '\t' || r >= 0x7f && r < 0xa0 || r == utf8.RuneError
}

// rawWriter tells whether w takes a container's bytes as they are.
func rawWriter(w io.Writer) bool { return !isTerminalOut(w) }
