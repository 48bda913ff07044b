package cni

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	current "github.com/containernetworking/cni/pkg/types/100"
)

// double is a plugin that answers what the test wants.
type double struct {
	result *current.Result
	err    error
	panics bool
}

func (d double) Add(context.Context, *Request) (*current.Result, error) {
	if d.panics {
		panic("boom")
	}
	return d.result, d.err
}
func (d double) Del(context.Context, *Request) error    { return d.err }
func (d double) Check(context.Context, *Request) error  { return d.err }
func (d double) GC(context.Context, *Request) error     { return d.err }
func (d double) Status(context.Context, *Request) error { return d.err }

type environment map[string]string

func env(verb string) environment {
	return environment{"CNI_COMMAND": verb, "CNI_CONTAINERID": "c1", "CNI_NETNS": "/run/netns/c1", "CNI_IFNAME": "eth0"}
}

func (e environment) with(name, value string) environment {
	e[name] = value
	return e
}

func call(e environment, stdin string, p Plugin) (string, string, int) {
	var stdout, stderr bytes.Buffer
	status := Call{Name: "double", Plugin: p, Getenv: func(n string) string { return e[n] },
		Stdin: strings.NewReader(stdin), Stdout: &stdout, Stderr: &stderr}.Run(context.Background())
	return stdout.String(), stderr.String(), status
}

const conf = `{"cniVersion":"1.0.0","name":"net","type":"double"}`

func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		env     environment
		stdin   string
		code    Code
		version string
		msg     string
	}{
		"unknown verb":        {env("FROB"), conf, 4, "1.0.0", `unknown CNI_COMMAND "FROB": want ADD, DEL, CHECK, GC, STATUS or VERSION`},
		"all names missing":   {environment{"CNI_COMMAND": "ADD"}, conf, 4, "1.0.0", "required environment variables missing: CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME"},
		"DEL needs no netns":  {environment{"CNI_COMMAND": "DEL"}, conf, 4, "1.0.0", "required environment variables missing: CNI_CONTAINERID, CNI_IFNAME"},
		"container ID":        {env("ADD").with("CNI_CONTAINERID", "-x"), conf, 4, "1.0.0", `invalid CNI_CONTAINERID "-x": want letters, digits, '_', '.', '-', starting with a letter or digit`},
		"interface name":      {env("ADD").with("CNI_IFNAME", "a/b"), conf, 4, "1.0.0", `invalid CNI_IFNAME "a/b": want 1 to 15 bytes without '/', ':' and space, not '.' or '..'`},
		"args without =":      {env("ADD").with("CNI_ARGS", "A;B=1"), conf, 4, "1.0.0", `CNI_ARGS: invalid pair "A": want KEY=VALUE`},
		"args unknown":        {env("ADD").with("CNI_ARGS", "FOO=1"), conf, 4, "1.0.0", `CNI_ARGS: unknown key "FOO" (add IgnoreUnknown=1 to pass keys a plugin does not know)`},
		"empty input":         {env("ADD"), "", 6, "0.1.0", "configuration on standard input: invalid JSON: unexpected end of JSON input"},
		"no name":             {env("ADD"), `{"cniVersion":"1.0.0"}`, 7, "1.0.0", "key name is missing or empty: want the network's name"},
		"bad name":            {env("ADD"), `{"cniVersion":"1.0.0","name":"a b"}`, 7, "1.0.0", `invalid name "a b": want letters, digits, '_', '.', '-', starting with a letter or digit`},
		"wrong type":          {env("ADD"), `{"cniVersion":"1.0.0","name":"n","runtimeConfig":{"portMappings":[{"hostPort":"x"}]}}`, 6, "1.0.0", "configuration on standard input: key runtimeConfig.portMappings.hostPort: want a whole number, got \"x\""},
		"version":             {env("ADD"), `{"cniVersion":"1.2.0","name":"n"}`, 1, "1.2.0", `incompatible cniVersion "1.2.0": want one of 0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0`},
		"CHECK too early":     {env("CHECK"), `{"cniVersion":"0.3.1","name":"n"}`, 1, "0.3.1", `cniVersion "0.3.1" has no CHECK: want 0.4.0 or newer`},
		"GC too early":        {env("GC"), conf, 1, "1.0.0", `cniVersion "1.0.0" has no GC: want 1.1.0 or newer`},
		"STATUS too early":    {env("STATUS"), conf, 1, "1.0.0", `cniVersion "1.0.0" has no STATUS: want 1.1.0 or newer`},
		"the plugin's own":    {env("DEL"), conf, 101, "1.0.0", "pool is full"},
		"an error without":    {env("DEL").with("PLAIN", "1"), conf, 199, "1.0.0", "plain"},
		"no version is 0.1.0": {env("FROB"), `{"name":"n"}`, 4, "0.1.0", `unknown CNI_COMMAND "FROB": want ADD, DEL, CHECK, GC, STATUS or VERSION`},
	} {
		t.Run(name, func(t *testing.T) {
			plugin := double{err: Errorf(CodeExhausted, "pool is full").WithHint("make room")}
			if c.env["PLAIN"] != "" {
				plugin.err = errors.New("plain")
			}
			stdout, _, status := call(c.env, c.stdin, plugin)
			var d document
			if err := json.Unmarshal([]byte(stdout), &d); err != nil || status != 1 || !strings.HasSuffix(stdout, "}\n") {
				t.Fatalf("status %d, %v: %q", status, err, stdout)
			}
			if d.Code != c.code || d.Msg != c.msg || d.CNIVersion != c.version {
				t.Errorf("got %d %q in %s, want %d %q in %s", d.Code, d.Msg, d.CNIVersion, c.code, c.msg, c.version)
			}
			if c.code == CodeExhausted && d.Details != "make room" {
				t.Errorf("hint: %q", d.Details)
			}
		})
	}
}

