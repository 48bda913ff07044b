package wire

import "fmt"

// MacvlanMode says whom the interfaces on one parent can reach (ip-link(8)).
type MacvlanMode string

// The modes that the reference plugin knows.
const (
	MacvlanBridge   MacvlanMode = "bridge"
	MacvlanPrivate  MacvlanMode = "private"
	MacvlanVEPA     MacvlanMode = "vepa"
	MacvlanPassthru MacvlanMode = "passthru"
)

// MacvlanModes lists them.
func MacvlanModes() []MacvlanMode {
	return []MacvlanMode{MacvlanBridge, MacvlanPrivate, MacvlanVEPA, MacvlanPassthru}
}

// Macvlan is an interface on a parent's network.
type Macvlan struct {
	Container string
	// Parent is the interface below; "" stands for the one of the default
	// route, found when the link is made.
	Parent string
	// ParentInContainer looks for the parent in the container's namespace.
	ParentInContainer bool
	Mode              MacvlanMode
	MTU               int // bytes; 0 is the parent's
	MAC               HardwareAddr
	BCQueueLen        uint32 // packets; 0 is the kernel's default
}

// ContainerName implements Link.
func (m Macvlan) ContainerName() string { return m.Container }

// Up implements Link.
func (m Macvlan) Up() bool { return true }

func (m Macvlan) lines(container string) []string {
	parent := m.Parent
	if parent == "" {
		parent = "DEFAULT-ROUTE-INTERFACE"
	}
	add := "ip"
	if m.ParentInContainer {
		add += " -n " + container
	}
	add += fmt.Sprintf(" link add %s link %s", m.Container, parent)
	if m.MAC.IsValid() {
		add += " address " + m.MAC.String()
	}
	add += mtu(m.MTU)
	if !m.ParentInContainer {
		add += " netns " + container
	}
	add += " type macvlan mode " + string(m.Mode)
	if m.BCQueueLen != 0 {
		add += fmt.Sprintf(" bcqueuelen %d", m.BCQueueLen)
	}
	return []string{add}
}
