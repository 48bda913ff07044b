package firewall

import (
	"crypto/sha256"
	"encoding/base32"
	"slices"
	"strings"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// The way of a packet. Hooks are the kernel's; every other chain is ours.
//
//	PREROUTING, OUTPUT -> PUBLISH -> RESOLVER          port 53 of our resolver stays ours
//	                              -> TCP, UDP, SCTP    published ports (see tree.go, nft_maps.go)
//	POSTROUTING -> MASQUERADE -> MASQ-<network>
//	INPUT       -> INPUT      -> DNS
//	FORWARD     -> FORWARD    -> ADMIN                 the administrator's own rules
//	                          -> GUARD -> IN-<network>     packets to its members
//	                                   -> OUT-<network> -> ISOLATE   packets from them
//	                          -> INGRESS -> INTO-<network>     see forwardRules
//	                          -> EGRESS  -> EXIT-<network>
var (
	hookPrerouting  = chain{nat, "PREROUTING", true}
	hookOutput      = chain{nat, "OUTPUT", true}
	hookPostrouting = chain{nat, "POSTROUTING", true}
	hookForward     = chain{filter, "FORWARD", true}
	hookInput       = chain{filter, "INPUT", true}

	chainPublish    = chain{nat, "PUBLISH", false}
	chainResolver   = chain{nat, "RESOLVER", false}
	chainMasquerade = chain{nat, "MASQUERADE", false}

	chainInput   = chain{filter, "INPUT", false}
	chainDNS     = chain{filter, "DNS", false}
	chainForward = chain{filter, "FORWARD", false}
	chainAdmin   = chain{filter, "ADMIN", false}
	chainGuard   = chain{filter, "GUARD", false}
	chainIngress = chain{filter, "INGRESS", false}
	chainEgress  = chain{filter, "EGRESS", false}
	chainIsolate = chain{filter, "ISOLATE", false}
)

// networkChains are those that one network fills: what it forbids (guard),
// what it allows, to its members and from them, and what it hides.
type networkChains struct{ guardIn, guardOut, allowIn, allowOut, masq chain }

func ofNetwork(network string) networkChains {
	name := networkKey(network)
	return networkChains{
		guardIn: chain{filter, "IN-" + name, false}, guardOut: chain{filter, "OUT-" + name, false},
		allowIn: chain{filter, "INTO-" + name, false}, allowOut: chain{filter, "EXIT-" + name, false},
		masq: chain{nat, "MASQ-" + name, false},
	}
}

// isNetworks tells a chain that one network fills.
func isNetworks(c chain) bool {
	kind, _, _ := strings.Cut(c.name, "-")
	return slices.Contains([]string{"IN", "OUT", "INTO", "EXIT", "MASQ"}, kind)
}

// protocols are those that can be published.
func protocols() [3]wire.Protocol { return [3]wire.Protocol{wire.TCP, wire.UDP, wire.SCTP} }

// ofProtocol is where the published ports of a protocol begin.
func ofProtocol(p wire.Protocol) chain {
	return chain{nat, strings.ToUpper(string(p)), false}
}

// networkKey is the network's name where that fits a chain's name, else a hash
// of it. iptables cuts chain names at 28 bytes (XT_EXTENSION_MAXNAMELEN).
func networkKey(network string) string {
	const room = 28 - len("NETCTL-MASQ-")
	if len(network) <= room && plain(network) {
		return network
	}
	return hash(room, network)
}

// plain tells whether a name needs no quoting in either mechanism's text.
func plain(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-", r)
	})
}

// hash gives n base32 characters that stand for the parts.
func hash(n int, parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return base32.StdEncoding.EncodeToString(sum[:])[:n]
}
