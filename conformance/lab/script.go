package lab

import (
	"fmt"
	"strings"
	"sync"

	"github.com/netctl/netctl/conformance/protocol"
)

// Script records what was done on a host as shell lines, so that a person can
// do it again without this program.
type Script struct {
	mu     sync.Mutex
	lines  []string
	broken string
}

// Addf appends a line.
func (s *Script) Addf(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, fmt.Sprintf(format, args...))
}

// recordTo makes the namespace record its steps; prefix brings a line there.
func (n *Netns) recordTo(s *Script, prefix string) { n.script, n.prefix = s, prefix }

// recordf appends a line that happens in the namespace.
func (n *Netns) recordf(format string, args ...any) {
	if n.script != nil {
		n.script.Addf("%s", n.prefix+fmt.Sprintf(format, args...))
	}
}

// cannot notes a step of the namespace that no shell line can say.
func (n *Netns) cannot(reason string) {
	if n.script != nil {
		n.script.Cannot(reason)
	}
}

// Cannot says that from here on the row did something no short line can say.
func (s *Script) Cannot(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken == "" {
		s.broken = reason
	}
}

// OneLine is the whole record as one command for a root shell: a private
// host, then each step. The reason is non-empty when it leaves something out.
func (s *Script) OneLine() (line, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	body := strings.Join(append([]string{prelude()}, s.lines...), "; ")
	return "unshare --net --mount sh -c " + protocol.Quote(body), s.broken
}

// prelude is what NewHost does before the first recorded step.
func prelude() string {
	return "mount -t tmpfs tmpfs /run; mount -t tmpfs tmpfs /var/lib; mount -t sysfs sysfs /sys; mkdir -p /run/netns /var/lib/cni; ip link set lo up"
}

// q is the quoting of the shell lines this package writes.
func q(s string) string { return protocol.Quote(s) }
