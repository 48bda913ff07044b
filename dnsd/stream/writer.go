package stream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// ErrBacklog means that the peer takes its messages too slowly.
var ErrBacklog = errors.New("peer does not read its messages")

// maxBacklog is how many bytes wait for a slow peer: four of the longest
// messages.
const maxBacklog = 4 * (prefix + 65535)

// WriteConn is what a Writer writes to.
type WriteConn interface {
	io.Writer
	SetWriteDeadline(time.Time) error
	Close() error
}

// A Writer puts messages on a connection, each with its length in one write,
// and several in one where they come faster than they leave. Nobody waits for
// the peer but Flush. It is safe for concurrent use.
type Writer struct {
	conn    WriteConn
	timeout time.Duration // for one write

	mu      sync.Mutex
	out     []byte // waiting
	spare   []byte
	writing bool
	idle    sync.Cond // of mu: writing ended
	err     error
}

// NewWriter makes a writer. A write that takes longer than timeout ends the
// connection.
func NewWriter(c WriteConn, timeout time.Duration) *Writer {
	w := &Writer{conn: c, timeout: timeout}
	w.idle.L = &w.mu
	return w
}

// Queue adds a message that the next Flush or Send writes.
func (w *Writer) Queue(msg []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.queue(msg)
}

// Send adds a message and sees to it that it is written soon, by another
// goroutine.
func (w *Writer) Send(msg []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.queue(msg); err != nil {
		return err
	}
	if !w.writing {
		w.writing = true
		go func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.drain() //nolint:errcheck // whoever comes next gets to know
		}()
	}
	return nil
}

// Flush returns when all that was queued is written.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.writing {
		w.idle.Wait()
	}
	w.writing = true
	return w.drain()
}

func (w *Writer) queue(msg []byte) error {
	if w.err != nil {
		return w.err
	}
	if len(w.out)+prefix+len(msg) > maxBacklog {
		return w.fail(fmt.Errorf("%w: %d bytes wait", ErrBacklog, len(w.out)))
	}
	w.out = binary.BigEndian.AppendUint16(w.out, uint16(len(msg)))
	w.out = append(w.out, msg...)
	return nil
}

// fail ends the connection. The lock is held.
func (w *Writer) fail(err error) error {
	if w.err == nil {
		w.err, w.out = err, nil
		w.conn.Close() //nolint:errcheck // the first error is the one that counts
	}
	return w.err
}

// drain writes until nothing waits. Two buffers take turns, one filling while
// the other is being written. The lock is held but during a write.
func (w *Writer) drain() error {
	for len(w.out) > 0 && w.err == nil {
		batch := w.out
		w.out, w.spare = w.spare[:0], nil
		w.mu.Unlock()
		err := w.write(batch)
		w.mu.Lock()
		w.keep(batch)
		if err != nil {
			w.fail(err) //nolint:errcheck // returned below
		}
	}
	w.writing = false
	w.idle.Broadcast()
	return w.err
}

// keep holds on to a buffer for the next batch if it is of ordinary size.
func (w *Writer) keep(batch []byte) {
	if cap(batch) <= 2*firstBuffer {
		w.spare = batch
	}
}

func (w *Writer) write(batch []byte) error {
	if err := w.conn.SetWriteDeadline(time.Now().Add(w.timeout)); err != nil {
		return err
	}
	_, err := w.conn.Write(batch)
	return err
}
