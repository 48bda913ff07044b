package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// Reply is what a call gave back.
type Reply struct {
	Stdout   []byte
	Stderr   []byte
	Exit     int    // -1 when a signal ended the process
	Signal   string // its name, or ""
	TimedOut bool   // the suite killed it at Request.Limit
	Took     time.Duration
}

// OK reports success by exit status, the only thing that says so.
func (r *Reply) OK() bool { return r.Exit == 0 && !r.TimedOut }

// Documents counts the JSON documents on standard output. It fails when
// anything else stands between or behind them.
func (r *Reply) Documents() (int, error) {
	dec := json.NewDecoder(bytes.NewReader(r.Stdout))
	for n := 0; ; n++ {
		var doc json.RawMessage
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, fmt.Errorf("stdout is not JSON after %d document(s): %w", n, err)
		}
	}
}

// Object decodes standard output as exactly one JSON object.
func (r *Reply) Object() (map[string]any, error) {
	n, err := r.Documents()
	if err != nil {
		return nil, err
	}
	if n != 1 {
		return nil, fmt.Errorf("stdout holds %d JSON documents, not one", n)
	}
	var obj map[string]any
	dec := json.NewDecoder(bytes.NewReader(r.Stdout))
	dec.UseNumber()
	if err := dec.Decode(&obj); err != nil {
		return nil, fmt.Errorf("stdout is not a JSON object: %w", err)
	}
	return obj, nil
}

// Failure is the error document of the specification's section 5, "Error".
type Failure struct {
	CNIVersion string
	Code       int
	Msg        string
	Details    string
	Raw        map[string]any
}

// Text is everything the document says in words.
func (f *Failure) Text() string { return f.Msg + " " + f.Details }

// Failure decodes standard output as one error document.
func (r *Reply) Failure() (*Failure, error) {
	obj, err := r.Object()
	if err != nil {
		return nil, err
	}
	f := &Failure{Raw: obj}
	f.CNIVersion, _ = obj["cniVersion"].(string)
	code, ok := obj["code"].(json.Number)
	if !ok {
		return nil, fmt.Errorf(`error document has no number "code"`)
	}
	n, err := code.Int64()
	if err != nil {
		return nil, fmt.Errorf(`error "code" is not a whole number: %s`, code)
	}
	f.Code = int(n)
	if f.Msg, _ = obj["msg"].(string); f.Msg == "" {
		return nil, fmt.Errorf(`error document has no "msg"`)
	}
	if details, present := obj["details"]; present {
		if f.Details, ok = details.(string); !ok {
			return nil, fmt.Errorf(`error "details" is not a string`)
		}
	}
	return f, nil
}

// Crashed recognises a program that fell over rather than answered: a signal,
// a Go panic, a Python trace, a failed assertion.
func (r *Reply) Crashed() bool {
	if r.Signal != "" && !r.TimedOut {
		return true
	}
	both := string(r.Stderr) + string(r.Stdout)
	for _, trace := range []string{"panic:", "\ngoroutine ", "Traceback (most recent call last)", "thread 'main' panicked", "Assertion `"} {
		if strings.Contains(both, trace) {
			return true
		}
	}
	return false
}

// Summary is the reply in a line or two, for reports.
func (r *Reply) Summary() string {
	end := fmt.Sprintf("exit %d", r.Exit)
	switch {
	case r.TimedOut:
		end = fmt.Sprintf("still running after %s, killed", r.Took.Round(time.Millisecond))
	case r.Signal != "":
		end = "ended by " + r.Signal
	}
	if out := Compact(r.Stdout); out != "" {
		end += ", stdout " + out
	}
	if errs := Compact(r.Stderr); errs != "" {
		end += ", stderr " + errs
	}
	return end
}

// Compact is input or output on one line, shortened to what fits in a report:
// JSON documents without white space, one behind the other, and what else
// there is with a sign for the ends of lines.
func Compact(b []byte) string {
	const most = 700
	var out []string
	rest := bytes.TrimSpace(b)
	for len(rest) > 0 {
		var doc json.RawMessage
		dec := json.NewDecoder(bytes.NewReader(rest))
		if dec.Decode(&doc) != nil {
			break
		}
		var buf bytes.Buffer
		json.Compact(&buf, doc)
		out = append(out, buf.String())
		rest = bytes.TrimSpace(rest[dec.InputOffset():])
	}
	if len(rest) > 0 {
		out = append(out, strings.ReplaceAll(string(rest), "\n", " ⏎ "))
	}
	text := strings.Join(out, " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + fmt.Sprintf(" … (%d bytes)", len(text))
	}
	return text
}
