package doctor

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
)

// lifeChecks: does it run, and has it a network at all.
func lifeChecks() []Check {
	hasSubject := func(c *Case) bool { return c.Subject != nil }
	return []Check{
		{"the port belongs to a container", func(c *Case) bool { return c.Subject == nil && c.Port != 0 }, unowned},
		{"its ports are nobody else's", func(c *Case) bool { return c.Subject != nil && !c.Subject.Running() }, portHeld},
		{"the container runs", hasSubject, func(_ context.Context, c *Case) (*Finding, error) { return life(c.Subject), nil }},
		{"the container has a network", hasSubject, hasNetwork},
		{"the other container runs", func(c *Case) bool { return c.Peer != nil }, func(_ context.Context, c *Case) (*Finding, error) { return life(c.Peer), nil }},
	}
}

// unowned: a port of the host that no container publishes.
func unowned(_ context.Context, c *Case) (*Finding, error) {
	holder, err := holderOf(c, "tcp", netip.Addr{}, c.Port)
	if err != nil {
		return nil, err
	}
	if holder != "" {
		return &Finding{fmt.Sprintf("port %d of the host is held by %s; no container publishes it", c.Port, holder),
			fmt.Sprintf("stop it, and run the container with -p %d:PORT", c.Port)}, nil
	}
	return &Finding{fmt.Sprintf("no container publishes port %d, and nothing listens on it", c.Port),
		fmt.Sprintf("netctl run -p %d:PORT ...", c.Port)}, nil
}

// holderOf names the process of the host that listens where a port is to be
// published.
func holderOf(c *Case, protocol string, at netip.Addr, port uint16) (string, error) {
	sockets, err := c.World.Sockets(Host)
	if err != nil {
		return "", err
	}
	for _, s := range sockets {
		local := s.Local.Addr()
		if s.Protocol == protocol && s.Local.Port() == port && (!at.IsValid() || at.IsUnspecified() || local.IsUnspecified() || local == at) {
			return c.World.Holder(s), nil
		}
	}
	return "", nil
}

// portHeld: why a container that should run does not, if it is a port.
func portHeld(_ context.Context, c *Case) (*Finding, error) {
	for _, p := range c.Subject.Published {
		if p.Host == 0 {
			continue
		}
		for _, other := range c.All {
			if other != c.Subject && other.Running() && other.publishes(p) {
				return &Finding{fmt.Sprintf("%s does not run, and its port %d/%s is published by container %s", c.Subject.Name, p.Host, p.Protocol, other.Name),
					fmt.Sprintf("netctl stop %s && netctl start %s", other.Name, c.Subject.Name)}, nil
			}
		}
		holder, err := holderOf(c, p.Protocol, p.HostIP, p.Host)
		if err != nil {
			return nil, err
		}
		if holder != "" {
			return &Finding{fmt.Sprintf("%s does not run, and its port %d/%s is held by %s", c.Subject.Name, p.Host, p.Protocol, holder),
				fmt.Sprintf("stop that process, then: netctl start %s", c.Subject.Name)}, nil
		}
	}
	return nil, nil
}

func (c *Container) publishes(p Port) bool {
	for _, own := range c.Published {
		if own.Host == p.Host && own.Protocol == p.Protocol && (!own.HostIP.IsValid() || !p.HostIP.IsValid() || own.HostIP == p.HostIP) {
			return true
		}
	}
	return false
}

// life says why a container does not run.
func life(c *Container) *Finding {
	switch c.Status {
	case "running":
		return nil
	case "paused":
		return &Finding{c.Name + " is paused", "netctl unpause " + c.Name}
	case "restarting":
		return &Finding{fmt.Sprintf("%s ends again and again (status %d, restarted %d times)", c.Name, c.ExitCode, c.Restarts), "netctl logs " + c.Name}
	case "created":
		if c.Error != "" {
			return &Finding{c.Name + " could not be started: " + strings.ReplaceAll(c.Error, "\n", "; "), "netctl start " + c.Name}
		}
		return &Finding{c.Name + " was never started", "netctl start " + c.Name}
	}
	if c.OOM {
		return &Finding{c.Name + " was killed because it used more memory than it may", "run it with a larger --memory"}
	}
	if c.ExitCode != 0 {
		return &Finding{fmt.Sprintf("%s has ended with status %d", c.Name, c.ExitCode), fmt.Sprintf("netctl logs %s; netctl start %s", c.Name, c.Name)}
	}
	return &Finding{fmt.Sprintf("%s is not running (%s)", c.Name, c.Status), "netctl start " + c.Name}
}

func hasNetwork(_ context.Context, c *Case) (*Finding, error) {
	s := c.Subject
	if s.Kind == "none" || s.Own() && len(s.Attached) == 0 {
		return &Finding{s.Name + " has no network but its own loopback interface", "netctl connect bridge " + s.Name}, nil
	}
	return nil, nil
}
