package firewall

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"

	nft "github.com/google/nftables"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// nftSocket is a socket to nf_tables for what each attachment asks and changes:
// it looks a few objects up in one datagram, and adds or deletes elements in
// one transaction. The library takes a round trip for each question, and its
// socket, which the runtime's poller looks after, costs more than they do.
type nftSocket struct {
	fd  int
	seq uint32
	// room is what is left of a buffer for the kernel's answers, which stay in it.
	room []byte
}

// nftMessage is a request to nf_tables, without its number.
type nftMessage struct {
	kind  uint16
	flags uint16
	data  []byte // struct nfgenmsg and attributes
}

// nftAnswer is what the kernel says to a message: an error, or what was asked for.
type nftAnswer struct {
	err  error
	data netlink.Message
}

func dialNFT() (*nftSocket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("open nftables: %w", err)
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1) // errors need not repeat the message
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("open nftables: %w", err)
	}
	return &nftSocket{fd: fd}, nil
}

// aboutTable is a message about our table of a family.
func aboutTable(f family, kind, flags uint16, attributes ...netlink.Attribute) (nftMessage, error) {
	return messageTo(f.table(), kind, flags, attributes...)
}

// messageTo is a message about a table of a kind.
func messageTo(table nft.TableFamily, kind, flags uint16, attributes ...netlink.Attribute) (nftMessage, error) {
	data, err := netlink.MarshalAttributes(attributes)
	return nftMessage{unix.NFNL_SUBSYS_NFTABLES<<8 | kind, flags, append([]byte{byte(table), unix.NFNETLINK_V0, 0, 0}, data...)}, err
}

// lookUp asks whether chains are there and in use, and whether an element is
// there. One without a set is not asked for.
func (s *nftSocket) lookUp(f family, chains []string, e element) (inUse, found bool, err error) {
	var questions []nftMessage
	for _, name := range chains {
		q, err := aboutTable(f, unix.NFT_MSG_GETCHAIN, 0, text(unix.NFTA_CHAIN_TABLE, nftTable), text(unix.NFTA_CHAIN_NAME, name))
		if err != nil {
			return false, false, err
		}
		questions = append(questions, q)
	}
	if e.set != "" {
		q, err := aboutTable(f, unix.NFT_MSG_GETSETELEM, 0, elementAttributes(e.set, keyAttribute(e))...)
		if err != nil {
			return false, false, err
		}
		questions = append(questions, q)
	}
	answers, err := s.exchange(questions)
	if err != nil {
		return false, false, err
	}
	inUse = true
	for i, a := range answers {
		switch {
		case errors.Is(a.err, unix.ENOENT):
			inUse = inUse && i >= len(chains)
		case a.err != nil:
			return false, false, a.err
		case i < len(chains):
			inUse = inUse && isUsed(a.data)
		default:
			found = true
		}
	}
	return inUse, found, nil
}

// keyAttribute is an element of which only the key is given.
func keyAttribute(e element) netlink.Attribute {
	return nested(unix.NFTA_LIST_ELEM, nested(unix.NFTA_SET_ELEM_KEY, netlink.Attribute{Type: unix.NFTA_DATA_VALUE, Data: e.key}))
}

func elementAttributes(set string, elements ...netlink.Attribute) []netlink.Attribute {
	return []netlink.Attribute{
		text(unix.NFTA_SET_ELEM_LIST_TABLE, nftTable), text(unix.NFTA_SET_ELEM_LIST_SET, set),
		nested(unix.NFTA_SET_ELEM_LIST_ELEMENTS, elements...),
	}
}

// isUsed tells whether a chain holds rules or is jumped to.
func isUsed(chain netlink.Message) bool {
	use := attribute(chain, unix.NFTA_CHAIN_USE)
	return len(use) == 4 && binary.BigEndian.Uint32(use) != 0
}

