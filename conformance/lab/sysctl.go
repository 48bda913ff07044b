package lab

import (
	"os"
	"path/filepath"
)

// Sysctl writes one setting below /proc/sys/net of this namespace.
func (n *Netns) Sysctl(key, value string) error {
	n.recordf("sysctl -qw net/%s=%s", key, value)
	return n.Do(func() error { return os.WriteFile("/proc/sys/net/"+key, []byte(value), 0o644) })
}

// ReadSysctl reads one setting below /proc/sys/net of this namespace.
func (n *Netns) ReadSysctl(key string) (string, error) {
	var b []byte
	err := n.Do(func() (err error) { b, err = os.ReadFile("/proc/sys/net/" + key); return err })
	return trimmed(b), err
}

// LinkSysctls reads the settings of one link ("default" is a link too) in both
// families. The keys are like "ipv6/conf/%/accept_ra", % standing for the link.
func (n *Netns) LinkSysctls(link string) (map[string]string, error) {
	out := map[string]string{}
	err := n.Do(func() error {
		for _, family := range []string{"ipv4", "ipv6"} {
			dir := filepath.Join("/proc/sys/net", family, "conf", link)
			entries, err := os.ReadDir(dir)
			if err != nil {
				return err
			}
			for _, entry := range entries {
				// Some, stable_secret for one, cannot be read until they are set.
				if b, err := os.ReadFile(filepath.Join(dir, entry.Name())); err == nil {
					out[family+"/conf/%/"+entry.Name()] = trimmed(b)
				}
			}
		}
		return nil
	})
	return out, err
}

// SetLinkSysctls gives a link the settings read from another one. Settings the
// kernel lets nobody write are passed over.
func (n *Netns) SetLinkSysctls(link string, settings map[string]string) error {
	n.cannot("settings of " + link + " are made the same as another link's")
	return n.Do(func() error {
		for key, value := range settings {
			family, name := key[:4], filepath.Base(key)
			path := filepath.Join("/proc/sys/net", family, "conf", link, name)
			if b, err := os.ReadFile(path); err != nil || trimmed(b) == value {
				continue
			}
			if err := os.WriteFile(path, []byte(value), 0o644); err != nil && !os.IsPermission(err) {
				return err
			}
		}
		return nil
	})
}
