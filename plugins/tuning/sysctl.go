package tuning

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"

	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/wire"
)

// sysctls is the key of that name: an object of texts, in the order in which it
// was written, which can matter to the kernel.
type sysctls []setting

// setting is one member, as it was written.
type setting struct{ key, value string }

// parseSysctls reads the object. A key that is there twice is an error:
// encoding/json would drop one of the values.
func parseSysctls(data json.RawMessage) (sysctls, error) {
	if len(data) == 0 || string(data) == "null" {
		return nil, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	if open, err := decoder.Token(); err != nil || open != json.Delim('{') {
		return nil, errors.New("want an object of names and values")
	}
	var result sysctls
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		value, err := decoder.Token()
		text, ok := value.(string)
		switch {
		case err != nil:
			return nil, err
		case !ok:
			return nil, fmt.Errorf("value of %s: want a text such as \"1\", got %v", key, value)
		case result.find(key.(string)) >= 0:
			return nil, fmt.Errorf("%s is there twice", key)
		}
		result = append(result, setting{key.(string), text})
	}
	return result, nil
}

// find gives the place of a parameter, or -1. Dots and slashes are the same.
func (s sysctls) find(key string) int {
	for i, have := range s {
		if pathOf(have.key) == pathOf(key) {
			return i
		}
	}
	return -1
}

// override gives the parameters with others set over them.
func (s sysctls) override(others sysctls) sysctls {
	result := append(sysctls(nil), s...)
	for _, o := range others {
		if i := result.find(o.key); i >= 0 {
			result[i].value = o.value
			continue
		}
		result = append(result, o)
	}
	return result
}

// wire gives the parameters for an interface, whose name stands where IFNAME
// is written.
func (s sysctls) wire(ifName string) []wire.Sysctl {
	var result []wire.Sysctl
	for _, have := range s {
		result = append(result, wire.Sysctl{Path: strings.Replace(pathOf(have.key), "IFNAME", ifName, 1), Value: have.value})
	}
	return result
}

// pathOf is a parameter's path below /proc/sys.
func pathOf(key string) string {
	return path.Clean("/" + strings.ReplaceAll(key, ".", "/"))[1:]
}

// check refuses what is not of the network, and what the administrator of the
// host does not allow.
func (s sysctls) check(allowlist string) error {
	allowed, err := readAllowlist(allowlist)
	if err != nil {
		return err
	}
	for _, have := range s {
		if !strings.HasPrefix(pathOf(have.key), "net/") {
			return fmt.Errorf("key sysctl: %q is not a parameter of the network: want net.*", have.key)
		}
		if !allowed.match(have.key) {
			return cni.Errorf(cni.CodeConfig, "key sysctl: %q is not allowed on this host", have.key).
				WithHint("add a regular expression for it to %s", allowlist)
		}
	}
	return nil
}

// patterns are those of the allowlist; nil allows everything.
type patterns []*regexp.Regexp

func (p patterns) match(key string) bool {
	for _, pattern := range p {
		if pattern.MatchString(key) {
			return true
		}
	}
	return p == nil
}

// readAllowlist reads a file of one regular expression per line, which match
// anywhere in a key. Without the file everything is allowed; an empty one
// allows nothing.
func readAllowlist(file string) (patterns, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the list of allowed sysctls: %w", err)
	}
	result := patterns{}
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		pattern, err := regexp.Compile(line)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		result = append(result, pattern)
	}
	return result, nil
}
