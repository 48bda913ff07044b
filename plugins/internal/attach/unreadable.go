package attach

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// addressKeys are the keys of an IPAM configuration whose texts are prefixes
// (true) or addresses (false).
var addressKeys = map[string]bool{
	"subnet": true, "dst": true, "rangestart": false, "rangeend": false, "gateway": false, "gw": false,
}

// unreadable finds the first text that does not read as the prefix or address
// that its key wants, and says so; "" if there is none. The decoder knows the
// text and not the key.
func unreadable(path string, data []byte) string {
	var value any
	if json.Unmarshal(data, &value) != nil {
		return ""
	}
	return unreadableIn(path, "", value)
}

func unreadableIn(path, key string, value any) string {
	switch value := value.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(value)) {
			if found := unreadableIn(path+"."+name, name, value[name]); found != "" {
				return found
			}
		}
	case []any:
		for i, child := range value {
			if found := unreadableIn(fmt.Sprintf("%s[%d]", path, i), "", child); found != "" {
				return found
			}
		}
	case string:
		isPrefix, known := addressKeys[strings.ToLower(key)]
		if known && isPrefix {
			if _, err := netip.ParsePrefix(value); err != nil {
				return fmt.Sprintf("%s: invalid value %q: want a prefix such as 10.0.0.0/24", path, value)
			}
		} else if known && value != "" {
			if _, err := netip.ParseAddr(value); err != nil {
				return fmt.Sprintf("%s: invalid value %q: want an address such as 10.0.0.1", path, value)
			}
		}
	}
	return ""
}
