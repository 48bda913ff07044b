// Package control is how the command line speaks to overlayd: HTTP with JSON
// over a Unix socket in the state directory. It holds both sides' types and
// the client.
package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"syscall"
	"time"
)

// Socket is where overlayd of a state directory is reached.
func Socket(stateDir string) string { return filepath.Join(stateDir, "overlay", "overlayd.sock") }

// Status is what overlayd says of itself and its surroundings.
type Status struct {
	Node     string     `json:"node"`
	ID       string     `json:"id"`
	VTEP     netip.Addr `json:"vtep"`
	MTU      int        `json:"mtu"`
	Store    string     `json:"store"`
	Cluster  string     `json:"cluster"`
	Revision int64      `json:"revision"`
	// Ready after the first complete pass; Degraded says what is wrong.
	Ready    bool      `json:"ready"`
	Degraded string    `json:"degraded,omitempty"`
	Since    time.Time `json:"since,omitzero"` // of what is wrong
	// Safe: nothing is deleted until it is confirmed.
	Safe bool `json:"safe,omitempty"`
	// Policy is nil where the store has none.
	Policy   *Policy   `json:"policy,omitempty"`
	Networks []Network `json:"networks"`
	Peers    []Peer    `json:"peers"`
	// Problems are single things that are not as they should be.
	Problems []string `json:"problems,omitempty"`
	Passes   Passes   `json:"passes"`
}

// Passes count the worker's work.
type Passes struct {
	Count    int     `json:"count"`
	Writes   int     `json:"writes"`
	Failures int     `json:"failures"`
	LastMS   float64 `json:"lastMilliseconds"`
}

// Network of the overlay, with this host's pools and everybody's.
type Network struct {
	Name   string         `json:"name"`
	Group  uint16         `json:"group"`
	Ranges []netip.Prefix `json:"ranges"`
	Bridge string         `json:"bridge"`
	Open   bool           `json:"open,omitempty"`
	// FastPath is what the network wants: auto, true or false. Fast are the
	// containers of this host whose packets to other hosts take the fast path; and
	// UsualWay says why none does on this host, "" where they may.
	FastPath string         `json:"fastPath"`
	Fast     []netip.Addr   `json:"fast,omitempty"`
	UsualWay string         `json:"usualWay,omitempty"`
	Leaving  bool           `json:"leaving,omitempty"`
	Pools    []netip.Prefix `json:"pools"`
	// Stranded containers have addresses of pools that were lost.
	Lost     []netip.Prefix `json:"lost,omitempty"`
	Stranded []string       `json:"stranded,omitempty"`
	Owners   []Owner        `json:"owners"`
	// Total and Free count the pools that the ranges have; Free is -1 where
	// there are too many to count.
	Total     int    `json:"total"`
	Free      int    `json:"free"`
	Exhausted string `json:"exhausted,omitempty"`
}

// Owner of pools.
type Owner struct {
	Node  string         `json:"node"`
	Pools []netip.Prefix `json:"pools"`
}

// Peer is another host.
type Peer struct {
	Name  string     `json:"name"`
	ID    string     `json:"id"`
	VTEP  netip.Addr `json:"vtep"`
	Alive *bool      `json:"alive,omitempty"` // nil where the store does not know
	MTU   int        `json:"mtu,omitempty"`   // of the path; 0 not known
	Full  int        `json:"full,omitempty"`  // what it should be
	RTT   float64    `json:"rttMilliseconds,omitempty"`
	Heard time.Time  `json:"heard,omitzero"`
}

// Finding is one line of the doctor's.
type Finding struct {
	Peer string `json:"peer,omitempty"`
	OK   bool   `json:"ok"`
	What string `json:"what"`
	// Why and what to do, where it is not OK.
	Why string `json:"why,omitempty"`
}

// CreateNetwork asks for a network on all hosts.
type CreateNetwork struct {
	Name      string         `json:"name"`
	Ranges    []netip.Prefix `json:"ranges"`
	PoolBits4 int            `json:"poolBits4,omitempty"`
	PoolBits6 int            `json:"poolBits6,omitempty"`
	Open      bool           `json:"open,omitempty"`
	// FastPath is auto, true or false; "" is auto.
	FastPath   string          `json:"fastPath,omitempty"`
	Definition json.RawMessage `json:"definition"`
}

