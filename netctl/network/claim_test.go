package network

import (
	"fmt"
	"io"
	"strings"
	"testing"
)

func fmtRoute(r Route) string { return fmt.Sprintf("{%s %s %d}", r.To, r.Via, r.Metric) }

const routes4 = `Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	010200C0	0003	0	0	0	00000000	0	0	0
eth0	000200C0	00000000	0001	0	0	0	00FFFFFF	0	0	0
tun0	00000000	0101080A	0003	0	0	0	00000080	0	0	0
tun0	00000080	0101080A	0003	0	0	0	00000080	0	0	0
eth1	0000590A	00000000	0001	0	0	0	0000FFFF	0	0	0
eth1	0101080A	00000000	0005	0	0	0	FFFFFFFF	0	0	0
`

const routes6 = `fd000000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 fd000000000000000000000000000001 00000400 00000002 00000000 00000003     eth0
20000000000000000000000000000000 03 00000000000000000000000000000000 00 fd000000000000000000000000000001 00000400 00000002 00000000 00000003     tun0
00000000000000000000000000000001 80 00000000000000000000000000000000 00 00000000000000000000000000000000 00000000 00000002 00000000 80200001       lo
fd000000000000000000000000000002 80 00000000000000000000000000000000 00 00000000000000000000000000000000 00000000 00000003 00000000 80200001     eth0
ff000000000000000000000000000000 08 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000003 00000000 00000001     eth0
`

func claimsText(claims []Claim) string {
	var text []string
	for _, c := range claims {
		text = append(text, fmt.Sprintf("%s %s", c.Prefix, c.Holder))
	}
	return strings.Join(text, "\n")
}

func TestReadRoutes(t *testing.T) {
	for _, tt := range []struct {
		name, table string
		read        func(io.Reader) ([]Claim, error)
		want        string
	}{
		{"IPv4", routes4, readRoutes4, "192.0.2.0/24 route via eth0\n10.89.0.0/16 route via eth1\n10.8.1.1/32 route via eth1"},
		{"IPv6", routes6, readRoutes6, "fd00::/64 route via eth0\nfd00::2/128 route via eth0"},
		{"no IPv4 routes", "Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT\n", readRoutes4, ""},
		{"empty", "", readRoutes6, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			claims, err := tt.read(strings.NewReader(tt.table))
			if err != nil || claimsText(claims) != tt.want {
				t.Errorf("got %v\n%s\nwant\n%s", err, claimsText(claims), tt.want)
			}
		})
	}
}

// FuzzReadRoutes holds that no table can make a claim on everything, or crash.
func FuzzReadRoutes(f *testing.F) {
	f.Add(routes4)
	f.Add(routes6)
	f.Fuzz(func(t *testing.T, table string) {
		for _, read := range []func(io.Reader) ([]Claim, error){readRoutes4, readRoutes6} {
			claims, err := read(strings.NewReader(table))
			if err != nil && len(claims) > 0 {
				t.Fatalf("claims beside an error: %v", claims)
			}
			for _, c := range claims {
				if !c.Prefix.IsValid() || c.Prefix.Bits() < 2 || c.Prefix != c.Prefix.Masked() {
					t.Fatalf("bad claim %v", c)
				}
			}
		}
	})
}
