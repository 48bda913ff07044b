package kernel_test

import (
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"github.com/netctl/netctl/plugins/internal/kernel"
	"github.com/netctl/netctl/plugins/internal/wire"
	"github.com/netctl/netctl/test/netns"
)

// TestDefaultRoutesAreRanked: whatever the routes' metrics were, those of the
// ranks are left, one for each; what belongs to others stays.
func TestDefaultRoutesAreRanked(t *testing.T) {
	world(t, func(_ *kernel.Host, c *kernel.Container, _, container *netns.Namespace) {
		in := func(line string) string {
			t.Helper()
			var out []byte
			err := container.Do(func() (err error) {
				out, err = exec.Command("sh", "-ec", line).CombinedOutput()
				return err
			})
			if err != nil {
				t.Fatalf("%s: %v: %s", line, err, out)
			}
			return string(out)
		}
		in(`for n in 1 2 3; do
			ip link add v$n type veth peer name w$n; ip link set v$n up; ip link set w$n up
			ip addr add 10.$n.0.2/24 dev v$n; ip addr add fd00:$n::2/64 dev v$n nodad
		done
		ip route append default via 10.1.0.1 dev v1; ip route append default via 10.2.0.1 dev v2
		ip route append default via 10.2.0.1 dev v2 metric 1025
		ip route add default via 10.3.0.9 dev v3 metric 7
		ip -6 route append default via fd00:1::1 dev v1; ip -6 route append default via fd00:2::1 dev v2`)
		via := func(link, gateway string, rank int) wire.DefaultRoute {
			return wire.DefaultRoute{Link: link, Via: netip.MustParseAddr(gateway), Rank: rank}
		}
		for _, step := range []struct {
			name   string
			routes []wire.DefaultRoute
			want   string
		}{
			{"the second leads", []wire.DefaultRoute{via("v2", "10.2.0.1", 0), via("v2", "fd00:2::1", 0), via("v1", "10.1.0.1", 1), via("v1", "fd00:1::1", 1)},
				"10.2.0.1 v2, 10.3.0.9 v3 7, 10.1.0.1 v1 1025, fd00:2::1 v2 1024, fd00:1::1 v1 1025"},
			{"the same again", []wire.DefaultRoute{via("v2", "10.2.0.1", 0), via("v1", "10.1.0.1", 1)},
				"10.2.0.1 v2, 10.3.0.9 v3 7, 10.1.0.1 v1 1025, fd00:2::1 v2 1024, fd00:1::1 v1 1025"},
			{"the first leads", []wire.DefaultRoute{via("v1", "10.1.0.1", 0), via("v1", "fd00:1::1", 0), via("v2", "10.2.0.1", 1), via("v2", "fd00:2::1", 1)},
				"10.1.0.1 v1, 10.3.0.9 v3 7, 10.2.0.1 v2 1025, fd00:1::1 v1 1024, fd00:2::1 v2 1025"},
			{"room for one to come; what is not there is passed over",
				[]wire.DefaultRoute{via("v1", "10.1.0.1", 1), via("v2", "10.2.0.1", 2), via("v3", "10.3.0.1", 3), via("nothing", "10.4.0.1", 4)},
				"10.3.0.9 v3 7, 10.1.0.1 v1 1025, 10.2.0.1 v2 1026, fd00:1::1 v1 1024, fd00:2::1 v2 1025"},
		} {
			if err := c.RankDefaults(step.routes); err != nil {
				t.Fatalf("%s: %v", step.name, err)
			}
			if got := defaultsText(in("ip route show default; ip -6 route show default")); got != step.want {
				t.Errorf("%s: got %s\nwant %s", step.name, got, step.want)
			}
		}
	})
}

// defaultsText shortens ip's lines: gateway, interface, metric.
func defaultsText(out string) string {
	var list []string
	for line := range strings.Lines(out) {
		var words []string
		fields := strings.Fields(line)
		for i, word := range fields {
			if word == "via" || word == "dev" || word == "metric" {
				words = append(words, fields[i+1])
			}
		}
		list = append(list, strings.Join(words, " "))
	}
	return strings.Join(list, ", ")
}
