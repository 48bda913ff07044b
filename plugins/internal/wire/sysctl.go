package wire

// ContainerSysctls are the parameters that a link with addresses wants in the
// container. arp_notify and ndisc_notify announce it to the neighbours when it
// comes up, so that an address which has changed hands is reached at once.
// IPv6 is switched on for this link and lo only where it has an IPv6 address
// (some runtimes switch it off for new namespaces), and its addresses are kept
// when the link goes down for a moment.
func ContainerSysctls(ifName string, addresses []Address) []Sysctl {
	if len(addresses) == 0 {
		return nil
	}
	result := []Sysctl{{Path: "net/ipv4/conf/" + ifName + "/arp_notify", Value: "1"}}
	for _, a := range addresses {
		if a.Prefix.Addr().Is6() {
			conf := "net/ipv6/conf/" + ifName
			return append(result,
				Sysctl{Path: "net/ipv6/conf/lo/disable_ipv6", Value: "0"},
				Sysctl{Path: conf + "/disable_ipv6", Value: "0"},
				Sysctl{Path: conf + "/keep_addr_on_down", Value: "1"},
				Sysctl{Path: conf + "/ndisc_notify", Value: "1"})
		}
	}
	return result
}
