package wire

import "fmt"

// Tuning changes settings of a link in the container. What it changes is kept
// in a file and put back on DEL; sysctls are not.
type Tuning struct {
	Link         string
	Sysctls      []Sysctl     // in the order in which they are to be set
	MAC          HardwareAddr // the zero value leaves it
	MTU          int          // bytes; 0 leaves it
	Promiscuous  bool
	AllMulticast *bool // nil leaves it
	TxQueueLen   *int  // packets; nil leaves it
	// Backup is the path of the file, in the reference plugin's format.
	Backup string
}

// ChangesLink tells whether there is anything to put back.
func (t Tuning) ChangesLink() bool {
	return t.MAC.IsValid() || t.MTU != 0 || t.Promiscuous || t.AllMulticast != nil || t.TxQueueLen != nil
}

// IsZero tells that there is nothing to do.
func (t Tuning) IsZero() bool { return !t.ChangesLink() && len(t.Sysctls) == 0 }

func (t Tuning) lines(container string) []string {
	var lines []string
	for _, s := range t.Sysctls {
		lines = append(lines, fmt.Sprintf("ip netns exec %s sysctl -w %s", container, s))
	}
	set := fmt.Sprintf("ip -n %s link set %s ", container, t.Link)
	if t.MAC.IsValid() {
		lines = append(lines, set+"address "+t.MAC.String())
	}
	if t.Promiscuous {
		lines = append(lines, set+"promisc on")
	}
	if t.MTU != 0 {
		lines = append(lines, fmt.Sprintf("%smtu %d", set, t.MTU))
	}
	if t.AllMulticast != nil {
		lines = append(lines, set+"allmulticast "+onOff(*t.AllMulticast))
	}
	if t.TxQueueLen != nil {
		lines = append(lines, fmt.Sprintf("%stxqueuelen %d", set, *t.TxQueueLen))
	}
	return lines
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}
