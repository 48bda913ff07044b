package firewall

import (
	"testing"

	"github.com/netctl/netctl/plugins/internal/attach/attachtest"
)

const previous = `,"prevResult":{"cniVersion":"1.1.0","interfaces":[{"name":"cni0"},{"name":"veth0"},{"name":"eth0","sandbox":"/run/netns/web"}],
	"ips":[{"address":"10.88.0.2/16","gateway":"10.88.0.1","interface":2},{"address":"fd00::2/64","gateway":"fd00::1","interface":2}]}`

func TestGoldenWirings(t *testing.T) {
	attachtest.Goldens(t, Mode(), map[string]attachtest.Case{
		"open":        {Keys: previous},
		"same-bridge": {Keys: previous + `,"ingressPolicy":"same-bridge","backend":"firewalld"`},
		"admin-chain": {Keys: previous + `,"iptablesAdminChainName":"MY-RULES"`},
		"isolated":    {Keys: previous + `,"ingressPolicy":"isolated"`},
	})
}

func TestParseRefuses(t *testing.T) {
	attachtest.Refuses(t, Mode(), map[string]string{
		``:                                     `key prevResult is missing: this plugin comes after one that makes an interface`,
		previous + `,"backend":"ufw"`:          `key backend: invalid value "ufw": want iptables, nftables or firewalld`,
		previous + `,"ingressPolicy":"strict"`: `key ingressPolicy: invalid value "strict": want open, same-bridge or isolated`,
		previous + `,"iptablesAdminChainName":"a b"`:                 `key iptablesAdminChainName: invalid value "a b": want 1 to 28 letters, digits, '-' and '_'`,
		previous + `,"backend":"firewalld","firewalldZone":"public"`: `key firewalldZone: value "public" is not supported: want "trusted", or backend iptables and rules of your own in chain CNI-ADMIN`,
		previous + `,"ingressPolicy":["open"]`:                       `configuration on standard input: key ingressPolicy: want a text in quotes, got ["open"]`,
	})
}
