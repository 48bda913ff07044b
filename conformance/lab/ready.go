package lab

import (
	"errors"
	"os"
	"os/exec"
)

// Ready reports what a lab host needs and the machine does not have. Without a
// way to print the packet filter, rules that a plugin leaves behind would go
// unseen and rows would pass that should not.
func Ready() error {
	if os.Geteuid() != 0 {
		return errors.New("not root: namespaces are made and plugins run in them, which needs it")
	}
	if _, err := exec.LookPath("nft"); err != nil {
		return errors.New("nft is not installed: rules that a plugin leaves behind would not be seen (apt install nftables)")
	}
	return nil
}