// attributes is an element of a set, or of a map without verdicts, as a whole.
func (e element) attributes() netlink.Attribute {
	value := func(kind uint16, data []byte) netlink.Attribute {
		return nested(kind, netlink.Attribute{Type: unix.NFTA_DATA_VALUE, Data: data})
	}
	parts := []netlink.Attribute{value(unix.NFTA_SET_ELEM_KEY, e.key)}
	if len(e.until) > 0 {
		const keyEnd = 10 // NFTA_SET_ELEM_KEY_END of linux/netfilter/nf_tables.h
		parts = append(parts, value(keyEnd, e.until))
	}
	if len(e.value) > 0 {
		parts = append(parts, value(unix.NFTA_SET_ELEM_DATA, e.value))
	}
	if e.comment != "" {
		parts = append(parts, netlink.Attribute{Type: unix.NFTA_SET_ELEM_USERDATA,
			Data: userdata.AppendString(nil, userdata.NFTNL_UDATA_SET_ELEM_COMMENT, e.comment)})
	}
	return nested(unix.NFTA_LIST_ELEM, parts...)
}

// commit carries changes of elements out in one transaction.
func (s *nftSocket) commit(changes []elementChange) error {
	var messages []nftMessage
	for _, c := range changes {
		kind, flags := uint16(unix.NFT_MSG_NEWSETELEM), uint16(unix.NLM_F_CREATE)
		if c.deleted {
			kind, flags = unix.NFT_MSG_DELSETELEM, 0
		}
		m, err := aboutTable(c.family, kind, flags, elementAttributes(c.set, c.attributes())...)
		if err != nil {
			return err
		}
		messages = append(messages, m)
	}
	return s.transact(messages, anyGeneration)
}

// anyGeneration is for a transaction that does not depend on what was read.
const anyGeneration = 0

// transact carries changes out in one transaction, and only if the rules of the
// namespace are of that generation.
func (s *nftSocket) transact(changes []nftMessage, generation uint32) error {
	batch := func(kind uint16) nftMessage {
		return nftMessage{kind: kind, data: binary.BigEndian.AppendUint16([]byte{unix.AF_UNSPEC, unix.NFNETLINK_V0}, unix.NFNL_SUBSYS_NFTABLES)}
	}
	begin := batch(unix.NFNL_MSG_BATCH_BEGIN)
	if generation != anyGeneration {
		const batchGeneration = 1 // NFNL_BATCH_GENID of linux/netfilter/nfnetlink.h
		data, err := netlink.MarshalAttributes([]netlink.Attribute{{Type: batchGeneration, Data: binary.BigEndian.AppendUint32(nil, generation)}})
		if err != nil {
			return err
		}
		begin.data = append(begin.data, data...)
	}
	messages := append([]nftMessage{begin}, changes...)
	for i := range messages[1:] {
		messages[1+i].flags |= unix.NLM_F_ACK
	}
	last := len(messages) - 1
	answers, err := s.exchangeUntil(append(messages, batch(unix.NFNL_MSG_BATCH_END)), last)
	if err != nil {
		return err
	}
	var errs error
	for _, a := range answers {
		errs = errors.Join(errs, a.err)
	}
	return errs
}

// generation is the number of the namespace's rules as they are; each transaction
// makes it another. It is never 0.
func (s *nftSocket) generation() (uint32, error) {
	answers, err := s.exchange([]nftMessage{{kind: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETGEN, data: make([]byte, 4)}})
	if err != nil {
		return 0, err
	}
	if err := answers[0].err; err != nil {
		return 0, err
	}
	id := attribute(answers[0].data, unix.NFTA_GEN_ID)
	if len(id) != 4 {
		return 0, errors.New("netlink receive: no generation")
	}
	return binary.BigEndian.Uint32(id), nil
}

// list asks for all objects of a kind. One that is not there, or holds none, gives
// none.
func (s *nftSocket) list(question nftMessage) ([]netlink.Message, error) {
	question.flags |= unix.NLM_F_DUMP
	if err := unix.Sendto(s.fd, s.serialize([]nftMessage{question}), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, fmt.Errorf("netlink send: %w", err)
	}
	var all []netlink.Message
	for {
		received, err := s.receive()
		if err != nil {
			return nil, err
		}
		for _, m := range received {
			switch {
			case m.Header.Seq != s.seq: // of an earlier exchange that was given up
			case m.Header.Flags&unix.NLM_F_DUMP_INTR != 0:
				return nil, errors.New("netlink receive: changed while it was listed")
			case m.Header.Type == unix.NLMSG_DONE:
				return all, nil
			case m.Header.Type == unix.NLMSG_ERROR:
				return nil, refusal(m)
			default:
				all = append(all, netlink.Message{Data: m.Data})
			}
		}
	}
}

