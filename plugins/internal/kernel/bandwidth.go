package kernel

import (
	"errors"
	"fmt"
	"math"
	"net"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// ethernetHeader is the length of what comes before an IP packet, in bytes.
const ethernetHeader = 14

// ingressHandle is the handle of the ingress queue, the same for every link.
var ingressHandle = netlink.MakeHandle(0xffff, 0)

// Shape limits the traffic of a container's pair of links.
func (h *Host) Shape(c *Container, want wire.Bandwidth) error {
	host, err := h.otherEnd(c, want)
	if err != nil {
		return err
	}
	if err := h.unshaped(host, want); err != nil {
		return err
	}
	if !want.Ingress.IsZero() {
		if err := h.limit(host, want.Ingress); err != nil {
			return err
		}
	}
	if want.Egress.IsZero() {
		return nil
	}
	ifb, err := h.makeIfb(want.Ifb, host.Attrs().MTU)
	if err != nil {
		return err
	}
	if err := h.limit(ifb, want.Egress); err != nil {
		return err
	}
	return h.redirect(host, ifb)
}

// otherEnd finds the host's end of the pair. An index alone could be that of
// any link of the host, if the other end is in a third namespace; so the two
// must point at each other.
func (h *Host) otherEnd(c *Container, want wire.Bandwidth) (netlink.Link, error) {
	inside, _, err := c.find(want.Link)
	if err != nil {
		return nil, fmt.Errorf("look for %s in %s: %w", want.Link, c.Path, err)
	}
	if inside.Type() != "veth" {
		return nil, fmt.Errorf("bandwidth of %s: it is a %s; only a pair of links (veth) with one end on the host can be limited", want.Link, inside.Type())
	}
	host, err := h.link.LinkByIndex(inside.Attrs().ParentIndex)
	if err != nil || host.Type() != "veth" || host.Attrs().ParentIndex != inside.Attrs().Index {
		return nil, fmt.Errorf("bandwidth of %s: the other end of the pair is not on the host", want.Link)
	}
	if name := host.Attrs().Name; len(want.Hosts) > 0 && !slices.Contains(want.Hosts, name) {
		return nil, fmt.Errorf("bandwidth of %s: the other end %s of the pair is not among the interfaces of prevResult", want.Link, name)
	}
	return host, nil
}

// unshaped makes sure that nobody else's limits are in the way.
func (h *Host) unshaped(host netlink.Link, want wire.Bandwidth) error {
	queues, err := h.link.QdiscList(host)
	if err != nil {
		return fmt.Errorf("list queues of %s: %w", host.Attrs().Name, err)
	}
	for _, q := range queues {
		if ours(q, want) {
			return fmt.Errorf("%s has a %s queue: %w", host.Attrs().Name, q.Type(), ErrShaped)
		}
	}
	return nil
}

// ours tells a queue that Shape adds to the host's end.
func ours(q netlink.Qdisc, want wire.Bandwidth) bool {
	switch q.(type) {
	case *netlink.Tbf:
		return !want.Ingress.IsZero()
	case *netlink.Ingress:
		return !want.Egress.IsZero()
	}
	return false
}

// limit makes a token bucket the link's queue.
func (h *Host) limit(link netlink.Link, limit wire.Limit) error {
	if err := h.link.QdiscAdd(tokenBucket(link, limit)); err != nil {
		return fmt.Errorf("limit %s to %d bit/s: %w", link.Attrs().Name, limit.Rate, err)
	}
	return nil
}

// tokenBucket is tc-tbf(8). The kernel wants the burst as the time that it takes
// at the given rate, in its own ticks, and has 32 bits for it: some 270 seconds,
// after which more makes no difference to anybody. containerd and CRI-O ask
// for a burst of 2^32 and 2^35 bits when they mean "no limit". A burst below one
// frame would let nothing through at all; it is raised to that.
func tokenBucket(link netlink.Link, limit wire.Limit) *netlink.Tbf {
	attrs := link.Attrs()
	rate := float64(limit.Rate / 8)
	burst := math.Max(float64(limit.Burst/8), float64(attrs.MTU+ethernetHeader))
	ticks := math.Ceil(burst / rate * netlink.TIME_UNITS_PER_SEC * netlink.TickInUsec())
	return &netlink.Tbf{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: attrs.Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT},
		Rate:       limit.Rate / 8,
		Buffer:     clamp(ticks),
		Limit:      clamp(rate*wire.Latency/1000 + burst),
	}
}

func clamp(x float64) uint32 { return uint32(math.Min(x, math.MaxUint32)) }

