package network

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// A name must be a file name and a DNS label for X.NETWORK lookups. Dots are
// allowed because CNI and podman allow them; HasDots lets the caller warn.
var namePattern = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)

const maxName = 63 // bytes in a DNS label, RFC 1035 section 2.3.4

// reservedNames mean something else after --network.
func reservedNames() []string {
	return []string{Default, Host, None, "default", "private", "pasta", "slirp4netns"}
}

// CheckName tells whether a network may be called name.
func CheckName(name string) error {
	switch {
	case len(name) > maxName:
		return fmt.Errorf("invalid network name %q: longer than %d bytes", name, maxName)
	case !namePattern.MatchString(name):
		return fmt.Errorf("invalid network name %q: want letters, digits, '_', '.' and '-', beginning with a letter or digit", name)
	case slices.Contains(reservedNames(), name):
		return fmt.Errorf("network name %s is reserved", name)
	}
	return nil
}

// HasDots tells of a name that can't be a single DNS label: NAME.NETWORK then
// resolves only when nothing else is called like its last part.
func HasDots(name string) bool { return strings.Contains(name, ".") }

func predefinedName(name string) bool { return name == Default || name == Host || name == None }

// predefined are the networks that exist on every host. The default network's
// list is nil until Store.Load has made it.
func predefined() []Network {
	return []Network{
		{Name: Default, ID: derivedID(Default), Driver: driverBridge},
		{Name: Host, ID: derivedID(Host), Driver: "host", List: predefinedList(Host)},
		{Name: None, ID: derivedID(None), Driver: "null", List: predefinedList(None)},
	}
}

// predefinedList is the list of the mode that is called like its plugin.
func predefinedList(name string) []byte {
	return fmt.Appendf(nil, `{"cniVersion":%q,"cniVersions":[%q,%q],"name":%q,"plugins":[{"type":%q}]}`,
		cniVersion, cniVersion, cniNewest, name, name)
}

// derivedID gives predefined and foreign networks an ID that stays the same.
func derivedID(name string) string {
	sum := sha256.Sum256([]byte("netctl network " + name))
	return hex.EncodeToString(sum[:])
}
