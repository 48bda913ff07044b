package attach

import (
	"context"
	"errors"
	"slices"

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
	mechanism, err := a.ofHost(p.conf)
	if err != nil {
		return nil, err
	}
	rules, err := firewall.Lines(firewall.BackendName(mechanism), p.rules())
	if err != nil {
		return nil, cni.Wrap(cni.CodeFirewall, err)
	}
	return append(p.kernelLines(), rules...), nil
}

// kernelLines are the commands but for the packet filter's.
func (p *plan) kernelLines() []string {
	lines := p.wiring.Lines()
	if p.wiring.Owned.ResolverInside {
		const example = 40000 // any that is free
		lines = append(lines, firewall.InsideLines(p.at.Container, insideAt(example))...)
	}
	for _, s := range firewall.Sysctls(p.rules()) {
		if line := "sysctl -w " + s.String(); !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return lines
}

// Compute gives what an ADD that is granted these addresses asks for: of the
// kernel as commands, and of the packet filter as rules. Nothing is touched.
func Compute(mode Mode, req *cni.Request, grant Grant) (kernel []string, rules firewall.Rules, err error) {
	p, err := (&Attacher{Mode: mode}).parse(req)
	if err != nil {
		return nil, rules, err
	}
	p.grant = grant
	if err := p.wire(); err != nil {
		return nil, rules, err
	}
	return p.kernelLines(), p.rules(), nil
}
