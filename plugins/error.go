package plugins

import "github.com/netctl/netctl/plugins/internal/cni"

// Error is the failure of a plugin, with the code a runtime would see and,
// where there is one, what to do.
type Error = cni.Error

// CodePort is the code of an Error about a host port that is in use.
const CodePort = cni.CodePort

// Result is what ADD answers.
type Result = cni.Result
