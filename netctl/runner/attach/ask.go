package attach

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// ErrEnded: the container ended before the monitor could do what was asked.
var ErrEnded = errors.New("the container has ended meanwhile")

// AnswerError is the monitor's refusal of a change.
type AnswerError struct{ Text string }

func (e *AnswerError) Error() string { return e.Text }

// AskFor has the monitor carry out a change, which is sent as JSON, and returns
// when it is done. Output that comes meanwhile is passed over.
func (c *Conn) AskFor(change any) error {
	request, err := json.Marshal(change)
	if err != nil {
		return fmt.Errorf("attach: %w", err)
	}
	// A monitor that has just closed has said why: that can still be read.
	if err := c.Send(Ask, request); err != nil && !errors.Is(err, unix.EPIPE) {
		return fmt.Errorf("attach: %w", err)
	}
	buf := make([]byte, MaxPayload+1)
	for {
		kind, payload, err := c.Receive(buf)
		switch {
		case errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET):
			return ErrLost
		case err != nil:
			return fmt.Errorf("attach: %w", err)
		case kind == Exit || kind == Error:
			return ErrEnded
		case kind == Answer && len(payload) > 0:
			return &AnswerError{string(payload)}
		case kind == Answer:
			return nil
		}
	}
}
