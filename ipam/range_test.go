package ipam

import (
	"net/netip"
	"strings"
	"testing"
)

func span(subnet, start, end, gateway string) Range {
	r := Range{Subnet: netip.MustParsePrefix(subnet)}
	for text, into := range map[string]*netip.Addr{start: &r.Start, end: &r.End, gateway: &r.Gateway} {
		if text != "" {
			*into = netip.MustParseAddr(text)
		}
	}
	return r
}

func TestCanonicalFillsIn(t *testing.T) {
	r, err := span("10.88.0.0/24", "", "", "").Canonical()
	if want := span("10.88.0.0/24", "10.88.0.1", "10.88.0.254", ""); err != nil || r.Start != want.Start || r.End != want.End || r.Gateway != want.Start {
		t.Errorf("got %+v, %v", r, err)
	}
	for text, can := range map[string]bool{"10.88.0.0": false, "10.88.0.1": false, "10.88.0.2": true, "10.88.0.254": true, "10.88.0.255": false, "10.88.1.2": false} {
		if r.Contains(netip.MustParseAddr(text)) != can {
			t.Errorf("%s can be given out: %v", text, !can)
		}
	}
}

func TestCanonicalRefuses(t *testing.T) {
	for want, sets := range map[string][]Set{
		"subnet is missing":             {{Range{}}},
		"did you mean 10.88.0.0/24?":    {{span("10.88.0.7/24", "", "", "")}},
		"too small":                     {{span("10.88.0.0/31", "", "", "")}},
		"gateway fd00::1 is not of the": {{span("10.88.0.0/24", "", "", "fd00::1")}},
		"rangeStart 10.89.0.1 is not":   {{span("10.88.0.0/24", "10.89.0.1", "", "")}},
		"rangeEnd 10.89.0.1 is not":     {{span("10.88.0.0/24", "", "10.89.0.1", "")}},
		"is below rangeStart":           {{span("10.88.0.0/24", "10.88.0.9", "10.88.0.8", "")}},
		"ranges[1] is empty":            {{span("10.88.0.0/24", "", "", "")}, {}},
		"ranges[0] mixes":               {{span("10.88.0.0/24", "", "", ""), span("fd00::/64", "", "", "")}},
		"ranges overlap":                {{span("10.88.0.0/24", "", "10.88.0.9", "")}, {span("10.88.0.0/24", "10.88.0.9", "", "")}},
	} {
		if got, err := CanonicalSets(sets); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, %v; want %s", got, err, want)
		}
	}
	good := []Set{{span("10.88.0.0/24", "", "10.88.0.8", ""), span("10.88.0.0/24", "10.88.0.9", "", "")}, {span("fd00::/64", "", "", "")}}
	if got, err := CanonicalSets(good); err != nil || len(got) != 2 || len(got[0]) != 2 || len(got[1]) != 1 {
		t.Errorf("got %v, %v", got, err)
	}
}
