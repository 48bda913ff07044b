package firewall

import (
	"strconv"
	"strings"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// policyText is what package fmt makes of a policy by %+v: the hash of that is in
// the rules of hosts that run already. Every ADD needs it, and by reflection it
// was 3 % of one.
func policyText(p wire.NetworkPolicy) string {
	t := new(words)
	t.text("{Network:", p.Network)
	t.text(" Bridge:", p.Bridge)
	list(t, " Subnets:", p.Subnets)
	t.flag(" Masquerade:", p.Masquerade)
	list(t, " MasqueradeAs:", p.MasqueradeAs)
	list(t, " NoMasquerade:", p.NoMasquerade)
	t.flag(" Forward:", p.Forward)
	t.flag(" Isolate:", p.Isolate)
	t.flag(" Apart:", p.Apart)
	t.flag(" Internal:", p.Internal)
	t.text(" Trunk:", p.Trunk)
	list(t, " DNS:", p.DNS)
	list(t, " PublishFrom:", p.PublishFrom)
	t.text(" PublishOn:[", strings.Join(p.PublishOn, " "))
	t.text("] AdminChain:", p.AdminChain)
	t.text("}", "")
	return t.String()
}

type words struct{ strings.Builder }

func (t *words) text(name, value string) {
	t.WriteString(name)
	t.WriteString(value)
}

func (t *words) flag(name string, value bool) { t.text(name, strconv.FormatBool(value)) }

func list[T interface{ String() string }](t *words, name string, values []T) {
	t.text(name, "[")
	for i, v := range values {
		if i > 0 {
			t.WriteByte(' ')
		}
		t.WriteString(v.String())
	}
	t.WriteByte(']')
}
