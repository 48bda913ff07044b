package protocol

import (
	"strconv"
	"strings"
)

// Versions are the released specification versions, oldest first.
func Versions() []string {
	return []string{"0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"}
}

// Before reports whether version a is older than b. Parts that are not
// numbers count as zero: rows send such versions on purpose.
func Before(a, b string) bool {
	pa, pb := parts(a), parts(b)
	for i := range pa {
		if pa[i] != pb[i] {
			return pa[i] < pb[i]
		}
	}
	return false
}

func parts(v string) [3]int {
	var out [3]int
	for i, p := range strings.SplitN(v, ".", 3) {
		out[i], _ = strconv.Atoi(p)
	}
	return out
}

// familyDigit is "4" or "6" for an address in text form.
func familyDigit(address string) string {
	if strings.Contains(address, ":") {
		return "6"
	}
	return "4"
}

// VersionReply is what VERSION answers.
type VersionReply struct {
	CNIVersion string
	Supported  []string
}

// Versions decodes standard output as the answer to VERSION. The error is
// nil only for an object with a cniVersion and a non-empty list of strings.
func (r *Reply) Versions() (*VersionReply, error) {
	obj, err := r.Object()
	if err != nil {
		return nil, err
	}
	v := &VersionReply{}
	v.CNIVersion, _ = obj["cniVersion"].(string)
	list, _ := obj["supportedVersions"].([]any)
	for _, entry := range list {
		if s, ok := entry.(string); ok {
			v.Supported = append(v.Supported, s)
		}
	}
	if v.CNIVersion == "" || len(v.Supported) == 0 || len(v.Supported) != len(list) {
		return v, errShape("VERSION", obj)
	}
	return v, nil
}