// exchange sends questions in one datagram. There is an answer for each.
func (s *nftSocket) exchange(questions []nftMessage) ([]nftAnswer, error) {
	last := len(questions) - 1
	questions[last].flags |= unix.NLM_F_ACK // after its answer
	return s.exchangeUntil(questions, last)
}

// exchangeUntil sends messages and collects what the kernel answers, until it has
// acknowledged or refused the one of that index. A transaction that fails as a
// whole is refused at its beginning.
func (s *nftSocket) exchangeUntil(messages []nftMessage, last int) ([]nftAnswer, error) {
	first := s.seq + 1
	if err := unix.Sendto(s.fd, s.serialize(messages), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, fmt.Errorf("netlink send: %w", err)
	}
	answers := make([]nftAnswer, len(messages))
	for {
		received, err := s.receive()
		if err != nil {
			return nil, err
		}
		for _, m := range received {
			i := m.Header.Seq - first
			if i >= uint32(len(answers)) {
				continue // of an earlier exchange that was given up
			}
			a := &answers[i]
			if m.Header.Type != unix.NLMSG_ERROR {
				a.data = netlink.Message{Data: m.Data}
				continue
			}
			if a.err = refusal(m); int(i) == last || a.err != nil && messages[i].kind == unix.NFNL_MSG_BATCH_BEGIN {
				return answers, nil
			}
		}
	}
}

// serialize numbers the messages and puts them one behind the other.
func (s *nftSocket) serialize(messages []nftMessage) []byte {
	var datagram []byte
	for _, m := range messages {
		s.seq++
		datagram = binary.NativeEndian.AppendUint32(datagram, uint32(unix.SizeofNlMsghdr+len(m.data)))
		datagram = binary.NativeEndian.AppendUint16(datagram, m.kind)
		datagram = binary.NativeEndian.AppendUint16(datagram, m.flags|unix.NLM_F_REQUEST)
		datagram = binary.NativeEndian.AppendUint32(datagram, s.seq)
		datagram = binary.NativeEndian.AppendUint32(datagram, 0)
		datagram = append(datagram, m.data...) // attributes fill four bytes always
	}
	return datagram
}

// nftDatagram is room for one datagram of the kernel's, of which each has one answer
// of a few hundred bytes here; nftBuffer for many of them.
const (
	nftDatagram = 8 << 10
	nftBuffer   = 2 * nftDatagram
)

func (s *nftSocket) receive() ([]syscall.NetlinkMessage, error) {
	if len(s.room) < nftDatagram {
		s.room = make([]byte, nftBuffer)
	}
	for {
		buffer := s.room[:nftDatagram]
		n, _, err := unix.Recvfrom(s.fd, buffer, unix.MSG_TRUNC)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return nil, fmt.Errorf("netlink receive: %w", err)
		case n > len(buffer):
			return nil, fmt.Errorf("netlink receive: an answer of %d bytes, more than the %d there is room for", n, len(buffer))
		}
		const align = unix.NLMSG_ALIGNTO - 1
		s.room = s.room[(n+align)&^align:]
		return syscall.ParseNetlinkMessage(buffer[:n:n])
	}
}

// refusal decodes an acknowledgement: the number of an error comes first
// (struct nlmsgerr), 0 for success.
func refusal(m syscall.NetlinkMessage) error {
	if len(m.Data) < 4 {
		return errors.New("netlink receive: short acknowledgement")
	}
	if number := int32(binary.NativeEndian.Uint32(m.Data)); number != 0 {
		return fmt.Errorf("netlink receive: %w", syscall.Errno(-number))
	}
	return nil
}
