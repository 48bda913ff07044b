package firewall

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"

	nft "github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// RemoveInherited takes away the rules that the reference plugins made for an
// attachment, with iptables or with nftables. Where none of their tables and
// chains are, which is the rule, it costs one question to the kernel.
func RemoveInherited(ctx context.Context, log *slog.Logger, in wire.Inherited) error {
	if in.IsZero() {
		return nil
	}
	chains, err := inheritedChains()
	if err != nil {
		return err
	}
	byNFT := slices.DeleteFunc(slices.Clone(in.Marked), func(m wire.Marked) bool {
		return !chains[m.Family+" "+m.Table+" "+m.Chain]
	})
	byIPTables := len(legacyTables()) > 0
	for name := range chains {
		byIPTables = byIPTables || strings.Contains(name, " CNI-")
	}
	if len(byNFT) == 0 && !byIPTables {
		return nil
	}
	l, err := acquire(ctx)
	if err != nil {
		return err
	}
	defer l.release()
	if byIPTables && len(in.Chains)+len(in.Accepted) > 0 {
		t := &iptables{log: log}
		err = t.removeInherited(ctx, l, in)
	}
	return errors.Join(err, removeMarked(byNFT))
}

// inheritedChains lists the chains of all tables of nftables, those of
// iptables-nft included, as "family table chain". A kernel without nf_tables
// has none.
func inheritedChains() (map[string]bool, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, fmt.Errorf("open nftables: %w", err)
	}
	defer conn.Close()
	answers, err := nftReader{conn: conn}.get(unix.NFT_MSG_GETCHAIN, netlink.Dump)
	if err != nil {
		return nil, nil // a kernel without nf_tables
	}
	found := map[string]bool{}
	for _, m := range answers {
		family := familyNames()[nft.TableFamily(m.Data[0])]
		found[family+" "+attributeText(m, unix.NFTA_CHAIN_TABLE)+" "+attributeText(m, unix.NFTA_CHAIN_NAME)] = true
	}
	return found, nil
}

func (t *iptables) removeInherited(ctx context.Context, l *lock, in wire.Inherited) error {
	var errs []error
	for _, f := range families() {
		if _, err := t.programs.find(f.tool() + "-save"); err != nil {
			continue
		}
		text, err := t.save(ctx, l, f)
		if err == nil {
			err = t.restore(ctx, l, restores{f: inheritedScript(text, in)})[f]
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// inheritedScript is the input of iptables-restore that removes from saved
// rules what was inherited.
func inheritedScript(saved string, in wire.Inherited) string {
	tables := map[string]*script{filter: {table: filter}, nat: {table: nat}}
	var there []string
	table := ""
	for line := range strings.Lines(saved) {
		line = strings.TrimSuffix(line, "\n")
		s := tables[table]
		switch {
		case strings.HasPrefix(line, "*"):
			table = line[1:]
		case s == nil || line == "":
		case line[0] == ':':
			if name, _, _ := strings.Cut(line[1:], " "); table == nat && slices.Contains(in.Chains, name) {
				there = append(there, name)
			}
		case strings.HasPrefix(line, "-A ") && isInherited(table, splitWords(line), in):
			s.lines = append(s.lines, "-D "+line[len("-A "):])
		}
	}
	for _, name := range there {
		tables[nat].lines = append(tables[nat].lines, "-F "+name, "-X "+name)
	}
	return join(*tables[filter], *tables[nat])
}

// isInherited tells a jump to one of the chains, and a rule of CNI-FORWARD for
// one of the addresses.
func isInherited(table string, words []string, in wire.Inherited) bool {
	after := func(flag string) string {
		if i := slices.Index(words, flag); i >= 0 && i+1 < len(words) {
			return words[i+1]
		}
		return ""
	}
	if table == nat {
		return slices.Contains(in.Chains, after("-j")) && !slices.Contains(in.Chains, words[1])
	}
	return words[1] == "CNI-FORWARD" && after("-j") == "ACCEPT" &&
		slices.ContainsFunc(in.Accepted, func(a netip.Addr) bool {
			own := netip.PrefixFrom(a, a.BitLen()).String()
			return after("-s") == own || after("-d") == own
		})
}

// removeMarked deletes rules of nftables by their comments.
func removeMarked(all []wire.Marked) error {
	if len(all) == 0 {
		return nil
	}
	reader, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	defer reader.Close()
	writer, err := nft.New()
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	for _, m := range all {
		c := foreignChain{table: &nft.Table{Name: m.Table, Family: familyNamed(m.Family)}, name: m.Chain}
		o := foreigners{reader: reader, writer: writer}
		if err := o.readRules(&c); err != nil {
			return fmt.Errorf("read chain %s: %w", c, err)
		}
		o.delete(c, c.owned(func(comment string) bool {
			return comment == m.Comment || m.Prefix && strings.HasPrefix(comment, m.Comment)
		}))
	}
	if err := writer.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove the reference plugins' rules: %w", err)
	}
	return nil
}

func familyNamed(name string) nft.TableFamily {
	for family, known := range familyNames() {
		if known == name {
			return family
		}
	}
	return nft.TableFamilyUnspecified
}
