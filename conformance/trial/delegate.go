package trial

import (
	"encoding/json"
	"path/filepath"

	"github.com/netctl/netctl/conformance/double"
	"github.com/netctl/netctl/conformance/lab"
	"github.com/netctl/netctl/conformance/protocol"
)

// writeScript puts the delegate's script where it looks for it.
func (t *T) writeScript(script double.Script) error {
	b, err := json.Marshal(script)
	if err != nil {
		return err
	}
	t.Host.Script.Addf("mkdir -p %s; ln -sf \"$(command -v cni-conformance)\" %s", lab.DoubleDir, filepath.Join(lab.DoubleDir, double.Name))
	return t.Host.WriteFile(double.ScriptFile, b, 0o600)
}

// Delegated points the attachment's network at the suite's own IPAM plugin
// and tells that one to answer ADD with the given result.
func (a *Attachment) Delegated(res *protocol.Result) {
	a.Conf = a.Conf.With("ipam", map[string]any{"type": double.Name})
	a.t.Script(double.Script{protocol.Add: Answers(res, a.Version())})
}

// Answers is the delegate's answer that carries a result.
func Answers(res *protocol.Result, version string) double.Answer {
	return double.Answer{Stdout: string(res.Encode(version)) + "\n"}
}

// Refuses is the delegate's answer that is an error.
func Refuses(code int, msg string) double.Answer {
	b, _ := json.Marshal(map[string]any{"cniVersion": "1.0.0", "code": code, "msg": msg})
	return double.Answer{Stdout: string(b) + "\n", Exit: 1}
}

// Calls is what the delegate was asked so far, oldest first.
func (t *T) Calls() []double.Call {
	var calls []double.Call
	t.Must(t.Host.Do(func() (err error) { calls, err = double.Calls(); return err }))
	return calls
}

// Addresses is the result of an IPAM plugin: one address per family, the
// gateways, and the routes given.
func Addresses(routes ...protocol.Route) *protocol.Result {
	return &protocol.Result{
		IPs: []protocol.IP{
			{Address: "10.214.0.5/24", Gateway: "10.214.0.1"},
			{Address: "fd00:bee::5/64", Gateway: "fd00:bee::1"},
		},
		Routes: routes,
	}
}