// makeIfb makes the device that the container's traffic is led through.
func (h *Host) makeIfb(name string, mtu int) (netlink.Link, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.Flags = name, mtu, net.FlagUp
	if err := h.link.LinkAdd(&netlink.Ifb{LinkAttrs: attrs}); err != nil {
		return nil, fmt.Errorf("make intermediate device %s: %w", name, err)
	}
	if err := ignoreAdvertisements(name); err != nil {
		return nil, err
	}
	link, err := h.link.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("look for %s: %w", name, err)
	}
	return link, nil
}

// redirect leads all that comes in by a link through an ifb.
func (h *Host) redirect(host, ifb netlink.Link) error {
	queue := &netlink.Ingress{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: host.Attrs().Index, Handle: ingressHandle, Parent: netlink.HANDLE_INGRESS,
	}}
	if err := h.link.QdiscAdd(queue); err != nil {
		return fmt.Errorf("add ingress queue to %s: %w", host.Attrs().Name, err)
	}
	filter := &netlink.U32{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: host.Attrs().Index, Parent: ingressHandle, Priority: 1, Protocol: unix.ETH_P_ALL,
		},
		Actions: []netlink.Action{netlink.NewMirredAction(ifb.Attrs().Index)},
	}
	if err := h.link.FilterAdd(filter); err != nil {
		return fmt.Errorf("lead traffic of %s through %s: %w", host.Attrs().Name, ifb.Attrs().Name, err)
	}
	return nil
}

// Unshape takes the limits away, those of a link that stays too. What is not
// there is no error.
func (h *Host) Unshape(want wire.Bandwidth) error {
	var failures []error
	for _, name := range want.Hosts {
		link, err := h.link.LinkByName(name)
		if absent(err) || err == nil && link.Type() != "veth" {
			continue
		}
		if err == nil {
			err = h.clearQueues(link, want)
		}
		failures = append(failures, err)
	}
	return errors.Join(append(failures, h.DeleteLink(want.Ifb))...)
}

// clearQueues removes what Shape added to the host's end.
func (h *Host) clearQueues(link netlink.Link, want wire.Bandwidth) error {
	queues, err := h.link.QdiscList(link)
	if err != nil {
		return fmt.Errorf("list queues of %s: %w", link.Attrs().Name, err)
	}
	for _, q := range queues {
		if !ours(q, want) {
			continue
		}
		if err := h.link.QdiscDel(q); err != nil && !absent(err) {
			return fmt.Errorf("remove %s queue of %s: %w", q.Type(), link.Attrs().Name, err)
		}
	}
	return nil
}

// checkBandwidth finds out whether the limits are in force.
func (h *Host) checkBandwidth(c *Container, want wire.Bandwidth) error {
	host, err := h.otherEnd(c, want)
	if err != nil {
		return err
	}
	if !want.Ingress.IsZero() {
		if err := h.checkLimit(host, want.Ingress); err != nil {
			return err
		}
	}
	if want.Egress.IsZero() {
		return nil
	}
	ifb, err := h.link.LinkByName(want.Ifb)
	if err != nil {
		return fmt.Errorf("intermediate device %s of %s: %w", want.Ifb, host.Attrs().Name, err)
	}
	if err := h.checkLimit(ifb, want.Egress); err != nil {
		return err
	}
	filters, err := h.link.FilterList(host, ingressHandle)
	if err != nil {
		return fmt.Errorf("list filters of %s: %w", host.Attrs().Name, err)
	}
	if !slices.ContainsFunc(filters, func(f netlink.Filter) bool { return leadsTo(f, ifb) }) {
		return fmt.Errorf("traffic of %s is not led through %s any more: the egress limit has no effect", host.Attrs().Name, want.Ifb)
	}
	return nil
}

func (h *Host) checkLimit(link netlink.Link, limit wire.Limit) error {
	name, want := link.Attrs().Name, tokenBucket(link, limit)
	queues, err := h.link.QdiscList(link)
	if err != nil {
		return fmt.Errorf("list queues of %s: %w", name, err)
	}
	for _, q := range queues {
		have, ok := q.(*netlink.Tbf)
		switch {
		case !ok:
		case have.Rate != want.Rate:
			return fmt.Errorf("%s is limited to %d bit/s, not %d", name, have.Rate*8, limit.Rate)
		case have.Limit != want.Limit || have.Buffer != want.Buffer:
			return fmt.Errorf("the limit of %s has another burst than %d bits", name, limit.Burst)
		default:
			return nil
		}
	}
	return fmt.Errorf("%s is not limited to %d bit/s any more", name, limit.Rate)
}

// leadsTo tells whether a filter redirects to a link.
func leadsTo(filter netlink.Filter, link netlink.Link) bool {
	u32, ok := filter.(*netlink.U32)
	return ok && slices.ContainsFunc(u32.Actions, func(a netlink.Action) bool {
		mirred, ok := a.(*netlink.MirredAction)
		return ok && mirred.Ifindex == link.Attrs().Index
	})
}
