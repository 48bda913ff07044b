package attach

import (
	"context"
	"errors"

	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/firewall"
)

// errPreview ends a reservation that was made only to be looked at.
var errPreview = errors.New("preview")

// Preview gives the commands that a person would type in place of ADD: `ip`,
// `sysctl`, and those of the packet filter on a host that has no rules of ours
// yet. The addresses are those that ADD would give now; nothing is kept.
func (a *Attacher) Preview(ctx context.Context, req *cni.Request) ([]string, error) {
	p, err := a.parse(req)
	if err != nil {
		return nil, err
	}
	_, err = p.addressing.reserve(ctx, p.at, func(_ *ledger.Tx, grant Grant) error {
		p.grant = grant
		if err := p.wire(); err != nil {
			return err
		}
		return errPreview
	})
	if !errors.Is(err, errPreview) {
		return nil, err
	}
	lines := p.wiring.Lines()
	for _, s := range firewall.Sysctls(p.rules()) {
		lines = append(lines, "sysctl -w "+s.String())
	}
	rules, err := firewall.Lines(firewall.BackendName(a.choose(p.conf)), p.rules())
	if err != nil {
		return nil, cni.Wrap(cni.CodeFirewall, err)
	}
	return append(lines, rules...), nil
}
