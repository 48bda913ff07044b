package attach

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/netctl/netctl/plugins/internal/cni"
)

const twoSets = `,"ranges":[[{"subnet":"10.1.0.0/24"},{"subnet":"10.2.0.0/24"}],[{"subnet":"fd00::/64"}]]`

func TestParsePool(t *testing.T) {
	m := newMachine(t)
	for _, tt := range []struct {
		name string
		call call
		want string // the sets, or a part of the error
		code cni.Code
	}{
		{"one range", call{keys: `,"ranges":[[{"subnet":"10.1.0.0/24"}]]`}, "[[10.1.0.0/24]]", 0},
		{"legacy keys", call{keys: `,"subnet":"10.1.0.0/24","rangeStart":"10.1.0.9","rangeEnd":"10.1.0.20","gateway":"10.1.0.254"`},
			"[[10.1.0.9-10.1.0.20 in 10.1.0.0/24]]", 0},
		{"legacy keys come first", call{keys: `,"subnet":"10.3.0.0/24"` + twoSets}, "[[10.3.0.0/24] [10.1.0.0/24 10.2.0.0/24] [fd00::/64]]", 0},
		{"ipRanges come before them", call{keys: `,"subnet":"10.3.0.0/24"`, top: `,"runtimeConfig":{"ipRanges":[[{"subnet":"10.4.0.0/24"}]]}`},
			"[[10.4.0.0/24] [10.3.0.0/24]]", 0},
		{"ipRanges alone", call{top: `,"runtimeConfig":{"ipRanges":[[{"subnet":"10.4.0.0/24"}]]}`}, "[[10.4.0.0/24]]", 0},
		{"Go's names", call{keys: `,"Ranges":[[{"Subnet":"10.1.0.0/24","RangeStart":"10.1.0.9"}]]`}, "[[10.1.0.9-10.1.0.254 in 10.1.0.0/24]]", 0},
		{"unknown keys", call{keys: `,"subnet":"10.1.0.0/24","resolveConf":"/x","routes":[{"dst":"0.0.0.0/0"}]`}, "[[10.1.0.0/24]]", 0},
		{"gateway outside the subnet", call{keys: `,"subnet":"10.1.0.0/24","gateway":"10.9.0.1"`}, "[[10.1.0.0/24]]", 0},
		{"one of each family, old version", call{keys: twoSets, version: "0.2.0"}, "[[10.1.0.0/24 10.2.0.0/24] [fd00::/64]]", 0},

		{"no ranges", call{}, "key ipam.ranges is missing", 7},
		{"empty set", call{keys: `,"ranges":[[]]`}, "ranges[0] is empty", 7},
		{"no subnet", call{keys: `,"ranges":[[{}]]`}, "subnet is missing", 7},
		{"host bits", call{keys: `,"subnet":"10.1.0.7/24"`}, "did you mean 10.1.0.0/24?", 7},
		{"not a subnet", call{keys: `,"subnet":"10.1.0.0"`}, "10.1.0.0", 7},
		{"a number", call{keys: `,"ranges":7`}, "ranges", 7},
		{"/31", call{keys: `,"subnet":"10.1.0.0/31"`}, "too small", 7},
		{"/32", call{keys: `,"subnet":"10.1.0.0/32"`}, "too small", 7},
		{"/127", call{keys: `,"subnet":"fd00::/127"`}, "too small", 7},
		{"start outside", call{keys: `,"subnet":"10.1.0.0/24","rangeStart":"10.2.0.1"`}, "rangeStart 10.2.0.1 is not inside 10.1.0.0/24", 7},
		{"end below start", call{keys: `,"subnet":"10.1.0.0/24","rangeStart":"10.1.0.9","rangeEnd":"10.1.0.8"`}, "below rangeStart", 7},
		{"families mixed", call{keys: `,"ranges":[[{"subnet":"10.1.0.0/24"},{"subnet":"fd00::/64"}]]`}, "mixes address families", 7},
		{"overlap in a set", call{keys: `,"ranges":[[{"subnet":"10.1.0.0/24"},{"subnet":"10.1.0.0/25"}]]`}, "overlap", 7},
		{"overlap between sets", call{keys: `,"ranges":[[{"subnet":"10.1.0.0/24"}],[{"subnet":"10.1.0.128/25"}]]`}, "overlap", 7},
		{"two of a family, old version", call{keys: `,"ranges":[[{"subnet":"10.1.0.0/24"}],[{"subnet":"10.2.0.0/24"}]]`, version: "0.2.0"}, "cniVersion 0.2.0", 7},
		{"route without destination", call{keys: `,"subnet":"10.1.0.0/24","routes":[{"gw":"10.1.0.1"}]`}, "key ipam.routes", 7},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.call.kind, tt.call.container = HostLocalIPAM, "c1"
			pool, err := ParsePool(m.request(cni.Add, tt.call))
			want(t, err, tt.code, tt.want)
			if err != nil {
				return
			}
			got := "["
			for i, set := range pool.Sets {
				if i > 0 {
					got += " "
				}
				got += "["
				for j, r := range set {
					if j > 0 {
						got += " "
					}
					got += r.String()
				}
				got += "]"
			}
			if got += "]"; got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// TestWanted has the three channels alone and together.
func TestWanted(t *testing.T) {
	m := newMachine(t)
	const (
		runtime = `,"runtimeConfig":{"ips":[%]}`
		args    = `,"args":{"cni":{"ips":[%]}}`
	)
	fill := func(form, ips string) string {
		if ips == "" {
			return ""
		}
		i := slices.Index([]byte(form), '%')
		return form[:i] + ips + form[i+1:]
	}
	for _, tt := range []struct {
		name, runtime, args, env string
		want                     string // "v4 v6", or a part of the error
		code                     cni.Code
	}{
		{"nothing", "", "", "", "[invalid IP invalid IP]", 0},
		{"runtimeConfig", `"10.1.0.9"`, "", "", "[10.1.0.9 invalid IP]", 0},
		{"args.cni", "", `"10.1.0.9/24"`, "", "[10.1.0.9 invalid IP]", 0},
		{"CNI_ARGS", "", "", "IP=10.1.0.9", "[10.1.0.9 invalid IP]", 0},
		{"second range of a set", `"10.2.0.9"`, "", "", "[10.2.0.9 invalid IP]", 0},
		{"one from each set, in any order", `"fd00::9","10.1.0.9"`, "", "", "[10.1.0.9 fd00::9]", 0},
		{"CNI_ARGS list", "", "", "IP=10.1.0.9,fd00::9", "[10.1.0.9 fd00::9]", 0},
		{"families by different channels", `"fd00::9"`, "", "IP=10.1.0.9", "[10.1.0.9 fd00::9]", 0},
		{"runtimeConfig is stronger", `"10.1.0.7"`, `"10.1.0.8"`, "IP=10.1.0.9", "[10.1.0.7 invalid IP]", 0},
		{"args.cni is stronger", "", `"10.1.0.8"`, "IP=10.1.0.9", "[10.1.0.8 invalid IP]", 0},
		{"the same twice", `"10.1.0.7","10.1.0.7/24"`, `"10.1.0.7"`, "IP=10.1.0.7", "[10.1.0.7 invalid IP]", 0},
		{"written as IPv6", `"::ffff:10.1.0.7"`, "", "", "[10.1.0.7 invalid IP]", 0},

		{"two from one set", `"10.1.0.7","10.1.0.8"`, "", "", "both 10.1.0.7 and 10.1.0.8", 7},
		{"two ranges of one set", `"10.1.0.7","10.2.0.8"`, "", "", "both 10.1.0.7 and 10.2.0.8", 7},
		{"no address", `"x"`, "", "", `runtimeConfig.ips: invalid address "x"`, 7},
		{"outside", "", `"10.9.0.1"`, "", "args.cni.ips: address 10.9.0.1 can't be given out", 103},
		{"gateway", "", "", "IP=10.1.0.1", "CNI_ARGS IP: address 10.1.0.1 can't be given out", 103},
		{"network", `"10.1.0.0"`, "", "", "10.1.0.0 can't be given out", 103},
		{"broadcast", `"10.1.0.255"`, "", "", "10.1.0.255 can't be given out", 103},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pool, err := ParsePool(m.request(cni.Add, call{
				kind: HostLocalIPAM, container: "c1", keys: twoSets, args: tt.env,
				top: fill(runtime, tt.runtime) + fill(args, tt.args),
			}))
			want(t, err, tt.code, tt.want)
			if err == nil {
				if got := textOf(pool.Wanted); got != tt.want {
					t.Errorf("got %s, want %s", got, tt.want)
				}
			}
		})
	}
}

