package cni

import (
	"net"

	current "github.com/containernetworking/cni/pkg/types/100"
)

// resultDocument is a result of version 1.0.0 or newer as it is written. The
// library writes it by way of a map, to leave an empty dns out, and so with its
// keys in alphabetical order; these structs have their fields in that order, and
// are written without the detour.
type resultDocument struct {
	CNIVersion string              `json:"cniVersion,omitempty"`
	DNS        *dnsDocument        `json:"dns,omitempty"`
	Interfaces []interfaceDocument `json:"interfaces,omitempty"`
	IPs        []ipDocument        `json:"ips,omitempty"`
	Routes     []routeDocument     `json:"routes,omitempty"`
}

type dnsDocument struct {
	Domain      string   `json:"domain,omitempty"`
	Nameservers []string `json:"nameservers,omitempty"`
	Options     []string `json:"options,omitempty"`
	Search      []string `json:"search,omitempty"`
}

type interfaceDocument struct {
	Mac        string `json:"mac,omitempty"`
	Mtu        int    `json:"mtu,omitempty"`
	Name       string `json:"name"`
	PciID      string `json:"pciID,omitempty"`
	Sandbox    string `json:"sandbox,omitempty"`
	SocketPath string `json:"socketPath,omitempty"`
}

type ipDocument struct {
	Address   string `json:"address"`
	Gateway   string `json:"gateway,omitempty"`
	Interface *int   `json:"interface,omitempty"`
}

type routeDocument struct {
	AdvMSS   int    `json:"advmss,omitempty"`
	Dst      string `json:"dst"`
	GW       string `json:"gw,omitempty"`
	MTU      int    `json:"mtu,omitempty"`
	Priority int    `json:"priority,omitempty"`
	Scope    *int   `json:"scope,omitempty"`
	Table    *int   `json:"table,omitempty"`
}

// documentOfResult gives a result as a document, or as it is where the library
// has to say how it is written, or that it can't be.
func documentOfResult(r *current.Result) any {
	d := resultDocument{CNIVersion: r.CNIVersion}
	if !r.DNS.IsEmpty() {
		d.DNS = &dnsDocument{r.DNS.Domain, r.DNS.Nameservers, r.DNS.Options, r.DNS.Search}
	}
	for _, i := range r.Interfaces {
		if i == nil {
			return r
		}
		d.Interfaces = append(d.Interfaces, interfaceDocument{i.Mac, i.Mtu, i.Name, i.PciID, i.Sandbox, i.SocketPath})
	}
	for _, ip := range r.IPs {
		if ip == nil || !isIP(ip.Gateway) {
			return r
		}
		d.IPs = append(d.IPs, ipDocument{ip.Address.String(), ipText(ip.Gateway), ip.Interface})
	}
	for _, route := range r.Routes {
		if route == nil || !isIP(route.GW) {
			return r
		}
		d.Routes = append(d.Routes, routeDocument{
			route.AdvMSS, route.Dst.String(), ipText(route.GW), route.MTU, route.Priority, route.Scope, route.Table})
	}
	return d
}

// isIP tells an address, or none, from what can't be written.
func isIP(ip net.IP) bool {
	return len(ip) == 0 || len(ip) == net.IPv4len || len(ip) == net.IPv6len
}

func ipText(ip net.IP) string {
	if len(ip) == 0 {
		return ""
	}
	return ip.String()
}
