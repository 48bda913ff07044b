package forward

import "github.com/netctl/netctl/dnsd/message"

// effects are what the forwarder decided while it held its lock and does when
// it has let go: a message to a server, or a reply to clients.
type effects struct {
	link link
	out  []byte

	reply  []byte
	waiter waiter
	others []waiter
}

func (e *effects) happen() {
	if e.link != nil {
		e.link.write(e.out)
	}
	if e.reply != nil {
		e.waiter.deliver(e.reply)
		for _, w := range e.others {
			w.deliver(e.reply)
		}
	}
}

// deliver sends a reply that fits every waiter of an exchange but for the ID.
func (w waiter) deliver(reply []byte) {
	message.SetID(reply, w.id)
	w.back.SendReply(reply, w.client)
}
