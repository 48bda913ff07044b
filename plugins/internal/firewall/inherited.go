package firewall

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
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
	if !in.HasRules() {
		return nil
	}
	there, err := findInherited()
	if err != nil {
		return err
	}
	return there.change(ctx, log, func(saves) (wire.Inherited, error) { return in, nil })
}

// CollectInherited is RemoveInherited for what decide names, which is told for
// which containers of the network there are chains of iptables. It is not
// asked where there is nothing of the reference plugins.
func CollectInherited(ctx context.Context, log *slog.Logger, network string, decide func(containers []string) (wire.Inherited, error)) error {
	there, err := findInherited()
	if err != nil {
		return err
	}
	return there.change(ctx, log, func(s saves) (wire.Inherited, error) { return decide(s.containers(network)) })
}

// estate is what there is of the reference plugins.
type estate struct {
	// chains of nftables, as "family table chain".
	chains     map[string]bool
	byIPTables bool
}

func findInherited() (estate, error) {
	chains, err := inheritedChains()
	if err != nil {
		return estate{}, err
	}
	e := estate{chains: chains, byIPTables: len(legacyTables()) > 0}
	for name := range chains {
		e.byIPTables = e.byIPTables || strings.Contains(name, " CNI-")
	}
	return e, nil
}

// isEmpty tells that there is nothing of theirs.
func (e estate) isEmpty() bool {
	tables := []string{"inet cni_plugins_masquerade ", "ip cni_hostport ", "ip6 cni_hostport ", "bridge nat "}
	for name := range e.chains {
		if slices.ContainsFunc(tables, func(table string) bool { return strings.HasPrefix(name, table) }) {
			return false
		}
	}
	return !e.byIPTables
}

func (e estate) has(c wire.NFTChain) bool { return e.chains[c.Family+" "+c.Table+" "+c.Name] }

// saves are the rules of iptables, of each family that has its programs.
type saves map[family]string

// change reads the rules, asks what to remove, and removes that.
func (e estate) change(ctx context.Context, log *slog.Logger, decide func(saves) (wire.Inherited, error)) error {
	if e.isEmpty() {
		return nil
	}
	l, err := acquire(ctx)
	if err != nil {
		return err
	}
	defer l.release()
	t := &iptables{log: log}
	var saved saves
	if e.byIPTables {
		if saved, err = t.saveAll(ctx, l); err != nil {
			return err
		}
	}
	in, err := decide(saved)
	if err != nil {
		return err
	}
	return errors.Join(t.removeInherited(ctx, l, saved, in), e.removeByNFT(in))
}

func (t *iptables) saveAll(ctx context.Context, l *lock) (saves, error) {
	all := saves{}
	for _, f := range families() {
		if _, err := t.programs.find(f.tool() + "-save"); err != nil {
			continue
		}
		text, err := t.save(ctx, l, f)
		if err != nil {
			return nil, err
		}
		all[f] = text
	}
	return all, nil
}

// containers finds those of a network by the comments that the reference
// plugins give the jumps to their chains: the names must be right too.
func (s saves) containers(network string) []string {
	found := map[string]bool{}
	for _, text := range s {
		for line := range strings.Lines(text) {
			words := splitWords(strings.TrimSuffix(line, "\n"))
			comment := strings.TrimPrefix(after(words, "--comment"), "dnat ")
			var name, container string
			if n, err := fmt.Sscanf(comment, "name: %q id: %q", &name, &container); n != 2 || err != nil || name != network {
				continue
			}
			found[container] = found[container] || wire.InheritedChain(after(words, "-j"), network, container)
		}
	}
	maps.DeleteFunc(found, func(_ string, proven bool) bool { return !proven })
	return slices.Sorted(maps.Keys(found))
}

// after gives the word behind a flag, or "".
func after(words []string, flag string) string {
	if i := slices.Index(words, flag); i >= 0 && i+1 < len(words) {
		return words[i+1]
	}
	return ""
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
		family, known := familyNames()[nft.TableFamily(m.Data[0])]
		if !known && nft.TableFamily(m.Data[0]) == nft.TableFamilyBridge {
			family = "bridge"
		}
		found[family+" "+attributeText(m, unix.NFTA_CHAIN_TABLE)+" "+attributeText(m, unix.NFTA_CHAIN_NAME)] = true
	}
	return found, nil
}

