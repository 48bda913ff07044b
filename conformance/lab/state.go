package lab

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
)

// State is what a namespace looks like, one line per object: the key names
// the object ("link cni0", "file /run/x"), the value describes it. States are
// compared, never interpreted, so no row depends on how a plugin spells a rule.
type State map[string]string

// Change is one difference between two states.
type Change struct{ Key, Before, After string }

func (c Change) String() string {
	switch {
	case c.Before == "":
		return fmt.Sprintf("+ %s: %s", c.Key, c.After)
	case c.After == "":
		return fmt.Sprintf("- %s: %s", c.Key, c.Before)
	}
	return fmt.Sprintf("~ %s: %s → %s", c.Key, c.Before, c.After)
}

// Appeared reports an object that was not there before.
func (c Change) Appeared() bool { return c.Before == "" }

// Kind is the first word of the key: link, addr, route, rule, qdisc, neigh,
// firewall, file, sysctl.
func (c Change) Kind() string {
	kind, _, _ := strings.Cut(c.Key, " ")
	return kind
}

// Diff lists what changed from s to later, sorted by key.
func (s State) Diff(later State) []Change {
	var out []Change
	for key, before := range s {
		if after := later[key]; after != before {
			out = append(out, Change{key, before, after})
		}
	}
	for key, after := range later {
		if _, present := s[key]; !present {
			out = append(out, Change{key, "", after})
		}
	}
	slices.SortFunc(out, func(a, b Change) int { return strings.Compare(a.Key, b.Key) })
	return out
}

// put keeps every object of one key: two rules with the same text are two.
func (s State) put(key, value string) {
	for n := 2; ; n++ {
		if _, taken := s[key]; !taken {
			s[key] = value
			return
		}
		key = strings.TrimSuffix(key, fmt.Sprintf(" #%d", n-1)) + fmt.Sprintf(" #%d", n)
	}
}

// State describes the network of the namespace: links, addresses, routes,
// rules, permanent neighbours, queueing. What the kernel makes by itself and
// in its own time (link-local addresses, the local table) is left out.
func (n *Netns) State() (State, error) {
	s := State{}
	links, err := n.NL.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	names := map[int]string{}
	for _, link := range links {
		names[link.Attrs().Index] = link.Attrs().Name
	}
	for _, link := range links {
		n.linkState(s, link, names)
	}
	if err := n.routeState(s, names); err != nil {
		return nil, err
	}
	return s, nil
}

func (n *Netns) linkState(s State, link netlink.Link, names map[int]string) {
	a := link.Attrs()
	s.put("link "+a.Name, fmt.Sprintf("%s %s mtu %d master %q mac %s promisc %d", link.Type(), upDown(link), a.MTU, names[a.MasterIndex], a.HardwareAddr, a.Promisc))
	addrs, _ := n.NL.AddrList(link, netlink.FAMILY_ALL)
	for _, addr := range addrs {
		if !addr.IP.IsLinkLocalUnicast() {
			s.put(fmt.Sprintf("addr %s %s", a.Name, addr.IPNet), "present")
		}
	}
	qdiscs, _ := n.NL.QdiscList(link)
	for _, q := range qdiscs {
		if q.Type() != "noqueue" {
			s.put(fmt.Sprintf("qdisc %s %s %s", a.Name, q.Type(), netlink.HandleStr(q.Attrs().Handle)), "present")
		}
	}
	neighs, _ := n.NL.NeighList(a.Index, netlink.FAMILY_ALL)
	for _, neigh := range neighs {
		if neigh.State&netlink.NUD_PERMANENT != 0 {
			s.put(fmt.Sprintf("neigh %s %s", a.Name, neigh.IP), neigh.HardwareAddr.String())
		}
	}
}

func upDown(link netlink.Link) string {
	if link.Attrs().Flags&net.FlagUp != 0 {
		return "up"
	}
	return "down"
}

const tableLocal = 255

func (n *Netns) routeState(s State, names map[int]string) error {
	routes, err := n.NL.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return fmt.Errorf("list routes: %w", err)
	}
	for _, r := range routes {
		if r.Table == tableLocal || r.Dst != nil && (r.Dst.IP.IsLinkLocalUnicast() || r.Dst.IP.IsMulticast()) {
			continue
		}
		s.put(fmt.Sprintf("route %v dev %s table %d metric %d", r.Dst, names[r.LinkIndex], r.Table, r.Priority), fmt.Sprintf("via %v scope %s", r.Gw, r.Scope))
	}
	rules, err := n.NL.RuleList(netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("list rules: %w", err)
	}
	for _, rule := range rules {
		s.put("rule "+rule.String(), "present")
	}
	return nil
}

// State is the network, the packet filter and the private files of the host.
func (h *Host) State() (State, error) {
	s, err := h.Netns.State()
	if err != nil {
		return nil, err
	}
	err = h.Do(func() error {
		if err := firewallState(s); err != nil {
			return err
		}
		for _, dir := range private() {
			fileState(s, dir)
		}
		return nil
	})
	return s, err
}

// firewallTools are ways to print the packet filter without counters; every
// one that is installed is used.
func firewallTools() [][]string {
	return [][]string{{"nft", "-s", "list", "ruleset"}, {"iptables-legacy-save"}, {"ip6tables-legacy-save"}}
}

// firewallState records each rule under its table and chain. It runs on the
// host's thread.
func firewallState(s State) error {
	for _, tool := range firewallTools() {
		path, err := exec.LookPath(tool[0])
		if err != nil {
			continue
		}
		out, err := exec.Command(path, tool[1:]...).Output()
		if err != nil {
			return fmt.Errorf("%s: %w", strings.Join(tool, " "), err)
		}
		ruleLines(s, string(out))
	}
	return nil
}

func ruleLines(s State, text string) {
	table, chain := "", ""
	for _, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, ":") {
			line, _, _ = strings.Cut(line, " [") // a chain of the legacy tools, with counters
		}
		head, isBlock := strings.CutSuffix(line, " {")
		switch {
		case line == "" || line == "}" || strings.HasPrefix(line, "#"):
		case isBlock && strings.HasPrefix(head, "table "):
			table, chain = head, ""
			s.put("firewall "+table, "present")
		case isBlock:
			chain = head
			s.put("firewall "+table+" "+chain, "present")
		default:
			s.put(fmt.Sprintf("firewall %s %s | %s", table, chain, line), "present")
		}
	}
}

// fileState records the files below dir by a digest of their content. Mounted
// namespaces and sockets have no content to digest.
func fileState(s State, dir string) {
	filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || ours(path) {
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return nil
		}
		value := info.Mode().String()
		if info.Mode().IsRegular() {
			b, _ := os.ReadFile(path)
			value += fmt.Sprintf(" %d bytes %.6x", len(b), sha256.Sum256(b))
		}
		s.put("file "+path, value)
		return nil
	})
}

// ours are paths the lab itself made.
func ours(path string) bool {
	return strings.HasPrefix(path, netnsDir) || strings.HasPrefix(path, "/run/cni-conformance")
}

// Files lists the private regular files for which keep says yes.
func (h *Host) Files(keep func(path string) bool) ([]string, error) {
	var out []string
	err := h.Do(func() error {
		for _, dir := range private() {
			filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
				if err == nil && entry.Type().IsRegular() && !ours(path) && keep(path) {
					out = append(out, path)
				}
				return nil
			})
		}
		return nil
	})
	return out, err
}