func TestAPanicIsOneErrorDocument(t *testing.T) {
	stdout, stderr, status := call(env("ADD"), conf, double{panics: true})
	var d document
	if err := json.Unmarshal([]byte(stdout), &d); err != nil || status != 1 || d.Code != CodeInternal {
		t.Fatalf("status %d, %v: %s", status, err, stdout)
	}
	if !strings.Contains(stderr, "goroutine") {
		t.Errorf("no stack on standard error: %q", stderr)
	}
}

func TestVersionAndBanner(t *testing.T) {
	for stdin, want := range map[string]string{`{"cniVersion":"0.3.1"}`: "0.3.1", "": "1.1.0", "junk": "1.1.0", "{}": "1.1.0"} {
		stdout, _, status := call(environment{"CNI_COMMAND": "VERSION", "CNI_NETNS": "dummy"}, stdin, double{})
		var v struct {
			CNIVersion        string
			SupportedVersions []string
		}
		if err := json.Unmarshal([]byte(stdout), &v); err != nil || status != 0 || v.CNIVersion != want || len(v.SupportedVersions) != 7 {
			t.Errorf("%q: status %d, %v: %s", stdin, status, err, stdout)
		}
	}
	stdout, stderr, status := call(environment{}, "", double{})
	if first, _, _ := strings.Cut(stderr, "\n"); first != "CNI double plugin v"+Banner || stdout != "" || status != 0 {
		t.Errorf("banner: %q, %q, %d", stdout, stderr, status)
	}
}

func TestArgsInAnyOrder(t *testing.T) {
	for _, text := range []string{"IgnoreUnknown=1;K8S_POD_NAME=web;IP=10.0.0.1", "IP=10.0.0.1;K8S_POD_NAME=web;IgnoreUnknown=TRUE", ";IP=10.0.0.1;;K8S_POD_NAME=web;IgnoreUnknown=1;"} {
		args, err := ParseArgs(text)
		if err != nil || args["K8S_POD_NAME"] != "web" || args["IP"] != "10.0.0.1" {
			t.Errorf("%q: %v, %v", text, args, err)
		}
	}
	if args, err := ParseArgs("IP=a=b"); err != nil || args["IP"] != "a=b" {
		t.Errorf("= in a value: %v, %v", args, err)
	}
}

// TestKeysInAnyCase: containerd sends Go's field names.
func TestKeysInAnyCase(t *testing.T) {
	c, err := parseConf([]byte(`{"name":"n","runtimeConfig":{"portMappings":[{"HostPort":8080,"ContainerPort":80,"Protocol":"tcp","HostIP":"127.0.0.1"}],"dns":{"Servers":["192.0.2.1"]}}}`))
	want := PortMapping{HostPort: 8080, ContainerPort: 80, Protocol: "tcp", HostIP: "127.0.0.1"}
	if err != nil || c.RuntimeConfig.PortMappings[0] != want || c.RuntimeConfig.DNS.Servers[0] != "192.0.2.1" {
		t.Errorf("%+v, %v", c.RuntimeConfig, err)
	}
}

func TestValidList(t *testing.T) {
	for keys, want := range map[string]string{
		``:                                  "code 7",
		`,"cni.dev/valid-attachments":[]`:   "0",
		`,"cni.dev/valid-attachments":null`: "0",
		`,"cni.dev/valid-attachments":[{"containerID":"a","ifname":"b"}]`:                                  "1",
		`,"cni.dev/attachments":[{"containerID":"a"},{}]`:                                                  "2",
		`,"cni.dev/attachments":[{"containerID":"a"}],"cni.dev/valid-attachments":[],"cni.dev/other":"no"`: "0",
	} {
		c, err := parseConf([]byte(`{"name":"n"` + keys + `}`))
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		list, err := c.Valid()
		var failure *Error
		switch {
		case errors.As(err, &failure):
			got = fmt.Sprintf("code %d", failure.Code)
		default:
			got = fmt.Sprint(len(list))
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", keys, got, want)
		}
	}
}

