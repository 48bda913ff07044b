package cni

import (
	"testing"

	"github.com/containernetworking/cni/pkg/utils"
)

// FuzzNames holds the names we take to those that the library takes.
func FuzzNames(f *testing.F) {
	for _, s := range []string{"", "a", "A-1_.x", ".a", "-", "_", "a/b", "a b", "é", "eth0", "eth0:1", "..", ".", "0123456789012345", "a\u2028b", "a\xff", "a\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got, want := isName(s), utils.ValidateContainerID(s) == nil; got != want {
			t.Errorf("isName(%q) = %v, the library says %v", s, got, want)
		}
		if got, want := isName(s), utils.ValidateNetworkName(s) == nil; got != want {
			t.Errorf("isName(%q) = %v, the library says %v", s, got, want)
		}
		if got, want := IsIfName(s), utils.ValidateInterfaceName(s) == nil; got != want {
			t.Errorf("IsIfName(%q) = %v, the library says %v", s, got, want)
		}
	})
}
