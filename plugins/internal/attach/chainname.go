package attach

import "strings"

// ChainName says what IsChainName wants.
const ChainName = "1 to 28 letters, digits, '-' and '_'"

// IsChainName tells a name that iptables takes for a chain and that needs no
// quoting, of the length that it keeps (XT_EXTENSION_MAXNAMELEN).
func IsChainName(name string) bool {
	return len(name) >= 1 && len(name) <= 28 && name[0] != '-' &&
		strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == ""
}
