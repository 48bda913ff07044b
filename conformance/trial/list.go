package trial

import (
	"fmt"
	"slices"

	"github.com/netctl/netctl/conformance/protocol"
)

// Chain is a container's interface on a whole list: one attachment per plugin,
// each working on the result of the one before.
type Chain struct {
	Members []*Attachment
	t       *T
}

// PlaceChain makes a container for a list subject.
func (t *T) PlaceChain() *Chain {
	n := t.next()
	container, err := t.Host.NewContainer(fmt.Sprintf("c%d", n))
	t.Must(err)
	c := &Chain{t: t}
	for _, member := range t.Subject.Members {
		a := t.attachment(member, container, "eth0", n)
		a.ID = fmt.Sprintf("container%d", n)
		c.Members = append(c.Members, a)
	}
	return c
}

// First is the attachment of the plugin that makes the interface.
func (c *Chain) First() *Attachment { return c.Members[0] }

// Add runs ADD through the list and stops at the first failure. It may be
// called from several goroutines for several chains.
func (c *Chain) Add() *protocol.Reply {
	var reply *protocol.Reply
	var last *protocol.Result
	for _, a := range c.Members {
		a.Prev = last
		reply = a.Add()
		if a.Result == nil {
			return reply
		}
		last = a.Result
	}
	// Runtimes keep the final result and hand it to every plugin later.
	for _, a := range c.Members {
		a.Result = last
	}
	return reply
}

// MustAdd adds the chain; failure blocks the row.
func (c *Chain) MustAdd() {
	if reply := c.Add(); !reply.OK() {
		c.t.Block("ADD of the list, which this row builds on, failed: %s", reply.Summary())
	}
}

// Del runs DEL through the list in the given order of plugins and returns the
// answers.
func (c *Chain) Del(order []*Attachment) []*protocol.Reply {
	var replies []*protocol.Reply
	for _, a := range order {
		replies = append(replies, a.Del())
	}
	return replies
}

// Reverse is the order runtimes use for DEL.
func (c *Chain) Reverse() []*Attachment {
	out := slices.Clone(c.Members)
	slices.Reverse(out)
	return out
}
