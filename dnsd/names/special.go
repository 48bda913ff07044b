package names

// isHostAlias tells of the names under which Docker's and podman's containers
// know their host.
func isHostAlias(name []byte) bool {
	return string(name) == "\x04host\x06docker\x08internal" ||
		string(name) == "\x04host\x0acontainers\x08internal"
}

// neverForwarded tells of top-level domains that no DNS server has, and whose
// names tell more about the client than it wants known: RFC 6761 section 6.4,
// RFC 7686 section 2, RFC 9476 section 2.
func neverForwarded(top Name) bool {
	switch top {
	case "\x07invalid", "\x05onion", "\x03alt":
		return true
	}
	return false
}

const local Name = "\x05local"

// notOurs is the answer for everything that no container has.
func (s *Snapshot) notOurs(c *Client, name []byte) Answer {
	top := topOf(name)
	if neverForwarded(Name(name[top:])) {
		return Answer{Kind: Missing, Zone: top, Server: s.server(c)}
	}
	a := Answer{Kind: Foreign, Server: s.server(c), Zone: len(name)}
	if Name(name[top:]) == local {
		a.Zone = top
	}
	return a
}

// IsLocal tells whether a name lies under "local", which is for multicast DNS
// (RFC 6762 section 22.1): servers have it only where somebody set it up.
func IsLocal(name []byte) bool { return string(name[topOf(name):]) == string(local) }

// Under tells whether a name in wire form and lower case is domain or below it.
func Under(name []byte, domain Name) bool {
	_, ok := cutSuffix(name, domain)
	return ok
}

// topOf is where the last label of a name begins.
func topOf(name []byte) int {
	at := 0
	for off := 0; off < len(name); off += 1 + int(name[off]) {
		at = off
	}
	return at
}

// parentOf is the name without its first label.
func parentOf(name []byte) []byte { return name[1+int(name[0]):] }
