package macvlan

import (
	"net/netip"
	"testing"

	"github.com/netctl/netctl/plugins/internal/attach/attachtest"
	"github.com/netctl/netctl/plugins/internal/wire"
)

// TestGoldenWirings shows each option as the commands a person would type.
func TestGoldenWirings(t *testing.T) {
	v4, v6 := attachtest.Address("192.0.2.5/24", "192.0.2.1"), attachtest.Address("2001:db8::5/64", "2001:db8::1")
	routed := attachtest.Granted(v4, v6)
	routed.Routes = []wire.Route{{To: netip.MustParsePrefix("0.0.0.0/0")}, {To: netip.MustParsePrefix("::/0")}}
	attachtest.Goldens(t, Mode(), map[string]attachtest.Case{
		"layer2":              {Keys: `,"master":"eth9"`},
		"default-route":       {Grant: attachtest.Granted(v4)},
		"dual-stack":          {Keys: `,"master":"eth9"`, Grant: routed},
		"parent-in-container": {Keys: `,"master":"net1","linkInContainer":true`, Grant: attachtest.Granted(v4)},
		"mtu":                 {Keys: `,"master":"eth9","mtu":1400`, Grant: attachtest.Granted(v4)},
		"private":             {Keys: `,"master":"eth9","mode":"private"`, Grant: attachtest.Granted(v4)},
		"vepa":                {Keys: `,"master":"eth9","mode":"vepa"`, Grant: attachtest.Granted(v4)},
		"passthru":            {Keys: `,"master":"eth9","mode":"passthru"`, Grant: attachtest.Granted(v4)},
		"names":               {Keys: `,"master":"eth9","names":true`, Grant: attachtest.Granted(v4)},
		"queue":               {Keys: `,"master":"eth9","bcqueuelen":500`, Grant: attachtest.Granted(v4)},
		"mac":                 {Keys: `,"master":"eth9","mac":"02:00:00:00:00:01"`, Args: "MAC=02:00:00:00:00:02", Grant: attachtest.Granted(v4)},
	})
}

func TestParseRefuses(t *testing.T) {
	attachtest.Refuses(t, Mode(), map[string]string{
		`,"mode":"bridged"`: `key mode: invalid value "bridged": want one of bridge, private, vepa, passthru`,
		`,"mtu":70000`:      `key mtu: invalid value 70000: want 68 to the parent's MTU, or 0 for the parent's`,
		`,"mac":"x"`:        `key mac: invalid MAC address "x": want six octets such as 02:42:ac:11:00:02`,
		`,"bcqueuelen":-1`:  `configuration on standard input: key bcqueuelen: want a number from 0 to 4294967295, got -1`,
	})
}