// FuzzCall: whatever comes in, there is no panic, and standard output holds one
// JSON document on failure and nothing on a silent success.
func FuzzCall(f *testing.F) {
	f.Add("ADD", "IP=1;IgnoreUnknown=1", []byte(conf))
	f.Add("CHECK", "", []byte(`{"cniVersion":"1.1.0","name":"n","prevResult":{"ips":[{"address":"10.0.0.1/24"}]}}`))
	f.Add("GC", "=", []byte(`{"cniVersion":"1.1.0","name":"n","cni.dev/valid-attachments":[{}]}`))
	f.Add("DEL", "A", []byte(`{"name":"n","runtimeConfig":{"aliases":{"n":["a"]}},"ipam":{"type":3}}`))
	f.Fuzz(func(t *testing.T, verb, args string, stdin []byte) {
		e := env(verb).with("CNI_ARGS", args)
		var stdout bytes.Buffer
		status := Call{Name: "double", Plugin: prevResultReader{}, Getenv: func(n string) string { return e[n] },
			Stdin: bytes.NewReader(stdin), Stdout: &stdout, Stderr: io.Discard}.Run(context.Background())
		if status == 0 && stdout.Len() == 0 || verb == "" {
			return
		}
		var document map[string]any
		decoder := json.NewDecoder(&stdout)
		if err := decoder.Decode(&document); err != nil || decoder.More() {
			t.Fatalf("status %d: %v", status, err)
		}
		if status != 0 && (document["msg"] == "" || document["code"] == nil) {
			t.Fatalf("error document: %v", document)
		}
	})
}

// prevResultReader is a plugin that reads what a chained plugin would.
type prevResultReader struct{ double }

func (prevResultReader) Add(_ context.Context, req *Request) (*current.Result, error) {
	result, err := req.PrevResult()
	if err == nil && result == nil {
		result = &current.Result{}
	}
	if err == nil && req.Conf.CNIVersion < "0.3.0" && len(result.IPs) == 0 {
		err = errors.New("no address")
	}
	return result, err
}

func (prevResultReader) Check(_ context.Context, req *Request) error {
	_, err := req.PrevResult()
	return err
}

func TestAWrongTypeNamesKeyAndValue(t *testing.T) {
	long := strings.Repeat("x", 200)
	for text, want := range map[string]string{
		`{"name":"n","type":["a", {"b": 1}]}`:                                                 `key type: want a text in quotes, got ["a",{"b":1}]`,
		`{"name":"n","ipam":{"type": 7}}`:                                                     `key ipam.type: want a text in quotes, got 7`,
		`{"name":"n","ipam":"host-local"}`:                                                    `key ipam: want an object, got "host-local"`,
		`{"name":"n","dns":{"search":"lan"}}`:                                                 `key dns.search: want a list, got "lan"`,
		`{"name":"n","runtimeConfig":{"portMappings": [{"hostPort": 1}, {"hostPort": 1.5}]}}`: `key runtimeConfig.portMappings.hostPort: want a whole number, got 1.5`,
		`{"name":"n","runtimeConfig":{"aliases": 3}}`:                                         `key runtimeConfig.aliases: want a list of names, or an object of such lists by network, got 3`,
		`{"name":"n","cni.dev/valid-attachments": {"a": true}}`:                               `key cni.dev/valid-attachments: want a list, got {"a":true}`,
		`{"name": {"` + long + `": 1}}`:                                                       `key name: want a text in quotes, got {"` + long[:78] + `...`,
		`[1, 2]`:                                                                              `want an object, got [1,2]`,
	} {
		_, err := parseConf([]byte(text))
		var e *Error
		if !errors.As(err, &e) || e.Code != CodeDecode || e.Msg != "configuration on standard input: "+want {
			t.Errorf("%s:\ngot  %v\nwant %s", text, err, want)
		}
	}
}

// TestDELErrorsAreNotTakenForSuccess: containerd takes a DEL that fails with one
// of these texts for one that had nothing to do.
func TestDELErrorsAreNotTakenForSuccess(t *testing.T) {
	failure := Errorf(CodeFirewall, "iptables-save: %w", exec.ErrNotFound).WithHint("open /x: %v", fs.ErrNotExist)
	joined := errors.Join(failure, fmt.Errorf("open /y: %w", syscall.ENOENT))
	for _, verb := range []string{"DEL", "ADD"} {
		stdout, _, status := call(env(verb), conf, double{err: joined})
		swallowed := strings.Contains(stdout, "not found") || strings.Contains(stdout, "no such file or directory")
		if status == 0 || swallowed != (verb == "ADD") || !strings.Contains(stdout, "iptables-save") || !strings.Contains(stdout, "/y") {
			t.Errorf("%s: status %d: %s", verb, status, stdout)
		}
	}
}
