package attach

import (
	"math"

	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/wire"
)

// Limits are the keys of the bandwidth capability and of the plugin of that
// name, in bits and bits per second. A pointer tells a key that is there.
type Limits struct {
	IngressRate  *uint64 `json:"ingressRate"`
	IngressBurst *uint64 `json:"ingressBurst"`
	EgressRate   *uint64 `json:"egressRate"`
	EgressBurst  *uint64 `json:"egressBurst"`
}

// Given tells whether any key is there.
func (l Limits) Given() bool {
	return l.IngressRate != nil || l.IngressBurst != nil || l.EgressRate != nil || l.EgressBurst != nil
}

// RequestedLimits reads the bandwidth capability.
func RequestedLimits(req *cni.Request) (Limits, error) {
	var l Limits
	if len(req.Conf.RuntimeConfig.Bandwidth) == 0 {
		return l, nil
	}
	if err := cni.Unmarshal(req.Conf.RuntimeConfig.Bandwidth, &l); err != nil {
		return l, cni.Wrap(cni.CodeConfig, cni.Within("runtimeConfig.bandwidth", err))
	}
	return l, nil
}

// Bandwidth says what the limits need of the kernel; nil if there are none.
// hosts are the host's links among which the other end of the pair is.
func (l Limits) Bandwidth(at wire.Attachment, hosts []string) *wire.Bandwidth {
	b := wire.Bandwidth{
		Link: at.IfName, Hosts: hosts, Ifb: at.HostName(wire.IfbPrefix),
		Ingress: wire.Limit{Rate: number(l.IngressRate), Burst: number(l.IngressBurst)},
		Egress:  wire.Limit{Rate: number(l.EgressRate), Burst: number(l.EgressBurst)},
	}
	if b.Ingress.IsZero() && b.Egress.IsZero() {
		return nil
	}
	return &b
}

// Check refuses limits that mean nothing.
func (l Limits) Check() error {
	if err := checkLimit("ingress", number(l.IngressRate), number(l.IngressBurst)); err != nil {
		return err
	}
	return checkLimit("egress", number(l.EgressRate), number(l.EgressBurst))
}

func checkLimit(direction string, rate, burst uint64) error {
	const maxBurst = 8*math.MaxUint32 - 1 // the kernel counts bytes in 32 bits
	switch {
	case (rate == 0) != (burst == 0):
		return cni.Errorf(cni.CodeConfig, "keys %sRate and %sBurst: %d and %d: want both or neither", direction, direction, rate, burst)
	case rate != 0 && rate < 8:
		return cni.Errorf(cni.CodeConfig, "key %sRate: invalid value %d: want at least 8 bits per second", direction, rate)
	case burst > maxBurst:
		return cni.Errorf(cni.CodeConfig, "key %sBurst: invalid value %d: want at most %d bits", direction, burst, uint64(maxBurst))
	}
	return nil
}

func number(p *uint64) uint64 {
	if p == nil {
		return 0
	}
	return *p
}