// Policy is what the cluster does by itself.
type Policy struct {
	// ReclaimAfter is how long a host must be absent before its pools may be
	// taken, in nanoseconds; 0 is never.
	ReclaimAfter time.Duration `json:"reclaimAfter"`
	// ReclaimAbove is from how many percent of use of a network on.
	ReclaimAbove int `json:"reclaimAbove"`
}

// PolicyChange says what is to be different; nil leaves it as it is.
type PolicyChange struct {
	ReclaimAfter *time.Duration `json:"reclaimAfter,omitempty"` // 0 is never
	ReclaimAbove *int           `json:"reclaimAbove,omitempty"` // percent
}

// Reclaimed is a host whose pools were taken.
type Reclaimed struct {
	Node   string    `json:"node"`
	ID     string    `json:"id"`
	Reason string    `json:"reason"`
	Made   time.Time `json:"made,omitzero"`
}

// ErrNotRunning means that no overlayd answers for the state directory.
var ErrNotRunning = errors.New("overlayd is not running")

// An Error is overlayd's own words.
type Error struct {
	Message string `json:"error"`
	Hint    string `json:"hint,omitempty"`
}

func (e *Error) Error() string { return e.Message }

// Client speaks to one overlayd.
type Client struct {
	socket string
	http   *http.Client
}

// Dial makes a client; it connects with each call.
func Dial(stateDir string) *Client {
	socket := Socket(stateDir)
	return &Client{socket: socket, http: &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
	}}}
}

// Status asks for everything.
func (c *Client) Status(ctx context.Context) (s Status, err error) {
	return s, c.call(ctx, http.MethodGet, "/status", nil, &s)
}

// Doctor has everything compared and explained.
func (c *Client) Doctor(ctx context.Context) (all []Finding, err error) {
	return all, c.call(ctx, http.MethodGet, "/doctor", nil, &all)
}

// Create makes a network, and returns when it can be used on this host.
func (c *Client) Create(ctx context.Context, n CreateNetwork) error {
	return c.call(ctx, http.MethodPost, "/networks", n, nil)
}

// Remove takes a network away from all hosts, or says who uses it.
func (c *Client) Remove(ctx context.Context, name string) error {
	return c.call(ctx, http.MethodDelete, "/networks/"+url.PathEscape(name), nil, nil)
}

// Extend gives a network a further range.
func (c *Client) Extend(ctx context.Context, name string, r netip.Prefix) error {
	return c.call(ctx, http.MethodPost, "/networks/"+url.PathEscape(name)+"/ranges", r, nil)
}

// Leave gives back all that this host owns, takes the tunnel away and ends
// overlayd.
func (c *Client) Leave(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "/leave", nil, nil)
}

// Reclaim takes away what a dead host owns.
func (c *Client) Reclaim(ctx context.Context, node string) (what string, err error) {
	return what, c.call(ctx, http.MethodPost, "/reclaim/"+url.PathEscape(node), nil, &what)
}

// Prune forgets hosts that were reclaimed before a time, and tells which.
func (c *Client) Prune(ctx context.Context, before time.Time) (pruned []Reclaimed, err error) {
	return pruned, c.call(ctx, http.MethodPost, "/prune", before, &pruned)
}

// Policy changes the cluster's policies, and tells what is in force then.
func (c *Client) Policy(ctx context.Context, change PolicyChange) (now Policy, err error) {
	return now, c.call(ctx, http.MethodPost, "/policy", change, &now)
}

// Migrate enters what the peers file says into the store that a settings file
// names, and tells what it did.
func (c *Client) Migrate(ctx context.Context, settings string) (did []string, err error) {
	return did, c.call(ctx, http.MethodPost, "/migrate", settings, &did)
}

// Confirm ends the safe mode: what the store does not know of may be deleted.
func (c *Client) Confirm(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "/confirm", nil, nil)
}

func (c *Client) call(ctx context.Context, method, path string, body, into any) error {
	var reader io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return err
		}
		reader = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://overlayd"+path, reader)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("%w: nobody answers on %s", ErrNotRunning, c.socket)
	}
	if err != nil {
		return fmt.Errorf("overlayd: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		e := &Error{}
		if err := json.NewDecoder(resp.Body).Decode(e); err != nil || e.Message == "" {
			return fmt.Errorf("overlayd: %s", resp.Status)
		}
		return e
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(into)
}
