package monitor

import (
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/moby/profiles/apparmor"
)

// defaultProfile is docker's profile under our name.
const defaultProfile = "netctl-default"

// apparmor is the profile to run under, "" for none. One that was asked for and
// can't be had is an error; our own default, on a host that can't load it, is a
// notice in the monitor's log and an empty field in inspect.
func (m *monitor) apparmor() (string, error) {
	wanted := m.cfg.Security.AppArmor
	if !apparmorEnabled() {
		if wanted != "" && wanted != "unconfined" {
			return "", fmt.Errorf("--security-opt apparmor=%s: this host's kernel has no AppArmor, or it is off", wanted)
		}
		return "", nil
	}
	switch wanted {
	case "unconfined":
		return "unconfined", nil
	case "":
		return m.defaultApparmor(), nil
	}
	loaded, err := apparmor.IsLoaded(wanted)
	if err != nil {
		return "", fmt.Errorf("--security-opt apparmor=%s: %w", wanted, err)
	}
	if !loaded {
		return "", fmt.Errorf("--security-opt apparmor=%s: no such profile is loaded (see apparmor_parser)", wanted)
	}
	return wanted, nil
}

// defaultApparmor loads our profile with the first container after a boot.
func (m *monitor) defaultApparmor() string {
	loaded, err := apparmor.IsLoaded(defaultProfile)
	if err == nil && !loaded {
		if _, err = exec.LookPath("apparmor_parser"); err == nil {
			err = apparmor.InstallDefault(defaultProfile)
		}
	}
	if err != nil {
		m.log.Warn("the container runs without an AppArmor profile", "profile", defaultProfile, "err", err)
		return ""
	}
	return defaultProfile
}

func apparmorEnabled() bool {
	b, err := os.ReadFile("/sys/module/apparmor/parameters/enabled")
	return err == nil && strings.HasPrefix(string(b), "Y")
}

// DefaultProfile tells what becomes of a container that asks for no AppArmor
// profile: which one it runs under, "" for none, and, where the kernel has
// AppArmor and there is none, why.
func DefaultProfile() (name, problem string) {
	if !apparmorEnabled() {
		return "", ""
	}
	loaded, err := apparmor.IsLoaded(defaultProfile)
	switch {
	case err != nil:
		return "", err.Error()
	case loaded:
		return defaultProfile, ""
	}
	if _, err := exec.LookPath("apparmor_parser"); err != nil {
		return "", "apparmor_parser is not installed, which loads it"
	}
	return "", "apparmor_parser has not loaded it"
}
