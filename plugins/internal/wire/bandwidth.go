package wire

import "fmt"

// Bandwidth limits what goes through a container's pair of links, on the host's
// end, where the container can't reach. Towards the container a token bucket
// is the end's queue. What the container sends has passed no queue of the host
// yet when it arrives; it is led through an intermediate device (ifb) that has one.
type Bandwidth struct {
	// Link is the container's end of the pair.
	Link string
	// Hosts are the links of the host among which the other end is; empty
	// stands for all of them.
	Hosts []string
	// Ifb is the name of the intermediate device, see IfbPrefix.
	Ifb     string
	Ingress Limit // towards the container
	Egress  Limit // from the container
}

// Limit is a token bucket; the zero value limits nothing.
type Limit struct {
	Rate  uint64 // bits per second
	Burst uint64 // bits that may be sent at once after a pause
}

// IsZero tells that there is no limit.
func (l Limit) IsZero() bool { return l == Limit{} }

// Latency is how long a packet may wait for tokens, in milliseconds, before
// packets are dropped: the reference plugin's choice.
const Latency = 25

func (l Limit) line(dev string) string {
	return fmt.Sprintf("tc qdisc add dev %s root handle 1: tbf rate %dbit burst %db latency %dms", dev, l.Rate, l.Burst/8, Latency)
}

func (b Bandwidth) lines() []string {
	host := "HOST-END"
	if len(b.Hosts) == 1 {
		host = b.Hosts[0]
	}
	var lines []string
	if !b.Ingress.IsZero() {
		lines = append(lines, b.Ingress.line(host))
	}
	if b.Egress.IsZero() {
		return lines
	}
	return append(lines,
		"ip link add "+b.Ifb+" up type ifb",
		b.Egress.line(b.Ifb),
		"tc qdisc add dev "+host+" handle ffff: ingress",
		"tc filter add dev "+host+" parent ffff: prio 1 u32 match u32 0 0 action mirred egress redirect dev "+b.Ifb)
}
