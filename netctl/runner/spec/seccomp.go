package spec

import (
	"fmt"

	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// Words for Security.Seccomp. Anything else is a profile in docker's JSON form.
const (
	SeccompDefault    = ""
	SeccompCompat     = "compat"
	SeccompUnconfined = "unconfined"
)

// seccompProfile expands moby's profile, or the given one, for the capabilities
// in s. The default drops the ABIs a 64-bit program does not use; their calls
// are then killed instead of filtered.
func seccompProfile(wish string, s *specs.Spec) (*specs.LinuxSeccomp, error) {
	switch wish {
	case SeccompUnconfined:
		return nil, nil
	case SeccompDefault:
		p, err := seccomp.GetDefaultProfile(s)
		if err != nil {
			return nil, fmt.Errorf("default seccomp profile: %w", err)
		}
		p.Architectures = nil
		return p, nil
	case SeccompCompat:
		return seccomp.GetDefaultProfile(s)
	}
	p, err := seccomp.LoadProfile(wish, s)
	if err != nil {
		return nil, fmt.Errorf("seccomp profile: %w", err)
	}
	return p, nil
}
