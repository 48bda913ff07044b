// Package doctor finds the one cause why a container can't be reached, or can't
// reach something, and names the command that mends it.
//
// It is a list of Checks, values that ask the World, in the order in which one
// fault hides the next: a container that does not run listens nowhere, and a
// packet filter matters only where there is a route. The first check that finds
// something ends the search. The World is the kernel, seen from the namespaces
// in which the packets are; package probe is the real one.
package doctor

import (
	"context"
	"fmt"
	"net/netip"
)

// Namespace is the path of a network namespace; "" is the host's.
type Namespace string

// Host is the host's own namespace.
const Host Namespace = ""

// A Container is what is known of a container.
type Container struct {
	Name     string
	Status   string // a word of docker's
	ExitCode int
	OOM      bool
	Error    string // why it does not run
	Restarts int
	// Kind is attached, none, host, container or ns, as the runner's.
	Kind      string
	Namespace Namespace
	Attached  []Attachment
	Published []Port
	// Servers are the name servers it was given; Resolv those in its
	// resolv.conf now.
	Servers, Resolv []netip.Addr
	// Unhealthy is what its own health check has said last, where that made the
	// container unhealthy.
	Unhealthy *Failure
}

// Failure is what a health check that failed has said.
type Failure struct {
	Streak int // of failures
	Output string
}

// Running tells whether its program runs.
func (c *Container) Running() bool { return c.Status == "running" }

// Own tells whether it has a network namespace and networks of its own.
func (c *Container) Own() bool { return c.Kind == "attached" }

// Attachment is one network of a container.
type Attachment struct {
	Network   Network
	Interface string
	Addresses []netip.Prefix
	Gateways  []netip.Addr // of Addresses; zero: none
	Publishes bool         // the container's published ports lead here
}

// Network is what matters of a network.
type Network struct {
	Name, Driver, Device string
	Internal             bool // no way out
	Apart                bool // its containers may not talk to each other
	Gateways             []netip.Prefix
}

// Port is one published port.
type Port struct {
	Protocol        string
	HostIP          netip.Addr // zero: all
	Host, Container uint16
}

func (p Port) String() string { return fmt.Sprintf("%d/%s", p.Container, p.Protocol) }

// A Case is a question.
type Case struct {
	World World
	// Subject is the container that is asked about; nil: the host alone.
	Subject *Container
	// Port is the port asked about, of the host or of the container; 0: all
	// published ones.
	Port uint16
	// To is what the subject should reach: a container, an address or a name.
	Peer    *Container
	Address netip.Addr
	Name    string
	// All are all containers, for who holds what, and for names.
	All []*Container
}

// asked tells whether the question is about reaching something.
func (c *Case) asked() bool { return c.Peer != nil || c.Address.IsValid() || c.Name != "" }

// A Finding is a cause and the command that mends it.
type Finding struct{ Cause, Mend string }

// A Check looks for one kind of fault.
type Check struct {
	// Name says what is right if nothing is found.
	Name string
	// Applies tells whether the question has to do with it; nil: always.
	Applies func(*Case) bool
	// Probe looks. No finding and no error means that this is right.
	Probe func(context.Context, *Case) (*Finding, error)
}

// A Report is what an examination came to.
type Report struct {
	Right   []string // names of the checks that found nothing
	Finding *Finding // nil: nothing is wrong
}

// Diagnose makes the checks in order until one finds something.
func Diagnose(ctx context.Context, c *Case, checks []Check) (Report, error) {
	var r Report
	for _, check := range checks {
		if check.Applies != nil && !check.Applies(c) {
			continue
		}
		found, err := check.Probe(ctx, c)
		if err != nil {
			return r, fmt.Errorf("%s: %w", check.Name, err)
		}
		if found != nil {
			r.Finding = found
			return r, nil
		}
		r.Right = append(r.Right, check.Name)
	}
	return r, nil
}

// Checks is all of them, in order.
func Checks() []Check {
	var all []Check
	for _, group := range [][]Check{
		lifeChecks(), listenChecks(), linkChecks(), pathChecks(), nameChecks(), reachChecks(), attachmentChecks(), healthChecks(),
	} {
		all = append(all, group...)
	}
	return all
}
