package resolvconf

import (
	"bufio"
	"bytes"
	"net/netip"
	"slices"
	"strings"
)

// Config is what a resolver needs of resolv.conf (see resolv.conf(5)).
type Config struct {
	// Servers in the file's order, each once. A link-local address keeps its
	// zone ("fe80::1%eth0").
	Servers []netip.Addr
	// Search are the domains of the last search or domain line.
	Search []string
}

// Parse reads resolv.conf. As with the C library, a line that makes no sense
// is as good as none: a broken file must not take the rest down.
func Parse(text []byte) Config {
	var c Config
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 || strings.HasPrefix(fields[0], "#") || strings.HasPrefix(fields[0], ";") {
			continue
		}
		switch fields[0] {
		case "nameserver":
			c.addServer(fields[1])
		case "search":
			c.Search = fields[1:]
		case "domain":
			c.Search = fields[1:2]
		}
	}
	return c
}

func (c *Config) addServer(text string) {
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.IsMulticast() {
		return
	}
	if addr.IsUnspecified() { // 0.0.0.0 is this host, says resolv.conf(5) of some systems
		addr = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	if addr = addr.Unmap(); !slices.Contains(c.Servers, addr) {
		c.Servers = append(c.Servers, addr)
	}
}