func (t *iptables) removeInherited(ctx context.Context, l *lock, saved saves, in wire.Inherited) error {
	if len(in.Chains)+len(in.Jumps)+len(in.Accepted) == 0 {
		return nil
	}
	input := restores{}
	for f, text := range saved {
		input[f] = inheritedScript(text, in)
	}
	var errs []error
	for _, err := range t.restore(ctx, l, input) {
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

// isInherited tells a jump to one of the chains, or from an address, and a rule of CNI-FORWARD for
// one of the addresses.
func isInherited(table string, words []string, in wire.Inherited) bool {
	target := after(words, "-j")
	if table == nat {
		jumps := slices.ContainsFunc(in.Jumps, func(j wire.Jump) bool { return j.Chain == target && after(words, "-s") == alone(j.From) })
		return (jumps || slices.Contains(in.Chains, target)) && !slices.Contains(in.Chains, words[1])
	}
	return words[1] == "CNI-FORWARD" && target == "ACCEPT" && slices.ContainsFunc(in.Accepted, func(a netip.Addr) bool {
		return after(words, "-s") == alone(a) || after(words, "-d") == alone(a)
	})
}

// alone is an address as iptables-save writes it.
func alone(a netip.Addr) string { return netip.PrefixFrom(a, a.BitLen()).String() }

// removeByNFT deletes rules of nftables by their comments, and whole chains.
func (e estate) removeByNFT(in wire.Inherited) error {
	marked := slices.DeleteFunc(slices.Clone(in.Marked), func(m wire.Marked) bool { return !e.has(m.NFTChain) })
	own := slices.DeleteFunc(slices.Clone(in.Own), func(c wire.NFTChain) bool { return !e.has(c) })
	if len(marked)+len(own) == 0 {
		return nil
	}
	var err error
	for range attempts {
		if err = removeOnce(marked, own); !errors.Is(err, unix.ENOENT) {
			break // else somebody else has removed one of them meanwhile
		}
	}
	if err != nil {
		return fmt.Errorf("remove the reference plugins' rules: %w", err)
	}
	return nil
}

// removeOnce does it in one transaction.
func removeOnce(marked []wire.Marked, own []wire.NFTChain) error {
	reader, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	defer reader.Close()
	writer, err := nft.New()
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	o := foreigners{reader: reader, writer: writer}
	chains := map[wire.NFTChain]foreignChain{}
	for _, m := range marked {
		c, read := chains[m.NFTChain]
		if !read {
			c = foreignChain{table: tableOf(m.NFTChain), name: m.Name}
			if err := o.readRules(&c); err != nil {
				return fmt.Errorf("read chain %s: %w", c, err)
			}
		}
		o.delete(c, slices.DeleteFunc(slices.Clone(c.rules), func(r foreignRule) bool { return !isMarked(r, m) }))
		c.rules = slices.DeleteFunc(c.rules, func(r foreignRule) bool { return isMarked(r, m) })
		chains[m.NFTChain] = c
	}
	for _, c := range own { // which jump to each other
		writer.FlushChain(&nft.Chain{Name: c.Name, Table: tableOf(c)})
	}
	for _, c := range own {
		writer.DelChain(&nft.Chain{Name: c.Name, Table: tableOf(c)})
	}
	return writer.Flush()
}

func isMarked(r foreignRule, m wire.Marked) bool {
	switch {
	case r.comment != m.Comment && !(m.Prefix && strings.HasPrefix(r.comment, m.Comment)):
		return false
	case slices.ContainsFunc(m.Except, func(mark string) bool { return strings.HasPrefix(r.comment, mark) }):
		return false
	}
	return !m.Mentions.IsValid() || bytes.Contains(r.expressions, m.Mentions.AsSlice())
}

func tableOf(c wire.NFTChain) *nft.Table {
	for family, known := range familyNames() {
		if known == c.Family {
			return &nft.Table{Name: c.Table, Family: family}
		}
	}
	return &nft.Table{Name: c.Table, Family: nft.TableFamilyBridge}
}
