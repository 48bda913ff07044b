package trial

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/netctl/netctl/conformance/lab"
	"github.com/netctl/netctl/conformance/protocol"
)

// Verdict is how a row came out for a subject.
type Verdict string

// Verdicts. A blocked row could not be judged because something it builds on
// failed, which another row reports.
const (
	Pass          Verdict = "pass"
	Fail          Verdict = "fail"
	NotApplicable Verdict = "n/a"
	Blocked       Verdict = "blocked"
	Known         Verdict = "known"
)

// Interrupted is the reason of a row that was not judged to its end because
// the run was ended.
const Interrupted = "interrupted"

// Finding is one thing that was not as it should be.
type Finding struct {
	Want string `json:"want"`
	Got  string `json:"got"`
	Call int    `json:"call,omitempty"` // number, from 1, of the call before it
}

// Step is one call of a plugin and its answer.
type Step struct {
	Request protocol.Request
	Reply   *protocol.Reply
}

// T is a row in progress.
type T struct {
	Subject *Subject
	Host    *lab.Host

	ctx context.Context
	row *Row

	mu       sync.Mutex
	placed   int
	steps    []Step
	findings []Finding
	verdict  Verdict
	reason   string
}

// Outcome is a judged row.
type Outcome struct {
	Verdict  Verdict
	Reason   string // for n/a, blocked and known
	Findings []Finding
	Steps    []Step
	Shell    string // reproduces the row without the suite
	Partial  string // what the shell line leaves out
	Took     time.Duration
}

// Judge runs a row's check against a subject on a fresh lab host. The program
// at self plays the delegate.
func Judge(ctx context.Context, row *Row, subject *Subject, self string) Outcome {
	started := time.Now()
	if row.Check == nil {
		return Outcome{Verdict: NotApplicable, Reason: row.Never}
	}
	host, err := lab.NewHost(lab.Options{Uplink: subject.Uplink, Keep: subject.Path, Self: self})
	if err != nil {
		return Outcome{Verdict: Blocked, Reason: err.Error(), Took: time.Since(started)}
	}
	defer host.Close()
	t := &T{Subject: subject, Host: host, ctx: ctx, row: row}
	t.run()
	out := t.outcome()
	out.Took = time.Since(started)
	return out
}

// run gives the check a goroutine it may leave early.
func (t *T) run() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				t.set(Blocked, fmt.Sprintf("the check itself failed: %v", p))
			}
		}()
		t.row.Check(t)
	}()
	<-done
}

func (t *T) outcome() Outcome {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := Outcome{Verdict: t.verdict, Reason: t.reason, Findings: t.findings, Steps: t.steps}
	switch {
	case t.ctx.Err() != nil:
		// The plugins were killed; what they did then says nothing.
		out.Verdict, out.Reason, out.Findings = Blocked, Interrupted, nil
	case len(t.findings) > 0:
		out.Verdict, out.Reason = Fail, ""
	case out.Verdict == "":
		out.Verdict = Pass
	}
	out.Shell, out.Partial = t.Host.Script.OneLine()
	return out
}

func (t *T) set(v Verdict, reason string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.verdict == "" {
		t.verdict, t.reason = v, reason
	}
}

// Expect records a finding unless ok, and reports ok.
func (t *T) Expect(ok bool, want, got string, args ...any) bool {
	if !ok {
		text := fmt.Sprintf(got, args...)
		if json.Valid([]byte(text)) {
			text = protocol.Compact([]byte(text))
		}
		t.mu.Lock()
		t.findings = append(t.findings, Finding{want, text, len(t.steps)})
		t.mu.Unlock()
	}
	return ok
}

// Require is Expect, and ends the check when it fails.
func (t *T) Require(ok bool, want, got string, args ...any) {
	if !t.Expect(ok, want, got, args...) {
		runtime.Goexit()
	}
}

// Failed reports whether there are findings so far.
func (t *T) Failed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.findings) > 0
}

// Block ends the check: the row cannot be judged.
func (t *T) Block(format string, args ...any) {
	t.set(Blocked, fmt.Sprintf(format, args...))
	runtime.Goexit()
}

// NotApplicable ends the check: the row does not concern this subject.
func (t *T) NotApplicable(format string, args ...any) {
	t.set(NotApplicable, fmt.Sprintf(format, args...))
	runtime.Goexit()
}

// Must blocks the row when the lab could not do something.
func (t *T) Must(err error) {
	if err != nil {
		t.Block("%v", err)
	}
}

// Altered is Must for a change to the kernel that the row makes itself and that
// the shell line leaves out.
func (t *T) Altered(err error) {
	t.Must(err)
	t.Host.Script.Cannot("between the calls, links, addresses or routes are changed")
}

// Need makes the row not applicable unless ok.
func (t *T) Need(ok bool, reason string, args ...any) {
	if !ok {
		t.NotApplicable(reason, args...)
	}
}

// Call runs a request on the host and records it.
func (t *T) Call(r protocol.Request) *protocol.Reply {
	t.Host.Script.Addf("%s", r.Shell())
	return t.silently(r)
}

// silently is Call without the shell line, for rows that write their own.
func (t *T) silently(r protocol.Request) *protocol.Reply {
	reply, err := t.Host.Call(t.ctx, r)
	if err != nil {
		t.Block("run %s: %v", r.Plugin, err)
	}
	t.mu.Lock()
	t.steps = append(t.steps, Step{r, reply})
	t.mu.Unlock()
	return reply
}

// Parallel runs requests at the same time. The answers are in the order of
// the requests.
func (t *T) Parallel(requests []protocol.Request) []*protocol.Reply {
	replies := make([]*protocol.Reply, len(requests))
	var wg sync.WaitGroup
	for i, r := range requests {
		t.Host.Script.Addf("(%s) & true", r.Shell())
		wg.Go(func() { replies[i] = t.silently(r) })
	}
	wg.Wait()
	t.Host.Script.Addf("wait")
	for i, reply := range replies {
		if reply == nil {
			t.Block("call %d of %d did not start", i+1, len(requests))
		}
	}
	return replies
}

// Start begins a request without waiting, for rows that end it early.
func (t *T) Start(r protocol.Request) *lab.Process {
	p, err := t.Host.Start(t.ctx, r)
	t.Must(err)
	return p
}

// Succeed is Call that requires success.
func (t *T) Succeed(r protocol.Request) *protocol.Reply {
	reply := t.Call(r)
	t.Require(reply.OK(), r.Verb()+" succeeds", "%s", reply.Summary())
	return reply
}

// Refused is Call that requires a failure with a proper error document.
func (t *T) Refused(r protocol.Request, why string) *protocol.Failure {
	reply := t.Call(r)
	if !t.Expect(!reply.OK(), r.Verb()+" is refused: "+why, "%s", reply.Summary()) {
		return nil
	}
	f, err := reply.Failure()
	if !t.Expect(err == nil, "one JSON error document on stdout: "+why, "%v; %s", err, reply.Summary()) {
		return nil
	}
	return f
}

// Code is Refused with one of the given codes.
func (t *T) Code(r protocol.Request, why string, codes ...int) *protocol.Failure {
	f := t.Refused(r, why)
	if f == nil {
		return nil
	}
	var want []string
	for _, code := range codes {
		if f.Code == code {
			return f
		}
		want = append(want, strconv.Itoa(code))
	}
	t.Expect(false, fmt.Sprintf("code %s: %s", strings.Join(want, " or "), why), "code %d: %s", f.Code, f.Text())
	return f
}
