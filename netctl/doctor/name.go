package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// nameChecks: does the name lead to the address.
func nameChecks() []Check {
	named := func(c *Case) bool {
		return c.Subject != nil && (c.Name != "" || c.Peer != nil) && len(c.Subject.Servers) > 0
	}
	return []Check{
		{"its resolv.conf names our resolver", named, resolvConf},
		{"the resolver answers", named, resolverAnswers},
		{"the name is known", named, nameKnown},
	}
}

func resolvConf(_ context.Context, c *Case) (*Finding, error) {
	s := c.Subject
	for _, server := range s.Servers {
		if slices.Contains(s.Resolv, server) {
			return nil, nil
		}
	}
	return &Finding{fmt.Sprintf("/etc/resolv.conf of %s was changed: it does not name %s, which knows the containers", s.Name, s.Servers[0]), "netctl restart " + s.Name}, nil
}

// resolverAnswers asks for the subject's own name, for which nobody else is
// needed.
func resolverAnswers(ctx context.Context, c *Case) (*Finding, error) {
	s := c.Subject
	_, err := c.World.Resolve(ctx, s.Namespace, s.Servers[0], s.Name)
	if !errors.Is(err, ErrNoAnswer) {
		return nil, nil
	}
	attempt := func() { _, _ = c.World.Resolve(ctx, s.Namespace, s.Servers[0], s.Name) }
	f, err := dropped(ctx, c, Packet{In: device(c), To: netip.AddrPortFrom(s.Servers[0], 53)}, attempt,
		fmt.Sprintf("questions of %s to the resolver at %s are dropped", s.Name, s.Servers[0]), "")
	if err != nil || f.Mend != "" {
		return f, err
	}
	if _, err := c.World.Resolve(ctx, Host, s.Servers[0], s.Name); err == nil {
		return &Finding{f.Cause, "netctl reload"}, nil
	}
	return &Finding{fmt.Sprintf("the resolver at %s does not answer: dnsd does not run", s.Servers[0]), "netctl restart " + s.Name + " (dnsd is started with the next container)"}, nil
}

// device is the host's interface to the subject's first network.
func device(c *Case) string {
	if len(c.Subject.Attached) == 0 {
		return ""
	}
	return c.Subject.Attached[0].Network.Device
}

func nameKnown(ctx context.Context, c *Case) (*Finding, error) {
	s := c.Subject
	name := c.Name
	if c.Peer != nil {
		name = c.Peer.Name
	}
	got, err := c.World.Resolve(ctx, s.Namespace, s.Servers[0], name)
	switch {
	case err == nil && c.Peer != nil && !c.Peer.has(got):
		return &Finding{fmt.Sprintf("the name %s leads to %s, which is not an address of %s", name, got[0], c.Peer.Name), "netctl restart " + c.Peer.Name}, nil
	case err == nil:
		c.Address = got[0]
		return nil, nil
	case c.Peer != nil:
		return &Finding{fmt.Sprintf("the resolver does not know the name %s", name), "netctl restart " + c.Peer.Name}, nil
	case errors.Is(err, ErrNoName), looksLikeAContainer(c):
		return unknownName(c), nil
	}
	return upstream(ctx, c)
}

// looksLikeAContainer: a name without a dot that is nearly a container's is a
// slip, whatever the world's name servers do.
func looksLikeAContainer(c *Case) bool {
	return !strings.Contains(c.Name, ".") && len(near(c)) > 0
}

// near are the containers whose name begins like the one asked for, or is one
// letter away from it.
func near(c *Case) []string {
	var names []string
	for _, other := range c.All {
		if strings.HasPrefix(other.Name, c.Name) || strings.HasPrefix(c.Name, other.Name) || oneLetterApart(other.Name, c.Name) {
			names = append(names, other.Name)
		}
	}
	return names
}

// oneLetterApart: a letter is wrong, missing or too much.
func oneLetterApart(a, b string) bool {
	if len(a) < len(b) {
		a, b = b, a
	}
	if len(a)-len(b) > 1 {
		return false
	}
	i := 0
	for i < len(b) && a[i] == b[i] {
		i++
	}
	rest := b[i:]
	if len(a) == len(b) && i < len(b) {
		rest = b[i+1:]
	}
	return a[min(i+1, len(a)):] == rest
}

func (c *Container) has(addresses []netip.Addr) bool {
	for _, a := range c.Attached {
		for _, p := range a.Addresses {
			if slices.Contains(addresses, p.Addr()) {
				return true
			}
		}
	}
	return false
}

func unknownName(c *Case) *Finding {
	if names := near(c); len(names) > 0 {
		return &Finding{fmt.Sprintf("there is no container of the name %s", c.Name), "did you mean " + strings.Join(names, " or ") + "?"}
	}
	return &Finding{fmt.Sprintf("there is no container, and no host anywhere, of the name %s", c.Name), "netctl ps --format '{{.Names}}'"}
}

// upstream: who does not answer for the world's names.
func upstream(ctx context.Context, c *Case) (*Finding, error) {
	servers, err := c.World.Upstream()
	if err != nil {
		return nil, err
	}
	if len(servers) == 0 {
		return &Finding{"the host's /etc/resolv.conf names no server for the world's names", "write a line 'nameserver ADDRESS' into it, or use --dns"}, nil
	}
	var dead []string
	for _, server := range servers {
		if _, err := c.World.Resolve(ctx, Host, server, c.Name); err == nil || errors.Is(err, ErrNoName) {
			return &Finding{fmt.Sprintf("the host's name server %s answers the host, and our resolver gets no answer", server), "netctl restart " + c.Subject.Name}, nil
		}
		dead = append(dead, server.String())
	}
	return &Finding{fmt.Sprintf("the host's name server does not answer (%s), so names outside can't be looked up", strings.Join(dead, ", ")),
		"mend /etc/resolv.conf of the host, or run the container with --dns ADDRESS"}, nil
}
