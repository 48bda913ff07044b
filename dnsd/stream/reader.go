package stream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// prefix is the length of a message's length.
const prefix = 2

// firstBuffer holds a batch of ordinary queries; a longer message gets a
// buffer of its own length. An idle connection costs no more than this.
const firstBuffer = 2048

// ErrShort is a message that can't even hold a header. The peer does not speak
// DNS, and there is no way to find the next message.
var ErrShort = errors.New("message shorter than a DNS header")

const headerLen = 12

// A Conn is what a Reader reads from, a net.Conn as a rule.
type Conn interface {
	io.Reader
	SetReadDeadline(time.Time) error
}

// A Reader cuts a byte stream into messages. It is for one goroutine.
type Reader struct {
	conn Conn
	buf  []byte
	r, w int // the unread bytes are buf[r:w]

	// idle is how long the first byte of a message may take, and whole how
	// long, from then on, the rest.
	idle, whole time.Duration
}

// NewReader makes a reader. first is how long to wait for the first message's
// first byte, see SetIdle for the ones after.
func NewReader(c Conn, first, whole time.Duration) *Reader {
	return &Reader{conn: c, buf: make([]byte, firstBuffer), idle: first, whole: whole}
}

// SetIdle says how long the next messages may be in coming.
func (r *Reader) SetIdle(d time.Duration) { r.idle = d }

// Buffered tells whether Next has a whole message without reading.
func (r *Reader) Buffered() bool {
	n, ok := r.length()
	return ok && r.w-r.r >= prefix+n
}

// Next is the next message. It is valid until the next call. io.EOF means that
// the peer ended the stream between messages.
func (r *Reader) Next() ([]byte, error) {
	if !r.Buffered() {
		if err := r.fill(); err != nil {
			return nil, err
		}
	}
	n, _ := r.length()
	if n < headerLen {
		return nil, fmt.Errorf("%w: %d bytes", ErrShort, n)
	}
	msg := r.buf[r.r+prefix : r.r+prefix+n]
	r.r += prefix + n
	return msg, nil
}

// length is that of the message that begins at the unread bytes.
func (r *Reader) length() (int, bool) {
	if r.w-r.r < prefix {
		return 0, false
	}
	return int(binary.BigEndian.Uint16(r.buf[r.r:])), true
}

// fill reads until there is a whole message.
func (r *Reader) fill() error {
	r.compact()
	wait, started := r.idle, r.w > 0
	if started {
		wait = r.whole
	}
	if err := r.conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return err
	}
	for !r.Buffered() {
		n, err := r.conn.Read(r.buf[r.w:])
		r.w += n
		if err != nil {
			return r.ended(err)
		}
		if !started && n > 0 {
			started = true
			if err := r.conn.SetReadDeadline(time.Now().Add(r.whole)); err != nil {
				return err
			}
		}
		r.makeRoom()
	}
	return nil
}

func (r *Reader) ended(err error) error {
	if r.Buffered() {
		return nil
	}
	if errors.Is(err, io.EOF) && r.w > 0 {
		return io.ErrUnexpectedEOF
	}
	return err
}

// compact moves the unread bytes to the front, and goes back to the small
// buffer once a large message is done with.
func (r *Reader) compact() {
	if n := r.w - r.r; len(r.buf) > firstBuffer && n <= firstBuffer {
		small := make([]byte, firstBuffer)
		copy(small, r.buf[r.r:r.w])
		r.buf = small
	} else {
		copy(r.buf, r.buf[r.r:r.w])
	}
	r.r, r.w = 0, r.w-r.r
}

// makeRoom grows the buffer towards the length that the message announces, as
// bytes arrive: an announcement alone costs us nothing.
func (r *Reader) makeRoom() {
	n, ok := r.length()
	if need := prefix + n; ok && need > len(r.buf) && r.w == len(r.buf) {
		r.buf = append(r.buf, make([]byte, min(need-len(r.buf), len(r.buf)))...)
	}
}
