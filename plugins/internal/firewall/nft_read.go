package firewall

import (
	"encoding/binary"
	"errors"
	"strings"

	nft "github.com/google/nftables"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// nftReader asks the kernel for parts of our table in one family. It asks for
// single objects by name where it can: the library reads whole sets and
// parses all expressions, which costs more the more there is.
type nftReader struct {
	conn  *netlink.Conn
	table nft.TableFamily
}

// get sends one request about our table. A table or object that is not there
// is no error and no answer.
func (r nftReader) get(kind uint16, flags netlink.HeaderFlags, attributes ...netlink.Attribute) ([]netlink.Message, error) {
	data, err := netlink.MarshalAttributes(attributes)
	if err != nil {
		return nil, err
	}
	answers, err := r.conn.Execute(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | kind), Flags: netlink.Request | flags},
		Data:   append([]byte{byte(r.table), unix.NFNETLINK_V0, 0, 0}, data...),
	})
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	return answers, err
}

func text(kind uint16, s string) netlink.Attribute {
	return netlink.Attribute{Type: kind, Data: append([]byte(s), 0)}
}

// value looks one element of a set or map up; the value of a set's is empty.
func (r nftReader) value(set string, key []byte) (value []byte, found bool, err error) {
	answers, err := r.get(unix.NFT_MSG_GETSETELEM, 0,
		elementAttributes(set, keyAttribute(element{key: key}))...)
	if err != nil || len(answers) == 0 {
		return nil, false, err
	}
	return attribute(answers[0], unix.NFTA_SET_ELEM_LIST_ELEMENTS, unix.NFTA_LIST_ELEM,
		unix.NFTA_SET_ELEM_DATA, unix.NFTA_DATA_VALUE), true, nil
}

func nested(kind uint16, inner ...netlink.Attribute) netlink.Attribute {
	data, _ := netlink.MarshalAttributes(inner) // fails on lengths we never reach
	return netlink.Attribute{Type: kind | unix.NLA_F_NESTED, Data: data}
}

// attribute gives the content of the first attribute down a path of types,
// nil when there is none.
func attribute(m netlink.Message, path ...uint16) []byte {
	const nfgenmsg = 4
	data := m.Data[min(nfgenmsg, len(m.Data)):]
	for _, kind := range path {
		d, err := netlink.NewAttributeDecoder(data)
		if err != nil {
			return nil
		}
		data = nil
		for data == nil && d.Next() {
			if d.Type() == kind {
				data = d.Bytes()
			}
		}
	}
	return data
}

func attributeText(m netlink.Message, kind uint16) string {
	return strings.TrimRight(string(attribute(m, kind)), "\x00")
}

// block is what one owner has in one chain. Its rules are replaced together,
// which keeps their order.
type block struct{ chain, comment string }

// nftState is what our table holds.
type nftState struct {
	chains map[string]bool
	blocks map[block][]uint64 // handles
	// elements are those of the sets that grow with attachments; nil when
	// they were not read.
	elements []element
}

// rules reads all chains and all rules of our table.
func (r nftReader) rules() (*nftState, error) {
	s := &nftState{chains: map[string]bool{}, blocks: map[block][]uint64{}}
	chains, err := r.get(unix.NFT_MSG_GETCHAIN, netlink.Dump)
	if err != nil {
		return nil, err
	}
	for _, m := range chains {
		if attributeText(m, unix.NFTA_CHAIN_TABLE) == nftTable {
			s.chains[attributeText(m, unix.NFTA_CHAIN_NAME)] = true
		}
	}
	rules, err := r.get(unix.NFT_MSG_GETRULE, netlink.Dump, text(unix.NFTA_RULE_TABLE, nftTable))
	if err != nil {
		return nil, err
	}
	for _, m := range rules {
		comment, _ := userdata.GetString(attribute(m, unix.NFTA_RULE_USERDATA), userdata.TypeComment)
		b := block{attributeText(m, unix.NFTA_RULE_CHAIN), comment}
		if handle := attribute(m, unix.NFTA_RULE_HANDLE); len(handle) == 8 {
			s.blocks[b] = append(s.blocks[b], binary.BigEndian.Uint64(handle))
		}
	}
	return s, nil
}
