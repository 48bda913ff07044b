package dnsd

import (
	"cmp"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/netctl/netctl/dnsd/forward"
	"github.com/netctl/netctl/dnsd/message"
	"github.com/netctl/netctl/dnsd/names"
	"github.com/netctl/netctl/dnsd/resolver"
)

// Status is how a resolver is doing.
type Status struct {
	PID         int                   `json:"pid"`
	Uptime      string                `json:"uptime"`
	Base        string                `json:"base"`
	Generation  uint64                `json:"generation"`
	Attachments int                   `json:"attachments"`
	Listeners   []ListenerStatus      `json:"listeners"`
	Upstream    []netip.Addr          `json:"upstream"`
	Servers     []forward.ServerState `json:"servers"`
	InFlight    int                   `json:"inFlight"`
	Connections int                   `json:"connections"`
	Count       Count                 `json:"count"`
}

// Count is what happened since the start.
type Count struct {
	UDP       uint64 `json:"udp"`     // requests
	TCP       uint64 `json:"tcp"`     // requests
	Dropped   uint64 `json:"dropped"` // were no requests
	Local     uint64 `json:"local"`   // replies from our own knowledge
	Refused   uint64 `json:"refused"` // refusals and failures of ours
	Forwarded uint64 `json:"forwarded"`
	Shared    uint64 `json:"shared"`   // forwarded with somebody else's
	Retries   uint64 `json:"retries"`  // asked of a further server
	TimedOut  uint64 `json:"timedOut"` // given up without any reply
}

func (d *Daemon) count(f forward.Counters) Count {
	c := d.resolver.Counters()
	return Count{
		UDP: c.UDP.Load(), TCP: c.TCP.Load(), Dropped: c.Dropped.Load(), Forwarded: c.Forwarded.Load(),
		Local: c.Made(resolver.Local), Refused: c.Made(resolver.Refused),
		Shared: f.Shared, Retries: f.Retries, TimedOut: f.TimedOut,
	}
}

// ListenerStatus tells whether a listener is open, and why not.
type ListenerStatus struct {
	Address netip.Addr `json:"address"`
	// Port is 53, or one of ours to which rules lead, or 0 while it is not open.
	Port   uint16 `json:"port"`
	Device string `json:"device,omitempty"`
	// Container is in whose namespace it is; "" for the host's.
	Container string `json:"container,omitempty"`
	Error     string `json:"error,omitempty"`
}

// Status is the state of now.
func (d *Daemon) Status() Status {
	s := d.resolver.Snapshot()
	count, _, servers := d.forward.Stats()
	st := Status{
		PID: os.Getpid(), Uptime: time.Since(d.started).Round(time.Second).String(), Base: s.Base().String(),
		Generation: s.Generation, Attachments: s.Endpoints,
		Upstream: d.upstream.Config().Servers, Servers: servers,
		InFlight: count.InFlight, Connections: d.sockets.Connections(), Count: d.count(count),
		Listeners: []ListenerStatus{},
	}
	for _, l := range s.Listeners() {
		ls := ListenerStatus{Address: l.Gateway, Port: d.sockets.Port(l), Device: l.Device, Container: l.Container}
		if err := d.sockets.Err(l); err != nil {
			ls.Error = err.Error()
		}
		st.Listeners = append(st.Listeners, ls)
	}
	slices.SortFunc(st.Listeners, func(a, b ListenerStatus) int {
		return cmp.Or(a.Address.Compare(b.Address), cmp.Compare(a.Container, b.Container))
	})
	return st
}

// Records are the names served on a network, or on all for "".
func (d *Daemon) Records(network string) []names.Record {
	return d.resolver.Snapshot().Records(network)
}

// Explanation is what a name is to a container, and why.
type Explanation struct {
	Name      string       `json:"name"`
	Container string       `json:"container"`
	Answer    string       `json:"answer"` // addresses, name, missing, nothing, forwarded
	Network   string       `json:"network,omitempty"`
	Tier      int          `json:"tier,omitempty"`
	Addresses []netip.Addr `json:"addresses,omitempty"`
	Target    string       `json:"target,omitempty"`
	Servers   []netip.Addr `json:"servers,omitempty"`
	Reason    string       `json:"reason"`
}

func (d *Daemon) lookupCommand(container, name string) (string, error) {
	c := d.resolver.Snapshot().Container(container)
	if c == nil {
		return "", fmt.Errorf("no container %q has names here", container)
	}
	n, err := names.Parse(name)
	if err != nil {
		return "", err
	}
	return asJSON(d.explain(c, n))
}

func (d *Daemon) explain(c *names.Client, n names.Name) Explanation {
	dec := d.resolver.Explain(c, n)
	a := dec.Answer
	e := Explanation{Name: n.String(), Container: c.Container, Network: a.Network, Tier: a.Tier}
	switch {
	case a.Kind == names.Foreign && len(dec.Servers) == 0:
		e.Answer, e.Reason = "failure", "no upstream server is known"
	case a.Kind == names.Foreign:
		e.Answer, e.Servers, e.Reason = "forwarded", dec.Servers, "no network of the container knows the name"
	case a.Kind == names.Missing && dec.Info == message.InfoProhibited:
		e.Answer, e.Reason = "missing", "the container is on internal networks only, from which nothing is forwarded"
	case a.Kind == names.Missing:
		e.Answer, e.Reason = "missing", fmt.Sprintf("the name belongs to the zone %s, and nobody has it", names.Name(n[a.Zone:]))
	case a.Pointer != "":
		e.Answer, e.Target, e.Reason = "name", a.Pointer.String(), "an address on network "+a.Network
	case a.Set == nil:
		e.Answer, e.Reason = "nothing", "there are names below it, and nothing at it"
	default:
		e.Answer, e.Reason = "addresses", reasonOf(a)
		e.Addresses = slices.Concat(a.Set.Addrs(names.V4), a.Set.Addrs(names.V6))
	}
	return e
}

func reasonOf(a names.Answer) string {
	switch a.Tier {
	case 1:
		return "a container on network " + a.Network + " has this name"
	case 2:
		return "a container on network " + a.Network + " has this hostname, and none has it for a name"
	}
	return "a name of the host"
}
