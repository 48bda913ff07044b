package protocol

import (
	"encoding/json"
	"fmt"
)

// Interface is an entry of a result's "interfaces".
type Interface struct {
	Name       string `json:"name"`
	Mac        string `json:"mac,omitempty"`
	MTU        int    `json:"mtu,omitempty"`
	Sandbox    string `json:"sandbox,omitempty"`
	SocketPath string `json:"socketPath,omitempty"`
	PciID      string `json:"pciID,omitempty"`
}

// IP is an entry of a result's "ips".
type IP struct {
	Version   string `json:"version,omitempty"` // 0.3.0 to 0.4.0 only
	Address   string `json:"address"`
	Gateway   string `json:"gateway,omitempty"`
	Interface *int   `json:"interface,omitempty"`
}

// Route is an entry of a result's "routes".
type Route struct {
	Dst      string `json:"dst"`
	GW       string `json:"gw,omitempty"`
	MTU      int    `json:"mtu,omitempty"`
	AdvMSS   int    `json:"advmss,omitempty"`
	Priority int    `json:"priority,omitempty"`
	Table    *int   `json:"table,omitempty"`
	Scope    *int   `json:"scope,omitempty"`
}

// DNS is a result's "dns".
type DNS struct {
	Nameservers []string `json:"nameservers,omitempty"`
	Domain      string   `json:"domain,omitempty"`
	Search      []string `json:"search,omitempty"`
	Options     []string `json:"options,omitempty"`
}

// Result is what ADD answers, in the shape of 1.0.0. Results of 0.1.0 and
// 0.2.0 are brought into it: their ip4 and ip6 become entries of IPs.
type Result struct {
	CNIVersion string      `json:"cniVersion"`
	Interfaces []Interface `json:"interfaces,omitempty"`
	IPs        []IP        `json:"ips,omitempty"`
	Routes     []Route     `json:"routes,omitempty"`
	DNS        *DNS        `json:"dns,omitempty"`

	Raw   map[string]any  `json:"-"` // the document as decoded
	Bytes json.RawMessage `json:"-"` // the document as received
}

// oldIP is "ip4" or "ip6" of 0.1.0 and 0.2.0.
type oldIP struct {
	IP      string  `json:"ip"`
	Gateway string  `json:"gateway"`
	Routes  []Route `json:"routes"`
}

// Result decodes standard output as one result document.
func (r *Reply) Result() (*Result, error) {
	obj, err := r.Object()
	if err != nil {
		return nil, err
	}
	res := &Result{Raw: obj, Bytes: r.Stdout}
	if err := json.Unmarshal(r.Stdout, res); err != nil {
		return nil, fmt.Errorf("result: %w", err)
	}
	if res.CNIVersion == "0.1.0" || res.CNIVersion == "0.2.0" {
		return res, res.readOld()
	}
	return res, nil
}

// readOld fills IPs and Routes from a 0.1.0 or 0.2.0 document.
func (res *Result) readOld() error {
	var old struct{ IP4, IP6 *oldIP }
	if err := json.Unmarshal(res.Bytes, &old); err != nil {
		return fmt.Errorf("result %s: %w", res.CNIVersion, err)
	}
	for _, ip := range []*oldIP{old.IP4, old.IP6} {
		if ip == nil {
			continue
		}
		res.IPs = append(res.IPs, IP{Address: ip.IP, Gateway: ip.Gateway})
		res.Routes = append(res.Routes, ip.Routes...)
	}
	return nil
}

// Encode renders a result for a request of the given version, as the
// "prevResult" of that version looks.
func (res *Result) Encode(version string) json.RawMessage {
	out := *res
	out.CNIVersion = version
	switch {
	case version == "0.1.0" || version == "0.2.0":
		return encodeOld(&out)
	case Before(version, "1.0.0"):
		out.IPs = append([]IP(nil), out.IPs...)
		for i := range out.IPs {
			out.IPs[i].Version = familyDigit(out.IPs[i].Address)
		}
	}
	if Before(version, "1.1.0") {
		out.Interfaces = append([]Interface(nil), out.Interfaces...)
		for i := range out.Interfaces {
			out.Interfaces[i].MTU, out.Interfaces[i].SocketPath, out.Interfaces[i].PciID = 0, "", ""
		}
	}
	return mustJSON(out)
}

func encodeOld(res *Result) json.RawMessage {
	doc := map[string]any{"cniVersion": res.CNIVersion}
	for _, ip := range res.IPs {
		key := "ip" + familyDigit(ip.Address)
		if doc[key] != nil {
			continue
		}
		entry := map[string]any{"ip": ip.Address}
		if ip.Gateway != "" {
			entry["gateway"] = ip.Gateway
		}
		doc[key] = entry
	}
	return mustJSON(doc)
}

// mustJSON encodes values made of maps, strings and numbers, which cannot fail.
func mustJSON(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("encode %T: %v", v, err))
	}
	return b
}
