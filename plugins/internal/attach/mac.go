package attach

import (
	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/wire"
)

// RequestedMAC is the hardware address a caller asks for, or the zero value:
// CNI_ARGS MAC, args.cni.mac, runtimeConfig.mac, the last one that is there
// counting (spec cni 1.13).
func RequestedMAC(req *cni.Request) (wire.HardwareAddr, error) {
	var raw struct {
		Args struct {
			CNI struct {
				MAC string `json:"mac"`
			} `json:"cni"`
		} `json:"args"`
	}
	if err := req.Decode(&raw); err != nil {
		return wire.HardwareAddr{}, err
	}
	key, text := "CNI_ARGS MAC", req.Args["MAC"]
	if raw.Args.CNI.MAC != "" {
		key, text = "args.cni.mac", raw.Args.CNI.MAC
	}
	if req.Conf.RuntimeConfig.MAC != "" {
		key, text = "runtimeConfig.mac", req.Conf.RuntimeConfig.MAC
	}
	if text == "" {
		return wire.HardwareAddr{}, nil
	}
	mac, err := wire.ParseHardwareAddr(text)
	if err != nil {
		return mac, cni.Errorf(cni.CodeConfig, "%s: %w", key, err)
	}
	return mac, nil
}