func textOf(addresses []netip.Addr) string {
	text := "["
	for i, a := range addresses {
		if i > 0 {
			text += " "
		}
		text += a.String()
	}
	return text + "]"
}

func TestUnreadableAddressesAreNamed(t *testing.T) {
	m := newMachine(t)
	for keys, want := range map[string]string{
		`,"subnet":"10.0.0.0/99"`:                                            `key ipam.subnet: invalid value "10.0.0.0/99": want a prefix such as 10.0.0.0/24`,
		`,"ranges":[[{"subnet":"10.0.0.0/24"},{"subnet":""}]]`:               `key ipam: ranges[0]: range: subnet is missing`,
		`,"ranges":[[{"subnet":"10.0.0.0/24","gateway":"10.0.0"}]]`:          `key ipam.ranges[0][0].gateway: invalid value "10.0.0": want an address such as 10.0.0.1`,
		`,"subnet":"10.0.0.0/24","routes":[{"dst":"nowhere"}]`:               `key ipam.routes[0].dst: invalid value "nowhere": want a prefix such as 10.0.0.0/24`,
		`,"ranges":{"subnet":"10.0.0.0/24"}`:                                 `key ipam.ranges: want a list, got {"subnet":"10.0.0.0/24"}`,
		`,"subnet":"10.0.0.0/24","routes":[{"dst":"0.0.0.0/0","mtu":"big"}]`: `key ipam.routes.mtu: want a whole number, got "big"`,
	} {
		_, err := m.add(call{kind: HostLocalIPAM, container: "c", keys: keys})
		if err == nil || err.Error() != want {
			t.Errorf("%s:\ngot  %v\nwant %s", keys, err, want)
		}
	}
}
