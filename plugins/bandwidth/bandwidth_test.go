package bandwidth

import (
	"testing"

	"github.com/netctl/netctl/plugins/internal/attach/attachtest"
	"github.com/netctl/netctl/plugins/internal/wire"
)

const previous = `,"prevResult":{"cniVersion":"1.1.0","interfaces":[{"name":"cni0"},{"name":"veth1"},{"name":"eth0","sandbox":"/run/netns/web"}]}`

// TestGoldenWirings shows each option as the commands a person would type.
func TestGoldenWirings(t *testing.T) {
	attachtest.Goldens(t, Mode(), map[string]attachtest.Case{
		"nothing":    {Keys: previous},
		"zero":       {Keys: previous + `,"ingressRate":0,"ingressBurst":0`},
		"both":       {Keys: previous + `,"ingressRate":1000000,"ingressBurst":80000,"egressRate":2000000,"egressBurst":160000`},
		"capability": {Keys: previous + `,"runtimeConfig":{"bandwidth":{"egressRate":2000000,"egressBurst":4294967295}}`},
		// One key at the top level, and the capability does not count.
		"top-level-wins": {Keys: previous + `,"ingressRate":1000000,"ingressBurst":80000,"runtimeConfig":{"bandwidth":{"egressRate":2000000,"egressBurst":4294967295}}`},
	})
}

func TestParseRefuses(t *testing.T) {
	attachtest.Refuses(t, Mode(), map[string]string{
		``:                                     `key prevResult is missing: this plugin comes after one that makes an interface`,
		`,"ingressRate":1000`:                  `keys ingressRate and ingressBurst: 1000 and 0: want both or neither`,
		`,"egressBurst":1000`:                  `keys egressRate and egressBurst: 0 and 1000: want both or neither`,
		`,"egressRate":1000,"egressBurst":"x"`: `configuration on standard input: key egressBurst: want a number from 0 to 18446744073709551615, got "x"`,
		`,"egressRate":1000,"egressBurst":34359738360`:    `key egressBurst: invalid value 34359738360: want at most 34359738359 bits`,
		`,"runtimeConfig":{"bandwidth":{"egressRate":1}}`: `keys egressRate and egressBurst: 1 and 0: want both or neither`,
	})
}

// TestTheReferencesDevice has the name that the reference plugin computes: bwp
// and the start of SHA-512 of network and container.
func TestTheReferencesDevice(t *testing.T) {
	got := Mode().Inherited(wire.Heir{Attachment: wire.Attachment{Network: "net", Container: "web", IfName: "eth0", Part: "bandwidth"}}).Links
	if len(got) != 1 || got[0] != "bwp437252eec243" {
		t.Errorf("got %v", got)
	}
}
