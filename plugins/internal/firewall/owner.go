package firewall

import (
	"net/netip"
	"strings"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// Comments. Each rule says whose it is and, behind a space, what in it can
// change, so that rules can be compared and removed without being understood:
//
//	netctl layout=1                                        ours, for all networks
//	netctl my-bridge policy=K3LMN2QA                       of a network, as configured
//	netctl my-bridge hairpin=10.88.0.0/16                  of a network, for a published subnet
//	netctl my-bridge policy=K3LMN2QA by=nftables           of a network, in another program's chain
//	netctl my-bridge/web/eth0 *:8080->10.88.0.2:80/tcp     of an attachment
//
// A name in CNI has no space, no slash and no '='.
const prefix = "netctl"

// layout is the version of the chains that all networks share. A rule with
// another version is replaced.
const layout = prefix + " layout=1"

// Lengths in bytes. iptables keeps 255 of a comment (XT_MAX_COMMENT_LEN), the
// kernel 256 of a rule's or an element's user data (NFT_USERDATA_MAXLEN), of
// which nft takes three. The longest mapping has 113.
const (
	commentLimit   = 250
	networkLimit   = 60
	containerLimit = 80
)

func networkLabel(network string) string { return prefix + " " + fit(network, networkLimit) }

func attachmentLabel(a wire.Attachment) string {
	return networkLabel(a.NetworkLabel()) + "/" + fit(a.Container+"/"+a.IfName, containerLimit)
}

// ofLabel tells whether a comment belongs to the label's owner.
func ofLabel(comment, label string) bool {
	rest, found := strings.CutPrefix(comment, label)
	return found && (rest == "" || rest[0] == ' ')
}

// ofNetworkOrBelow is ofLabel for a network's share and its attachments.
func ofNetworkOrBelow(comment, network string) bool {
	label := networkLabel(network)
	return ofLabel(comment, label) || strings.HasPrefix(comment, label+"/")
}

// ofNetworkAndParts is ofNetworkOrBelow for a network with the shares of all
// plugins chained in it.
func ofNetworkAndParts(comment, network string) bool {
	return ofNetworkOrBelow(comment, network) || strings.HasPrefix(comment, networkLabel(network)+"+")
}

// policyComment marks a network's rules with what they were made from: when
// the configuration changes, so does the comment, and the rules are replaced.
func policyComment(p wire.NetworkPolicy) string {
	return networkLabel(p.Network) + " policy=" + hash(8, policyText(p))
}

func hairpinComment(network string, subnet netip.Prefix) string {
	return networkLabel(network) + " hairpin=" + subnet.String()
}

func hideComment(network string, subnet netip.Prefix) string {
	return networkLabel(network) + " clients=" + subnet.String()
}

func mappingComment(a wire.Attachment, p wire.Publish) string {
	return fit(attachmentLabel(a)+" "+p.String(), commentLimit)
}

// fit makes a text safe to quote and no longer than limit; a hash stands for
// what is lost.
func fit(text string, limit int) string {
	safe := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' || r == '\'' {
			return '_'
		}
		return r
	}, text)
	if safe == text && len(text) <= limit {
		return text
	}
	mark := "~" + hash(12, text)
	return safe[:min(len(safe), limit-len(mark))] + mark
}

func isOurs(comment string) bool { return strings.HasPrefix(comment, prefix+" ") }

// isPolicy tells whether a comment was made by policyComment.
func isPolicy(comment string) bool {
	return isOurs(comment) && strings.Contains(comment, " policy=")
}

// isPolicyOf tells whether a comment was made by policyComment for the
// network, from whatever policy.
func isPolicyOf(comment, network string) bool {
	return strings.HasPrefix(comment, networkLabel(network)+" policy=")
}
