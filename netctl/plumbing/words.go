package plumbing

import (
	"fmt"
	"strings"
)

// inFlags says a plugin's refusal in the words of who typed a command: plugins name the
// keys of a configuration, which here are flags of `run`, `connect` and `network create`.
func inFlags(network string, err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	for _, w := range []struct{ key, flag string }{
		{"runtimeConfig.ips: ", ipFlag(text)},
		{"runtimeConfig.mac: ", "--mac-address: "},
		{"runtimeConfig.dns.servers", "--dns"},
		{"key master: parent interface ", "-o parent: interface "},
		{"key master is missing, ", "it was made without -o parent=INTERFACE, "},
	} {
		if said := strings.Replace(text, w.key, w.flag, 1); said != text {
			return &inWords{fmt.Sprintf("network %s: %s", network, said), err}
		}
	}
	return err
}

// ipFlag: both families come by one key, but by a flag each.
func ipFlag(text string) string {
	_, after, _ := strings.Cut(text, ": address ")
	if address, _, _ := strings.Cut(after, " "); strings.Contains(address, ":") {
		return "--ip6: "
	}
	return "--ip: "
}

// inWords is an error with another text.
type inWords struct {
	text string
	err  error
}

func (w *inWords) Error() string { return w.text }
func (w *inWords) Unwrap() error { return w.err }
