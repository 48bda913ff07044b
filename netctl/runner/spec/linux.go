package spec

import "github.com/opencontainers/runtime-spec/specs-go"

// Linux is a specification for writing it down. encoding/json learns, and keeps, all
// types that it may meet, and the whole specification has those of five systems: a
// tenth of a monitor's memory.
func Linux(s *specs.Spec) any {
	return struct {
		Version     string            `json:"ociVersion"`
		Process     *specs.Process    `json:"process,omitempty"`
		Root        *specs.Root       `json:"root,omitempty"`
		Hostname    string            `json:"hostname,omitempty"`
		Domainname  string            `json:"domainname,omitempty"`
		Mounts      []specs.Mount     `json:"mounts,omitempty"`
		Annotations map[string]string `json:"annotations,omitempty"`
		Linux       *specs.Linux      `json:"linux,omitempty"`
	}{s.Version, s.Process, s.Root, s.Hostname, s.Domainname, s.Mounts, s.Annotations, s.Linux}
}
