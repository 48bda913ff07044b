// Package cni speaks the protocol of the Container Network Interface: it reads
// a request from the environment and standard input, checks it before anything
// is touched, calls the plugin, and writes one document to standard output: a
// result in the caller's version, or an error with code, message and hint.
//
// The library's own dispatcher (skel) is not used because it can't answer as
// the specification asks in several places: it prints a result and then an
// error for a plugin's own namespace, refuses a missing CNI_PATH, answers
// VERSION with its own version and does not survive a panic (spec cni, C002,
// C003, C019, C027, C045).
package cni

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/netctl/netctl/ipam/quickjson"
)

// A Plugin does the work of the verbs. Results are of the newest version; the
// caller's is made from them.
type Plugin interface {
	Add(context.Context, *Request) (*current.Result, error)
	Del(context.Context, *Request) error
	Check(context.Context, *Request) error
	GC(context.Context, *Request) error
	Status(context.Context, *Request) error
}

// Banner is the release of the reference plugins whose behaviour and keys ours
// have. nerdctl decides by the firewall plugin's banner what it can do (at
// least 1.7.1 for isolation), so it is their number, not our own.
const Banner = "1.9.1"

// Supported are the specification's versions we answer in.
func Supported() []string { return version.All.SupportedVersions() }

// supported are those of this plugin.
func (c Call) supported() []string {
	all := Supported()
	return all[max(0, slices.Index(all, c.Oldest)):]
}

// Call is one run of a plugin: who it is, what it was given, where it answers.
type Call struct {
	Name   string
	Plugin Plugin
	// Oldest is the first version of the specification that the plugin
	// answers in; "" is the very first.
	Oldest string
	Getenv Getenv
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
}

// Run carries a call out and returns the exit status: 0, or 1 for any failure.
func (c Call) Run(ctx context.Context) int {
	switch c.Getenv("CNI_COMMAND") {
	case "":
		fmt.Fprintf(c.Stderr, "CNI %s plugin v%s\n", c.Name, Banner)
		fmt.Fprintf(c.Stderr, "CNI protocol versions supported: %s\n", strings.Join(c.supported(), ", "))
		return 0
	case string(Version):
		return c.version()
	}
	out, conf, err := c.serve(ctx)
	if err != nil {
		return c.fail(err, conf.CNIVersion)
	}
	return c.print(out)
}

// version answers VERSION in the caller's own version, whatever else came.
func (c Call) version() int {
	var conf struct {
		CNIVersion string `json:"cniVersion"`
	}
	data, _ := io.ReadAll(c.Stdin) // VERSION must work with any input (C046)
	if json.Unmarshal(data, &conf) != nil || conf.CNIVersion == "" {
		conf.CNIVersion = version.Current()
	}
	return c.print(struct {
		CNIVersion        string   `json:"cniVersion"`
		SupportedVersions []string `json:"supportedVersions"`
	}{conf.CNIVersion, c.supported()})
}

// serve parses and dispatches. The document is nil for verbs without a result.
func (c Call) serve(ctx context.Context) (out any, conf NetConf, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			fmt.Fprintf(c.Stderr, "%v\n%s", fault, debug.Stack())
			err = Errorf(CodeInternal, "internal error in plugin %s: %v", c.Name, fault).
				WithHint("this is a fault of the plugin; its standard error has the details")
		}
	}()
	data, err := io.ReadAll(c.Stdin)
	if err != nil {
		return nil, conf, Errorf(CodeIO, "read standard input: %w", err)
	}
	req, err := Parse(c.Getenv, data)
	if err == nil {
		err = checkVersion(req.Command, req.Conf.CNIVersion, c.supported())
	}
	if err != nil {
		return nil, req.Conf, err
	}
	out, err = c.dispatch(ctx, req)
	return out, req.Conf, err
}

// Parse reads and checks a whole request. Even a request that is refused has
// the version to answer in, where it could be read.
func Parse(getenv Getenv, stdin []byte) (*Request, error) {
	req, envErr := parseEnvironment(getenv)
	conf, err := parseConf(stdin)
	req.Conf, req.Stdin = conf, stdin
	if envErr != nil {
		return req, envErr
	}
	if err != nil {
		return req, err
	}
	return req, checkVersion(req.Command, conf.CNIVersion, Supported())
}

