package doctor

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
)

// listenChecks: is the port published, and does somebody listen.
func listenChecks() []Check {
	inward := func(c *Case) bool { return c.Subject != nil && !c.asked() }
	return []Check{
		{"the port is published", func(c *Case) bool { return inward(c) && c.Port != 0 && c.Subject.Own() }, published},
		{"the program listens", inward, func(_ context.Context, c *Case) (*Finding, error) {
			return listening(c, c.Subject, c.wanted())
		}},
		{"the other program listens", func(c *Case) bool { return c.Peer != nil && c.Port != 0 }, func(_ context.Context, c *Case) (*Finding, error) {
			return listening(c, c.Peer, []Port{{Protocol: "tcp", Container: c.Port}})
		}},
	}
}

// wanted are the ports that the question is about.
func (c *Case) wanted() []Port {
	if c.Port == 0 {
		return c.Subject.Published
	}
	var ports []Port
	for _, p := range c.Subject.Published {
		if p.Host == c.Port {
			return []Port{p}
		}
		if p.Container == c.Port {
			ports = append(ports, p)
		}
	}
	if ports == nil {
		ports = []Port{{Protocol: "tcp", Container: c.Port}}
	}
	return ports
}

func published(_ context.Context, c *Case) (*Finding, error) {
	for _, p := range c.Subject.Published {
		if p.Host == c.Port || p.Container == c.Port {
			return nil, nil
		}
	}
	for _, other := range c.All {
		if other == c.Subject || !other.Running() {
			continue
		}
		for _, p := range other.Published {
			if p.Host == c.Port {
				return &Finding{fmt.Sprintf("port %d of the host leads to container %s, not to %s", c.Port, other.Name, c.Subject.Name),
					fmt.Sprintf("run %s again with another host port: netctl run -p PORT:%d ...", c.Subject.Name, c.Port)}, nil
			}
		}
	}
	cause := fmt.Sprintf("%s does not publish port %d", c.Subject.Name, c.Port)
	if len(c.Subject.Published) > 0 {
		cause += " (it publishes " + portList(c.Subject.Published) + ")"
	}
	return &Finding{cause, fmt.Sprintf("run it again with -p %d:%d", c.Port, c.Port)}, nil
}

func portList(ports []Port) string {
	var list []string
	for _, p := range ports {
		list = append(list, fmt.Sprintf("%d->%s", p.Host, p))
	}
	return strings.Join(list, ", ")
}

// listening looks for the sockets behind ports.
func listening(c *Case, of *Container, ports []Port) (*Finding, error) {
	if len(ports) == 0 {
		return nil, nil
	}
	sockets, err := c.World.Sockets(of.Namespace)
	if err != nil {
		return nil, err
	}
	for _, p := range ports {
		if f := listener(of, p, sockets); f != nil {
			return f, nil
		}
	}
	return nil, nil
}

func listener(of *Container, p Port, sockets []Socket) *Finding {
	loopback, otherProtocol := false, ""
	var others []uint16
	for _, s := range sockets {
		local := s.Local.Addr()
		switch {
		case s.Protocol == p.Protocol && s.Local.Port() == p.Container && !local.IsLoopback():
			return nil
		case s.Protocol == p.Protocol && s.Local.Port() == p.Container:
			loopback = true
		case s.Local.Port() == p.Container:
			otherProtocol = s.Protocol
		case s.Protocol == p.Protocol && !local.IsLoopback():
			others = append(others, s.Local.Port())
		}
	}
	slices.Sort(others)
	others = slices.Compact(others)
	again := "-p " + fmt.Sprint(cmp.Or(p.Host, p.Container)) + ":"
	switch {
	case loopback:
		return &Finding{fmt.Sprintf("the program in %s listens on port %d of its loopback interface only, where nobody else gets", of.Name, p.Container),
			"make it listen on 0.0.0.0 (its option is often --host, --bind or listen_addresses)"}
	case otherProtocol != "":
		return &Finding{fmt.Sprintf("port %s is published, and the program in %s listens on %d/%s", p, of.Name, p.Container, otherProtocol),
			fmt.Sprintf("run it again with %s%d/%s", again, p.Container, otherProtocol)}
	case len(others) > 0:
		return &Finding{fmt.Sprintf("nothing in %s listens on port %s; its program listens on %s", of.Name, p, numbers(others)),
			fmt.Sprintf("run it again with %s%d", again, others[0])}
	}
	return &Finding{fmt.Sprintf("nothing in %s listens on port %s, or on any other", of.Name, p), "netctl logs " + of.Name}
}

func numbers(list []uint16) string {
	var out []string
	for _, n := range list {
		out = append(out, fmt.Sprint(n))
	}
	return strings.Join(out, ", ")
}
