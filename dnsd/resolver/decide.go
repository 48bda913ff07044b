package resolver

import (
	"net/netip"
	"slices"

	"github.com/netctl/netctl/dnsd/message"
	"github.com/netctl/netctl/dnsd/names"
)

// A Decision is what happens to a question about a name.
type Decision struct {
	Answer names.Answer
	// Servers are asked about a name that is foreign.
	Servers []netip.Addr
	// Info is the reason of a name that is missing only for this client.
	Info uint16
}

// decide looks a name up, and finds the servers for one that is not ours.
func (r *Resolver) decide(s *names.Snapshot, c *names.Client, name []byte) Decision {
	d := Decision{Answer: s.Lookup(c, name), Info: message.NoInfo}
	if d.Answer.Kind != names.Foreign {
		return d
	}
	if r.keep(name) {
		d.Answer.Kind = names.Missing
		return d
	}
	d.Servers = r.servers(s, c)
	if c.Internal && len(d.Servers) == 0 {
		// NXDOMAIN and not SERVFAIL: stubs go on with their search lists at
		// once, where a failure would make them try for seconds.
		d.Answer.Kind, d.Info = names.Missing, message.InfoProhibited
	}
	return d
}

// keep tells of names that are not ours, and not to be asked about.
func (r *Resolver) keep(name []byte) bool {
	return (r.Qualified && names.IsSingle(name)) || (names.IsLocal(name) && !r.Upstream.ServesLocal(name))
}

// servers are those that may be asked for a client: its own ones or else the
// host's. A client on internal networks reaches only those that lie in its own
// subnets. We are never our own upstream.
func (r *Resolver) servers(s *names.Snapshot, c *names.Client) []netip.Addr {
	list := c.Servers
	if len(list) == 0 {
		list = r.Upstream.Servers()
	}
	forbidden := func(a netip.Addr) bool { return s.IsGateway(a) || (c.Internal && !c.Reaches(a)) }
	if slices.ContainsFunc(list, forbidden) {
		list = slices.DeleteFunc(slices.Clone(list), forbidden)
	}
	return list
}

// Explain is the decision for a client, told to people.
func (r *Resolver) Explain(c *names.Client, name names.Name) Decision {
	return r.decide(r.Snapshot(), c, []byte(name))
}
