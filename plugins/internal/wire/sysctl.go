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
	result := []Sysctl{{Path: "net/ipv4/conf/" + ifName + "/arp_notify", Value: "1", Optional: true}}
	for _, a := range addresses {
		if a.Prefix.Addr().Is6() {
			conf := "net/ipv6/conf/" + ifName
			return append(result,
				Sysctl{Path: "net/ipv6/conf/lo/disable_ipv6", Value: "0"},
				Sysctl{Path: conf + "/disable_ipv6", Value: "0"},
				Sysctl{Path: conf + "/keep_addr_on_down", Value: "1", Optional: true},
				Sysctl{Path: conf + "/ndisc_notify", Value: "1", Optional: true})
		}
	}
	return result
}

// DuplicateDetection switches the detection of duplicate IPv6 addresses on a
// link on, in its enhanced form (RFC 7527: a looped back probe is no
// duplicate), or off, for the link-local address too.
func DuplicateDetection(ifName string, on bool) []Sysctl {
	conf := "net/ipv6/conf/" + ifName
	if !on {
		return []Sysctl{{Path: conf + "/accept_dad", Value: "0", Optional: true}}
	}
	return []Sysctl{{Path: conf + "/enhanced_dad", Value: "1"}, {Path: conf + "/accept_dad", Value: "1"}}
}
