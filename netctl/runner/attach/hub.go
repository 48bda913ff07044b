package attach

import (
	"bytes"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// A client that does not read holds the container up, as a full pipe
	// would, but not for longer than this: then it is dropped.
	patience = 10 * time.Second
	// At the end nobody waits that long.
	lastPatience = time.Second
	// queueLen messages are buffered per client.
	queueLen = 16
)

// Input is what clients can do to the container.
type Input interface {
	Stdin(p []byte)
	CloseStdin()
	Resize(Size)
	Signal(unix.Signal)
	// Change does what an Ask wants; it may take as long as a network needs.
	Change(request []byte) error
}

// Hub passes a container's output to any number of clients and their input to
// the container.
type Hub struct {
	input Input

	mu      sync.Mutex
	clients map[*client]struct{}
	last    *message // later clients get it at once
}

type message struct {
	kind    Kind
	payload []byte
}

type client struct {
	conn   *Conn
	queue  chan message
	gone   chan struct{} // closed when the client is given up
	once   sync.Once
	done   chan struct{} // closed when all is sent
	ending atomic.Bool   // no more than lastPatience
}

// NewHub returns a hub without clients.
func NewHub(in Input) *Hub {
	return &Hub{input: in, clients: map[*client]struct{}{}}
}

// Serve accepts clients until the listener is closed.
func (h *Hub) Serve(l *net.UnixListener) {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return
		}
		h.Add(&Conn{c})
	}
}

// Add takes a connected client.
func (h *Hub) Add(conn *Conn) {
	c := &client{conn: conn, queue: make(chan message, queueLen), gone: make(chan struct{}), done: make(chan struct{})}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.last != nil {
		_ = conn.c.SetWriteDeadline(time.Now().Add(lastPatience))
		_ = conn.Send(h.last.kind, h.last.payload)
		_ = conn.Close()
		return
	}
	h.clients[c] = struct{}{}
	go c.write()
	go h.read(c)
}

// Output sends p to all clients. It may block while one is slow.
func (h *Hub) Output(k Kind, p []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.clients) == 0 {
		return
	}
	m := message{k, bytes.Clone(p)}
	for c := range h.clients {
		select {
		case c.queue <- m:
		case <-c.gone:
			delete(h.clients, c)
		}
	}
}

// finish sends the last message to everyone and waits until it is delivered or
// the client is past hope. forEver: later clients get it too.
func (h *Hub) finish(last message, forEver bool) {
	h.mu.Lock()
	if forEver {
		h.last = &last
	}
	leaving := h.clients
	for c := range leaving {
		c.ending.Store(true)
		_ = c.conn.c.SetWriteDeadline(time.Now().Add(lastPatience))
		select {
		case c.queue <- last:
			close(c.queue)
		case <-c.gone:
		}
	}
	h.clients = map[*client]struct{}{}
	h.mu.Unlock()
	for c := range leaving {
		<-c.done
	}
}

// Exited tells all clients how the container ended.
func (h *Hub) Exited(code int) { h.finish(message{Exit, encodeExit(code)}, true) }

// Ended tells the clients of now how the program ended; it will be run again,
// for later ones.
func (h *Hub) Ended(code int) { h.finish(message{Exit, encodeExit(code)}, false) }

// Failed tells all clients that the container could not be run.
func (h *Hub) Failed(err error) {
	text := []byte(err.Error())
	h.finish(message{Error, text[:min(len(text), MaxPayload)]}, true)
}

func (c *client) giveUp() { c.once.Do(func() { close(c.gone) }) }

func (c *client) write() {
	defer close(c.done)
	defer c.conn.Close()
	for {
		select {
		case m, open := <-c.queue:
			if !open {
				return
			}
			if !c.ending.Load() {
				_ = c.conn.c.SetWriteDeadline(time.Now().Add(patience))
			}
			if err := c.conn.Send(m.kind, m.payload); err != nil {
				c.giveUp()
				return
			}
		case <-c.gone:
			return
		}
	}
}

func (h *Hub) read(c *client) {
	defer c.giveUp()
	buf := make([]byte, MaxPayload+1)
	for {
		kind, payload, err := c.conn.Receive(buf)
		if err != nil {
			return
		}
		if kind == Ask {
			h.answer(c, h.input.Change(payload))
			continue
		}
		h.handle(kind, payload)
	}
}

// answer sends what became of an Ask.
func (h *Hub) answer(c *client, err error) {
	m := message{kind: Answer}
	if err != nil {
		m.payload = []byte(err.Error())
		m.payload = m.payload[:min(len(m.payload), MaxPayload)]
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, present := h.clients[c]; !present {
		return // its queue is closed: it hears of the end
	}
	select {
	case c.queue <- m:
	case <-c.gone:
		delete(h.clients, c)
	}
}

// handle ignores what it does not understand: a newer client may say more.
func (h *Hub) handle(kind Kind, payload []byte) {
	switch kind {
	case Stdin:
		h.input.Stdin(payload)
	case StdinClosed:
		h.input.CloseStdin()
	case Resize:
		if size, ok := decodeSize(payload); ok {
			h.input.Resize(size)
		}
	case Signal:
		if len(payload) == 1 {
			h.input.Signal(unix.Signal(payload[0]))
		}
	}
}
