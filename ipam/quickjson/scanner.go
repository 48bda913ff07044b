package quickjson

// scanner reads a document of RFC 8259 from front to back. What it says no to
// may be right all the same.
type scanner struct {
	data []byte
	at   int
}

// deepest is how many lists and objects may be within each other.
const deepest = 64

// peek gives the next byte behind white space, 0 at the end.
func (s *scanner) peek() byte {
	for s.at < len(s.data) {
		switch c := s.data[s.at]; c {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return c
		}
	}
	return 0
}

// next takes a byte if it is the next one behind white space.
func (s *scanner) next(c byte) bool {
	if s.peek() != c {
		return false
	}
	s.at++
	return true
}

// end tells that nothing is left but white space.
func (s *scanner) end() bool { return s.peek() == 0 && s.at == len(s.data) }

// text takes a string of printable ASCII without escapes.
func (s *scanner) text() ([]byte, bool) {
	if !s.next('"') {
		return nil, false
	}
	for i, c := range s.data[s.at:] {
		switch {
		case c == '"':
			text := s.data[s.at : s.at+i]
			s.at += i + 1
			return text, true
		case c < ' ' || c > '~' || c == '\\':
			return nil, false
		}
	}
	return nil, false
}

// word takes a literal name.
func (s *scanner) word(word string) bool {
	if s.peek(); len(s.data)-s.at < len(word) || string(s.data[s.at:s.at+len(word)]) != word {
		return false
	}
	s.at += len(word)
	return true
}

// integer takes a whole number of at most 18 digits.
func (s *scanner) integer() (n int64, ok bool) {
	s.peek()
	start := s.at
	if !s.number() {
		return 0, false
	}
	digits := s.data[start:s.at]
	negative := digits[0] == '-'
	if negative {
		digits = digits[1:]
	}
	if len(digits) > 18 {
		return 0, false
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	if negative {
		n = -n
	}
	return n, true
}

// skip takes a valid value, whatever it is.
func (s *scanner) skip(depth int) bool {
	if depth > deepest {
		return false
	}
	switch c := s.peek(); c {
	case '{':
		return s.members('{', '}', func() bool { return s.anyText() && s.next(':') && s.skip(depth+1) })
	case '[':
		return s.members('[', ']', func() bool { return s.skip(depth + 1) })
	case '"':
		return s.anyText()
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	}
	return s.number()
}

// members takes what is between two brackets, with commas between.
func (s *scanner) members(open, end byte, one func() bool) bool {
	if !s.next(open) {
		return false
	}
	if s.next(end) {
		return true
	}
	for one() {
		if !s.next(',') {
			return s.next(end)
		}
	}
	return false
}

// anyText takes any valid string.
func (s *scanner) anyText() bool {
	if !s.next('"') {
		return false
	}
	for s.at < len(s.data) {
		c := s.data[s.at]
		s.at++
		switch {
		case c == '"':
			return true
		case c < ' ' || c == '\\' && !s.escape():
			return false
		}
	}
	return false
}

// escape takes what follows a backslash.
func (s *scanner) escape() bool {
	if s.at == len(s.data) {
		return false
	}
	c := s.data[s.at]
	s.at++
	switch c {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return true
	case 'u':
		for range 4 {
			if s.at == len(s.data) || !isHex(s.data[s.at]) {
				return false
			}
			s.at++
		}
		return true
	}
	return false
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f'
}

// number takes any valid number.
func (s *scanner) number() bool {
	s.take('-')
	if !s.take('0') && !s.digits() {
		return false
	}
	if s.take('.') && !s.digits() {
		return false
	}
	if s.take('e') || s.take('E') {
		if !s.take('+') {
			s.take('-')
		}
		return s.digits()
	}
	return true
}

// take takes a byte if it comes at once.
func (s *scanner) take(c byte) bool {
	if s.at == len(s.data) || s.data[s.at] != c {
		return false
	}
	s.at++
	return true
}

func (s *scanner) digits() bool {
	start := s.at
	for s.at < len(s.data) && s.data[s.at] >= '0' && s.data[s.at] <= '9' {
		s.at++
	}
	return s.at > start
}
