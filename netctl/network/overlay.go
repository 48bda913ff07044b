package network

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/netctl/netctl/ipam"
)

const driverOverlay = "overlay"

// optPoolBits is how long the prefix of a host's pool is; the value is
// overlayd's business.
var optPoolBits = option{[]string{OptionPoolBits},
	func(s *settings, v string) (err error) { s.poolBits, err = parseInt(v, 9, 112); return }}

// OptionPoolBits is the prefix length of the pool that each host of an overlay
// network gets.
const OptionPoolBits = "pool_bits"

// optFastPath is overlayd's business, too.
var optFastPath = option{[]string{OptionFastPath}, func(_ *settings, v string) error {
	if v == "auto" {
		return nil
	}
	if _, err := parseBool(v); err != nil {
		return fmt.Errorf("invalid value %q: want auto, true or false", v)
	}
	return nil
}}

// OptionFastPath has packets between containers on different hosts pass by the
// hosts' connection tracking and forwarding rules: auto, which is the default,
// where nobody else has rules that would see them.
const OptionFastPath = "fast_path"

// overlayPools are where the ranges of overlay networks come from: each is
// enough for 256 hosts with a /24.
func overlayPools() []ipam.Pool {
	return []ipam.Pool{{Prefix: netip.MustParsePrefix("10.128.0.0/9"), Bits: 16}}
}

// overlayDriver makes networks that span hosts. On each host such a network is
// a bridge; the subnet is what all hosts' pools are cut from.
func overlayDriver() driver {
	return driver{
		name:       driverOverlay,
		options:    []option{optIsolate, optHostIP, optIfPrefix, optPoolBits, optFastPath, optMasquerade, optPeers},
		names:      true,
		ownsSubnet: true,
		bridged:    true,
		pools:      overlayPools(),
		check: func(r Request, s settings) error {
			switch {
			case r.NoIPAM:
				return errors.New("an overlay network has addresses: leave --ipam-driver none out")
			case len(r.Gateways)+len(r.Ranges)+len(r.Reserved) > 0:
				return errors.New("--gateway, --ip-range and --aux-address: each host of an overlay network has its own gateway and range")
			}
			return onePerFamily(driverOverlay, r.Subnets)
		},
		entry: func(d definition) any {
			e := newBridgeEntry(d)
			e.Type, e.MTU, e.Isolate = driverOverlay, 0, !d.Request.hasOption("isolate") || d.isolate
			return e
		},
	}
}

// hasOption tells whether the request names an option, by whatever value.
func (r Request) hasOption(name string) bool {
	_, ok := r.Options[name]
	return ok
}
