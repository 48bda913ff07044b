package bridge

import (
	"fmt"
	"testing"

	"github.com/netctl/netctl/plugins/internal/attach/attachtest"
)

// The keys for the packet filter become the network's policy.
func TestRuleKeys(t *testing.T) {
	grant := attachtest.Granted(attachtest.Address("10.88.0.2/16", "10.88.0.1"), attachtest.Address("fd00::2/64", "fd00::1"))
	c := attachtest.Case{Grant: grant, Keys: `,"isGateway":true,"ipMasq":true,"isolate":true,
		"masqueradeAs":["192.0.2.10","2001:db8::10"],"noMasquerade":["10.0.0.0/8","::/0"],
		"publishFrom":["192.0.2.7/24","2001:db8::1"],"publishOn":["eth1","eth2"]`}
	p := c.Wiring(t, Mode()).Shared.Network
	if !p.Masquerade || !p.Forward || !p.Isolate || p.Internal {
		t.Errorf("got %+v", p)
	}
	for _, test := range []struct{ got, want any }{
		{p.MasqueradeAs, "[192.0.2.10 2001:db8::10]"},
		{p.NoMasquerade, "[10.0.0.0/8 ::/0]"},
		{p.PublishFrom, "[192.0.2.0/24 2001:db8::1/128]"},
		{p.PublishOn, "[eth1 eth2]"},
	} {
		if fmt.Sprint(test.got) != test.want {
			t.Errorf("got %v, want %v", test.got, test.want)
		}
	}
}

func TestRuleKeysAreChecked(t *testing.T) {
	attachtest.Refuses(t, Mode(), map[string]string{
		`,"publishFrom":["all"]`:                                  `key publishFrom[0]: invalid prefix "all": want one such as 192.0.2.0/24 or 2001:db8::/32`,
		`,"publishOn":["eth0",""]`:                                `key publishOn[1]: invalid interface "": want 1 to 15 bytes without '/', ':' and space`,
		`,"publishOn":["x\n-F INPUT"]`:                            `key publishOn[0]: invalid interface "x\n-F INPUT": want 1 to 15 bytes without '/', ':' and space`,
		`,"noMasquerade":["192.0.2.0/24"]`:                        `keys masqueradeAs and noMasquerade say how to masquerade, and ipMasq is false: set it to true`,
		`,"ipMasq":true,"noMasquerade":["10.0.0.0/33"]`:           `key noMasquerade[0]: invalid prefix "10.0.0.0/33": want one such as 192.0.2.0/24 or 2001:db8::/32`,
		`,"ipMasq":true,"masqueradeAs":["0.0.0.0"]`:               `key masqueradeAs[0]: invalid address "0.0.0.0": want one of this host's`,
		`,"ipMasq":true,"masqueradeAs":["192.0.2.1","192.0.2.2"]`: `key masqueradeAs: 192.0.2.1 and 192.0.2.2: want one address of a family`,
		`,"masqueradeAs":["192.0.2.1"]`:                           `keys masqueradeAs and noMasquerade say how to masquerade, and ipMasq is false: set it to true`,
	})
}
