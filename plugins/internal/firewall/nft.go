package firewall

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	nft "github.com/google/nftables"
	"github.com/mdlayher/netlink"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// nftables carries policy out with the kernel's nf_tables, by netlink, without
// any program. Linux 5.6 or newer (intervals in concatenations).
//
// Published ports are elements of maps: adding one, removing one and finding
// one cost the same whatever their number. The usual ADD asks for two objects
// by name, the chain that says that the network's rules are current and the
// attachment's receipt, and then adds elements; the usual DEL deletes elements.
// Only when something is not as expected is the table read and the difference
// written.
//
// The table is ours alone, so a flush of other people's rules (iptables -F, a
// reload of firewalld) does not touch it. But accepting a packet in it does not
// save the packet from other tables; see openings.
type nftables struct {
	log  *slog.Logger
	park Park
}

// Name is part of Backend.
func (*nftables) Name() BackendName { return NFTables }

// Apply is part of Backend.
func (t *nftables) Apply(ctx context.Context, r Rules) error {
	s, err := t.open(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	err = s.change(r.families(), func(f family) error { return s.apply(f, r) })
	if conflicts(err) {
		t.log.Debug("rules differ from what was expected, reading them", "because", err)
		err = s.change(r.families(), func(f family) error { return s.rewrite(f, nftWanted(f, r), r.replaces, true) })
	}
	if err == nil && s.rewrote {
		s.foreigners().open(r.Network)
	}
	return errors.Join(err, s.forgetConnections(r.Publish))
}

// Remove is part of Backend.
func (t *nftables) Remove(ctx context.Context, r Rules, inUse InUse) error {
	s, err := t.open(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	last, err := inUse.last()
	if err != nil {
		return err
	}
	err = s.takeAway(r, last)
	return errors.Join(err, s.forgetConnections(r.Publish))
}

func (s *nftSession) takeAway(r Rules, last bool) error {
	gone := func(c string) bool { return ofLabel(c, attachmentLabel(r.Attachment)) }
	if last {
		if err := s.dial(); err != nil {
			return err
		}
		gone = func(c string) bool { return ofNetworkOrBelow(c, r.Attachment.NetworkLabel()) }
		s.foreigners().close(gone)
	}
	if r.known() && r.simple() {
		err := s.change(r.families(), func(f family) error {
			own := nftOwn(f, r)
			if !last {
				s.remove(f, own)
				return nil
			}
			return s.rewrite(f, nftWant{without: own}, gone, false)
		})
		if !conflicts(err) {
			return err
		}
	}
	return s.change(r.families(), func(f family) error { return s.rewrite(f, nftWant{}, gone, true) })
}

// RemoveNetwork is part of Backend.
func (t *nftables) RemoveNetwork(ctx context.Context, network string, inUse InUse) error {
	s, err := t.openWhole(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	if used, err := inUse.used(); used || err != nil {
		return err
	}
	gone := func(c string) bool { return ofNetworkAndParts(c, network) }
	s.foreigners().close(gone)
	return s.change(Rules{}.families(), func(f family) error { return s.rewrite(f, nftWant{}, gone, true) })
}

// Restore is part of Backend.
func (t *nftables) Restore(ctx context.Context, all []Rules) error {
	s, err := t.openWhole(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	all = settle(all)
	s.foreigners().restore(all)
	return s.change(Rules{}.families(), func(f family) error {
		var want nftWant
		for _, r := range all {
			want.merge(nftWanted(f, r))
		}
		return s.rewrite(f, want, func(string) bool { return true }, true)
	})
}

// nftSession is one operation: the lock, and the sockets that it needs.
type nftSession struct {
	lock *lock
	// quick is for changes of elements alone; nil before the first.
	quick *nftSocket
	// writer collects a transaction on the socket conn; both are nil before the
	// first operation that needs them, see dial.
	writer *nft.Conn
	conn   *netlink.Conn
	log    *slog.Logger
	park   Park
	// pending are the elements that the transaction changes.
	pending []elementChange
	// rewrote: more was done than adding or deleting elements.
	rewrote bool
}

// elementChange adds or deletes an element.
type elementChange struct {
	family family
	element
	deleted bool
}

func (t *nftables) open(ctx context.Context) (*nftSession, error) {
	l, err := acquire(ctx)
	if err != nil {
		return nil, err
	}
	return &nftSession{lock: l, log: t.log, park: t.park}, nil
}

// openWhole is open for operations that look at more than elements.
func (t *nftables) openWhole(ctx context.Context) (*nftSession, error) {
	s, err := t.open(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.dial(); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// dial opens the library's socket if it is not open.
func (s *nftSession) dial() (err error) {
	if s.writer != nil {
		return nil
	}
	s.writer, err = nft.New(nft.AsLasting(), nft.WithSockOptions(func(c *netlink.Conn) error {
		s.conn = c
		return roomy(c)
	}))
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	return nil
}

// roomy lets a socket take a transaction of thousands of elements at once, and
// the kernel's acknowledgement of each message.
func roomy(c *netlink.Conn) error {
	const room = 32 << 20
	return errors.Join(c.SetReadBuffer(room), c.SetWriteBuffer(room))
}

// close gives the lock back and lets go of the sockets.
func (s *nftSession) close() {
	s.lock.release()
	if s.quick != nil {
		s.park.letGoOf(s.quick.fd)
	}
	if s.writer != nil {
		s.park.letGo(s.conn, s.writer.CloseLasting)
	}
}

// foreigners is for a session that has dialled.
func (s *nftSession) foreigners() foreigners {
	return foreigners{reader: s.conn, writer: s.writer, log: s.log, by: NFTables}
}

func (s *nftSession) forgetConnections(all []wire.Publish) error {
	return forgetConnections(all, func() (*netlink.Conn, func(), error) { return s.conn, func() {}, s.dial() })
}

func (s *nftSession) read(f family) nftReader { return nftReader{conn: s.conn, table: f.table()} }

func (s *nftSession) write(f family) *nftWriter { return newNFTWriter(s.writer, f) }

// change collects the changes of all families and commits them together.
func (s *nftSession) change(in []family, collect func(family) error) error {
	s.pending = nil
	for _, f := range in {
		if err := collect(f); err != nil {
			return fmt.Errorf("nftables, %s: %w", f, err)
		}
	}
	if err := s.commit(); err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	return nil
}

// commit sends the transaction: elements by themselves if they are all there is
// to change, and not too many for a socket with the usual room.
func (s *nftSession) commit() error {
	if !s.rewrote && len(s.pending) <= chunk {
		if len(s.pending) == 0 {
			return nil
		}
		return s.quickly(func(q *nftSocket) error { return q.commit(s.pending) })
	}
	if err := s.dial(); err != nil {
		return err
	}
	for _, f := range families() {
		var add, remove []element
		for _, c := range s.pending {
			switch {
			case c.family != f:
			case c.deleted:
				remove = append(remove, c.element)
			default:
				add = append(add, c.element)
			}
		}
		if err := errors.Join(s.write(f).deleteElements(remove), s.write(f).addElements(add)); err != nil {
			return err
		}
	}
	return s.writer.Flush()
}

// quickly does something by the socket that is soon open.
func (s *nftSession) quickly(do func(*nftSocket) error) error {
	if s.quick == nil {
		var err error
		if s.quick, err = dialNFT(); err != nil {
			return err
		}
	}
	return do(s.quick)
}

// apply adds the attachment's elements where the rest is in place.
func (s *nftSession) apply(f family, r Rules) error {
	own := nftOwn(f, r)
	receipt := element{}
	if len(own) > 0 {
		receipt = own[0]
	}
	var current, applied bool
	err := s.quickly(func(q *nftSocket) (err error) {
		current, applied, err = q.lookUp(f, append(nftMarkers(f, r), nftChain(chainPublish)), receipt)
		return err
	})
	switch {
	case err != nil:
		return err
	case current && !applied && r.simple():
		s.add(f, own)
		return nil
	default:
		return s.rewrite(f, nftWanted(f, r), r.replaces, applied)
	}
}

func (s *nftSession) add(f family, all []element) {
	for _, e := range all {
		s.pending = append(s.pending, elementChange{family: f, element: e})
	}
}

func (s *nftSession) remove(f family, all []element) {
	for _, e := range all {
		s.pending = append(s.pending, elementChange{family: f, element: e, deleted: true})
	}
}

// merge joins what several attachments want.
func (w *nftWant) merge(other nftWant) {
	w.chains = append(w.chains, other.chains...)
	w.rules = append(w.rules, other.rules...)
	w.elements = append(w.elements, other.elements...)
}
