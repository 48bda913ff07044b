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
	err = s.remove(r, last)
	return errors.Join(err, s.forgetConnections(r.Publish))
}

func (s *nftSession) remove(r Rules, last bool) error {
	gone := func(c string) bool { return ofLabel(c, attachmentLabel(r.Attachment)) }
	if last {
		gone = func(c string) bool { return ofNetworkOrBelow(c, r.Attachment.NetworkLabel()) }
		s.foreigners().close(gone)
	}
	if r.known() && r.simple() {
		err := s.change(r.families(), func(f family) error {
			own := nftOwn(f, r)
			if !last {
				return s.write(f).deleteElements(own)
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
	s, err := t.open(ctx)
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
	s, err := t.open(ctx)
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

// nftSession is one operation: the lock, and one socket.
type nftSession struct {
	lock *lock
	// writer collects a transaction on the socket conn.
	writer *nft.Conn
	conn   *netlink.Conn
	log    *slog.Logger
	park   Park
	// rewrote: more was done than adding or deleting elements.
	rewrote bool
}

func (t *nftables) open(ctx context.Context) (*nftSession, error) {
	l, err := acquire(ctx)
	if err != nil {
		return nil, err
	}
	s := &nftSession{lock: l, log: t.log, park: t.park}
	s.writer, err = nft.New(nft.AsLasting(), nft.WithSockOptions(func(c *netlink.Conn) error {
		s.conn = c
		return roomy(c)
	}))
	if err != nil {
		l.release()
		return nil, fmt.Errorf("open nftables: %w", err)
	}
	return s, nil
}

// roomy lets a socket take a transaction of thousands of elements at once, and
// the kernel's acknowledgement of each message.
func roomy(c *netlink.Conn) error {
	const room = 32 << 20
	return errors.Join(c.SetReadBuffer(room), c.SetWriteBuffer(room))
}

// close gives the lock back and lets go of the socket.
func (s *nftSession) close() {
	s.lock.release()
	s.park.letGo(s.conn, s.writer.CloseLasting)
}

func (s *nftSession) foreigners() foreigners {
	return foreigners{reader: s.conn, writer: s.writer, log: s.log, by: NFTables}
}

func (s *nftSession) forgetConnections(all []wire.Publish) error {
	return forgetConnections(all, func() (*netlink.Conn, func(), error) { return s.conn, func() {}, nil })
}

func (s *nftSession) read(f family) nftReader { return nftReader{conn: s.conn, table: f.table()} }

func (s *nftSession) write(f family) *nftWriter { return newNFTWriter(s.writer, f) }

// change collects the changes of all families and commits them together.
func (s *nftSession) change(in []family, collect func(family) error) error {
	for _, f := range in {
		if err := collect(f); err != nil {
			return fmt.Errorf("nftables, %s: %w", f, err)
		}
	}
	if err := s.writer.Flush(); err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	return nil
}

// apply adds the attachment's elements where the rest is in place.
func (s *nftSession) apply(f family, r Rules) error {
	current, err := s.read(f).hasChains(append(nftMarkers(f, r), nftChain(chainPublish)))
	if err != nil {
		return err
	}
	own := nftOwn(f, r)
	applied := false
	if len(own) > 0 {
		_, applied, err = s.read(f).value(own[0].set, own[0].key)
	}
	switch {
	case err != nil:
		return err
	case current && !applied && r.simple():
		return s.write(f).addElements(own)
	default:
		return s.rewrite(f, nftWanted(f, r), r.replaces, applied)
	}
}

// merge joins what several attachments want.
func (w *nftWant) merge(other nftWant) {
	w.chains = append(w.chains, other.chains...)
	w.rules = append(w.rules, other.rules...)
	w.elements = append(w.elements, other.elements...)
}
