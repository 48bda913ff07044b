package report

import (
	"fmt"
	"strings"

	"github.com/netctl/netctl/conformance/protocol"
	"github.com/netctl/netctl/conformance/trial"
)

// Call is one execution of a plugin.
type Call struct {
	Env     []string `json:"env"`
	Stdin   string   `json:"stdin"`
	Exit    int      `json:"exit"`
	Signal  string   `json:"signal,omitempty"`
	Late    bool     `json:"killedForItsLimit,omitempty"`
	Stdout  string   `json:"stdout,omitempty"`
	Stderr  string   `json:"stderr,omitempty"`
	Seconds float64  `json:"seconds"`
}

func calls(steps []trial.Step) []Call {
	var out []Call
	for _, s := range steps {
		out = append(out, Call{
			Env: s.Request.Environ(), Stdin: string(s.Request.Stdin), Exit: s.Reply.Exit, Signal: s.Reply.Signal, Late: s.Reply.TimedOut,
			Stdout: string(s.Reply.Stdout), Stderr: string(s.Reply.Stderr), Seconds: s.Reply.Took.Seconds(),
		})
	}
	return out
}

// Sent is the request on one line: the CNI variables, then standard input.
func (c Call) Sent() string {
	var words []string
	for _, kv := range c.Env {
		if !strings.HasPrefix(kv, "PATH=") && !strings.HasPrefix(kv, protocol.EnvPath+"=") {
			words = append(words, protocol.Quote(kv))
		}
	}
	return strings.Join(append(words, "<", orNothing(protocol.Compact([]byte(c.Stdin)))), " ")
}

// Answer is what came back, on one line.
func (c Call) Answer() string {
	end := fmt.Sprintf("exit %d", c.Exit)
	switch {
	case c.Late:
		end = "killed for its time limit"
	case c.Signal != "":
		end = "ended by " + c.Signal
	}
	end += fmt.Sprintf(" after %.3f s, stdout %s", c.Seconds, orNothing(protocol.Compact([]byte(c.Stdout))))
	if c.Stderr != "" {
		end += ", stderr " + protocol.Compact([]byte(c.Stderr))
	}
	return end
}

func orNothing(text string) string {
	if text == "" {
		return "nothing"
	}
	return text
}
