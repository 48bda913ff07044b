package runner

import "time"

// Status is a word of docker's.
type Status string

const (
	StatusCreated  Status = "created"
	StatusStarting Status = "starting" // a monitor is at work, no process yet
	StatusRunning  Status = "running"
	StatusPaused   Status = "paused"
	StatusExited   Status = "exited"
	StatusRemoving Status = "removing"
)

// Active tells whether a monitor should be alive in this state.
func (s Status) Active() bool {
	return s == StatusStarting || s == StatusRunning || s == StatusPaused
}

// State is what a container is at the moment. Only the holder of the
// container's lock writes it.
type State struct {
	Status   Status    `json:"status"`
	Pid      int       `json:"pid,omitempty"` // in the host's numbering
	Started  time.Time `json:"started,omitzero"`
	Finished time.Time `json:"finished,omitzero"`
	// ExitCode is the process's, or 128+signal; UnknownExit if nobody saw it.
	ExitCode  int    `json:"exitCode"`
	OOMKilled bool   `json:"oomKilled,omitempty"`
	Error     string `json:"error,omitempty"`
	// Netns is the path of the network namespace, "" for the host's.
	Netns string `json:"netns,omitempty"`
	// Attached is what Detach has to take away. It is written before the
	// attachments are made (without their results) and again afterwards, so
	// that a kill between the two loses nothing.
	Attached []Attached `json:"attached,omitempty"`
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
