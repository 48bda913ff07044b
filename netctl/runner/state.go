package runner

import (
	"slices"
	"time"
)

// Status is a word of docker's.
type Status string

const (
	StatusCreated  Status = "created"
	StatusStarting Status = "starting" // a monitor is at work, no process yet
	StatusRunning  Status = "running"
	StatusPaused   Status = "paused"
	// StatusRestarting: the program has ended and will be run again.
	StatusRestarting Status = "restarting"
	StatusExited     Status = "exited"
	StatusRemoving   Status = "removing"
)

// Active tells whether a monitor should be alive in this state.
func (s Status) Active() bool {
	return s == StatusStarting || s == StatusRunning || s == StatusPaused || s == StatusRestarting
}

// State is what a container is at the moment. Only the holder of the
// container's lock writes it.
type State struct {
	Status   Status    `json:"status"`
	Pid      int       `json:"pid,omitempty"` // in the host's numbering
	Started  time.Time `json:"started,omitzero"`
	Finished time.Time `json:"finished,omitzero"`
	// ExitCode is the process's, or 128+signal; UnknownExit if nobody saw it.
	ExitCode  int  `json:"exitCode"`
	OOMKilled bool `json:"oomKilled,omitempty"`
	// Health is what the container's health check says, nil if it has none.
	Health *Health `json:"health,omitempty"`
	// Restarts counts those of the restart policy since the last start.
	Restarts int `json:"restarts,omitempty"`
	// Stopped: somebody wanted it to end.
	Stopped bool   `json:"stopped,omitempty"`
	Error   string `json:"error,omitempty"`
	// Netns is the path of the network namespace, "" for the host's.
	Netns string `json:"netns,omitempty"`
	// Attached is what Detach has to take away. It is written before the
	// attachments are made (without their results) and again afterwards, so
	// that a kill between the two loses nothing.
	Attached []Attached `json:"attached,omitempty"`
	// Last is what it had when it last ran. A later start asks for the same
	// addresses and ports again and does without if they are taken.
	Last []Attached `json:"last,omitempty"`
}

// Ended is the state after an end, whatever was seen of it.
func (s State) Ended(at time.Time, code int) State {
	return State{
		Status: StatusExited, Started: s.Started, Finished: at, ExitCode: code,
		Restarts: s.Restarts, Stopped: s.Stopped, Last: s.remembered(), Health: s.Health,
	}
}

// remembered is Attached without what only Detach needs, or what was remembered
// before if this run got nothing.
func (s State) remembered() []Attached {
	var out []Attached
	for _, a := range s.Attached {
		if len(a.Addresses)+len(a.Ports) > 0 || a.MAC != "" {
			out = append(out, Attached{Network: a.Network, IfName: a.IfName, MAC: a.MAC, Addresses: a.Addresses, Ports: a.Ports})
		}
	}
	if out == nil {
		return s.Last
	}
	return out
}

// Again are the endpoints with what they had last, where nothing else is asked
// for. Endpoints that have never been attached stay as they are.
func Again(endpoints []Endpoint, last []Attached) []Endpoint {
	out := slices.Clone(endpoints)
	for i := range out {
		e := &out[i]
		j := slices.IndexFunc(last, func(a Attached) bool { return a.Network == e.Network && a.IfName == e.IfName })
		if j < 0 {
			continue
		}
		if len(e.IPs) == 0 {
			for _, p := range last[j].Addresses {
				e.IPs = append(e.IPs, p.Addr())
			}
		}
		if e.MAC == "" {
			e.MAC = last[j].MAC
		}
		e.Ports = portsAgain(e.Ports, last[j].Ports)
	}
	return out
}

// portsAgain fills in the host ports that were chosen the last time.
func portsAgain(ports, last []PortSpec) []PortSpec {
	if len(ports) != len(last) {
		return ports
	}
	out := slices.Clone(ports)
	for i, p := range out {
		if (p.HostPort == 0 || p.HostPortEnd != 0) && p.ContainerPort == last[i].ContainerPort && p.Protocol == last[i].Protocol {
			out[i].HostPort, out[i].HostPortEnd = last[i].HostPort, 0
		}
	}
	return out
}

// UnknownExit is the exit code of a container whose end nobody saw, as
// docker reports it after a reboot.
const UnknownExit = 255

// Container is a record as it was read: the two halves and whether a monitor
// holds the lock.
type Container struct {
	Config
	State State
}

// Planned is what Detach needs to know about endpoints before they exist.
func Planned(endpoints []Endpoint) []Attached {
	var out []Attached
	for _, e := range endpoints {
		out = append(out, Attached{Network: e.Network, IfName: e.IfName})
	}
	return out
}

// Network returns what the named network gave, or nil.
func (s State) Network(name string) *Attached {
	for i := range s.Attached {
		if s.Attached[i].Network == name {
			return &s.Attached[i]
		}
	}
	return nil
}
