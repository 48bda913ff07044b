// Package protocol is CNI as it looks on the wire: a process started with an
// environment and some JSON on standard input, and what comes back on standard
// output and in the exit status.
//
// It decodes as little as a judge needs and keeps the raw bytes, because a
// judge must see what a library would have repaired. Nothing here refuses a
// document for being odd; Shape and the rows say what is odd about it.
//
// The text is the CNI specification 1.1.0 (containernetworking/cni SPEC.md);
// older shapes come from its spec-v0.x tags.
package protocol

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// The operations of the specification.
const (
	Add     = "ADD"
	Del     = "DEL"
	Check   = "CHECK"
	GC      = "GC"
	Status  = "STATUS"
	Version = "VERSION"
)

// The environment variables that carry a request's parameters.
const (
	EnvCommand     = "CNI_COMMAND"
	EnvContainerID = "CNI_CONTAINERID"
	EnvNetns       = "CNI_NETNS"
	EnvIfName      = "CNI_IFNAME"
	EnvArgs        = "CNI_ARGS"
	EnvPath        = "CNI_PATH"
)

// Error codes reserved by the specification, and the one the libraries use
// for a request that names the plugin's own namespace.
const (
	CodeVersion     = 1
	CodeUnsupported = 2
	CodeUnknown     = 3
	CodeEnvironment = 4
	CodeIO          = 5
	CodeDecode      = 6
	CodeConfig      = 7
	CodeOwnNetns    = 8
	CodeTryLater    = 11
	CodeUnavailable = 50
	CodeImpaired    = 51
)

// Request is one call of one plugin. A variable that is absent from Env is
// unset, which is not the same as empty.
type Request struct {
	Plugin string            // path of the executable
	Args   []string          // none for a plugin; for a program that runs one
	Env    map[string]string // CNI_* and anything else the plugin should see
	Stdin  []byte
	Dir    string        // working directory; "" is the suite's own
	Limit  time.Duration // killed after this, later on a busy machine; 0 means DefaultLimit
}

// DefaultLimit bounds a call that is not itself about time. Runtimes give a
// plugin a minute; a plugin that needs more than a third of it hangs.
const DefaultLimit = 20 * time.Second

// Verb is the operation asked for.
func (r Request) Verb() string { return r.Env[EnvCommand] }

// With returns a copy with one variable set.
func (r Request) With(key, value string) Request {
	r.Env = copyEnv(r.Env)
	r.Env[key] = value
	return r
}

// Without returns a copy with variables removed.
func (r Request) Without(keys ...string) Request {
	r.Env = copyEnv(r.Env)
	for _, key := range keys {
		delete(r.Env, key)
	}
	return r
}

// Sending returns a copy with another document on standard input.
func (r Request) Sending(stdin []byte) Request {
	r.Stdin = stdin
	return r
}

func copyEnv(env map[string]string) map[string]string {
	out := make(map[string]string, len(env)+1)
	for k, v := range env {
		out[k] = v
	}
	return out
}

// Environ is Env in the form of os/exec, sorted so that records compare.
func (r Request) Environ() []string {
	env := make([]string, 0, len(r.Env))
	for k, v := range r.Env {
		env = append(env, k+"="+v)
	}
	slices.Sort(env)
	return env
}

// Shell is the request as a line for a POSIX shell.
func (r Request) Shell() string {
	var b strings.Builder
	if r.Dir != "" {
		fmt.Fprintf(&b, "cd %s; ", Quote(r.Dir))
	}
	fmt.Fprintf(&b, "printf %%s %s | env -i", Quote(string(r.Stdin)))
	for _, kv := range r.Environ() {
		b.WriteString(" " + Quote(kv))
	}
	for _, word := range append([]string{r.Plugin}, r.Args...) {
		b.WriteString(" " + Quote(word))
	}
	return b.String()
}

// Quote makes one shell word of s.
func Quote(s string) string {
	plain := func(c rune) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("_-./:=,@%+", c)
	}
	if s != "" && strings.IndexFunc(s, func(c rune) bool { return !plain(c) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