// introduced is the first version that has a verb.
var introduced = map[Command]string{Check: "0.4.0", GC: "1.1.0", Status: "1.1.0"}

func checkVersion(command Command, asked string, supported []string) error {
	if !slices.Contains(supported, asked) {
		return Errorf(CodeVersion, "incompatible cniVersion %q: want one of %s", asked, strings.Join(supported, ", ")).
			WithHint("config is %q, plugin supports %q", asked, supported)
	}
	all := Supported()
	if first := introduced[command]; first != "" && slices.Index(all, asked) < slices.Index(all, first) {
		return Errorf(CodeVersion, "cniVersion %q has no %s: want %s or newer", asked, command, first)
	}
	return nil
}

func (c Call) dispatch(ctx context.Context, req *Request) (any, error) {
	switch req.Command {
	case Add:
		result, err := c.Plugin.Add(ctx, req)
		if err != nil {
			return nil, err
		}
		return Convert(result, req.Conf.CNIVersion)
	case Del:
		return nil, c.Plugin.Del(ctx, req)
	case Check:
		return nil, c.Plugin.Check(ctx, req)
	case GC:
		return nil, c.Plugin.GC(ctx, req)
	case Status:
		return nil, c.Plugin.Status(ctx, req)
	}
	return nil, Errorf(CodeEnvironment, "unknown CNI_COMMAND %q", req.Command)
}

// Convert turns a result into the form of another version.
func Convert(result *current.Result, to string) (types.Result, error) {
	result.CNIVersion = current.ImplementedSpecVersion
	if to != current.ImplementedSpecVersion {
		result = withoutNews(result)
	}
	converted, err := result.GetAsVersion(to)
	if err != nil {
		return nil, Errorf(CodeConfig, "result can't be written in version %s: %w", to, err)
	}
	return converted, nil
}

// withoutNews leaves out what interfaces have had since 1.1.0; the library's
// conversion writes it in 1.0.0 too.
func withoutNews(result *current.Result) *current.Result {
	older := *result
	older.Interfaces = nil
	for _, link := range result.Interfaces {
		older.Interfaces = append(older.Interfaces, &current.Interface{Name: link.Name, Mac: link.Mac, Sandbox: link.Sandbox})
	}
	return &older
}

// PrevResult decodes the result of the plugins before this one, of any version.
// It is nil where there is none.
func (r *Request) PrevResult() (*current.Result, error) {
	if len(r.Conf.PrevResult) == 0 || string(r.Conf.PrevResult) == "null" {
		return nil, nil
	}
	result, err := DecodeResult(r.Conf.PrevResult, r.Conf.CNIVersion) // below 1.0.0 libcni leaves the version out
	if err != nil {
		return nil, Errorf(CodeDecode, "key prevResult: %w", err)
	}
	return result, nil
}

// fail prints the error document.
func (c Call) fail(err error, version string) int {
	if version == "" {
		version = "0.1.0"
	}
	d := documentOf(err, version)
	if c.Getenv("CNI_COMMAND") == string(Del) {
		d.Msg, d.Details = notTakenForSuccess(d.Msg), notTakenForSuccess(d.Details)
	}
	c.print(d)
	return 1
}

func (c Call) print(document any) int {
	if document == nil {
		return 0
	}
	data, err := indented(document)
	if err == nil {
		_, err = c.Stdout.Write(append(data, '\n'))
	}
	if err != nil {
		fmt.Fprintf(c.Stderr, "write standard output: %v\n", err)
		return 1
	}
	return 0
}

// indented writes a document as the library's PrintTo does.
func indented(document any) ([]byte, error) {
	if result, ok := document.(*current.Result); ok {
		document = documentOfResult(result)
	}
	data, err := quickjson.Marshal(document)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = json.Indent(&b, data, "", "    ")
	return b.Bytes(), err
}

// Result is a result in the newest version.
type Result = current.Result
