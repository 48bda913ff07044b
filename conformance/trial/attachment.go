package trial

import (
	"fmt"
	"strings"

	"github.com/netctl/netctl/conformance/double"
	"github.com/netctl/netctl/conformance/lab"
	"github.com/netctl/netctl/conformance/protocol"
)

// SystemPath is the PATH plugins run with.
const SystemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Attachment is a container's interface on the subject's network: the
// parameters of its requests and, after Add, the result.
type Attachment struct {
	Subject   *Subject
	Container *lab.Container
	ID        string
	IfName    string
	Netns     string
	Args      string        // CNI_ARGS; "" leaves the variable out
	Conf      protocol.Conf // without prevResult
	Prev      *protocol.Result
	Result    *protocol.Result
	Number    int // of attachments placed in this row, from 1

	t *T
}

// Place makes a container and an attachment that has not been added yet. A
// chained plugin's gets an interface from the lab.
func (t *T) Place() *Attachment {
	n := t.next()
	container, err := t.Host.NewContainer(fmt.Sprintf("c%d", n))
	t.Must(err)
	a := t.attachment(t.Subject, container, "eth0", n)
	a.ID = fmt.Sprintf("container%d", n)
	t.bench(a)
	return a
}

func (t *T) next() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.placed++
	return t.placed
}

func (t *T) attachment(s *Subject, c *lab.Container, ifname string, n int) *Attachment {
	return &Attachment{Subject: s, Container: c, IfName: ifname, Netns: c.Path, Conf: sample(s, n), Number: n, t: t}
}

// bench gives the attachment of a chained plugin something to work on.
func (t *T) bench(a *Attachment) {
	if a.Subject.Kind&Chained == 0 {
		return
	}
	res, err := t.Host.Bench(a.Container, a.IfName, a.Number)
	t.Must(err)
	a.Prev = res
}

// Sibling is another interface of the same container.
func (a *Attachment) Sibling(ifname string) *Attachment {
	n := a.t.next()
	b := a.t.attachment(a.Subject, a.Container, ifname, n)
	b.ID = a.ID
	a.t.bench(b)
	return b
}

// sample fills in runtimeConfig for the capabilities the suite has a harmless
// value for, so that ordinary rows exercise them too.
func sample(s *Subject, n int) protocol.Conf {
	conf := s.Conf
	if s.Declares("portMappings") {
		conf = conf.With("runtimeConfig.portMappings", Mappings(n))
	}
	if s.Declares("bandwidth") {
		conf = conf.With("runtimeConfig.bandwidth", Bandwidth())
	}
	return conf
}

// Ports of the sample mappings.
const (
	ContainerPort = 8080
	firstHostPort = 20000
)

// HostPort is the port sample mapping n publishes, TCP and UDP.
func HostPort(n int) int { return firstHostPort + n }

// Mappings is the sample value of the portMappings capability.
func Mappings(n int) []any {
	return []any{
		map[string]any{"hostPort": HostPort(n), "containerPort": ContainerPort, "protocol": "tcp"},
		map[string]any{"hostPort": HostPort(n), "containerPort": ContainerPort, "protocol": "udp"},
	}
}

// Bandwidth is the sample value of the bandwidth capability: bits per second
// and bits.
func Bandwidth() map[string]any {
	return map[string]any{"ingressRate": 8_000_000, "ingressBurst": 8_000_000, "egressRate": 8_000_000, "egressBurst": 8_000_000}
}

// Attach places an attachment and adds it; failure blocks the row.
func (t *T) Attach() *Attachment { return t.AttachWith(nil) }

// AttachWith is Attach with a change to the attachment before it is added.
func (t *T) AttachWith(change func(*Attachment)) *Attachment {
	a := t.Place()
	if change != nil {
		change(a)
	}
	a.MustAdd()
	return a
}

// MustAdd adds the attachment; failure blocks the row.
func (a *Attachment) MustAdd() {
	reply := a.Add()
	if a.Result == nil {
		a.t.Block("ADD, which this row builds on, failed: %s", reply.Summary())
	}
}

// Add runs ADD and keeps the result if there is one.
func (a *Attachment) Add() *protocol.Reply {
	return a.Took(a.t.Call(a.Request(protocol.Add)))
}

// Took keeps the result of an ADD that was called in another way.
func (a *Attachment) Took(reply *protocol.Reply) *protocol.Reply {
	if reply.OK() {
		if res, err := reply.Result(); err == nil {
			a.Result = res
		}
	}
	return reply
}

// MustDel runs DEL; failure blocks the row.
func (a *Attachment) MustDel() {
	if reply := a.Del(); !reply.OK() {
		a.t.Block("DEL, which this row builds on, failed: %s", reply.Summary())
	}
}

// Del runs DEL.
func (a *Attachment) Del() *protocol.Reply { return a.t.Call(a.Request(protocol.Del)) }

// Check runs CHECK.
func (a *Attachment) Check() *protocol.Reply { return a.t.Call(a.Request(protocol.Check)) }

// Request is a correct request for the operation, ready to be spoilt.
func (a *Attachment) Request(verb string) protocol.Request {
	r := a.t.Request(a.Subject, verb, a.conf(verb))
	if verb == protocol.GC || verb == protocol.Status || verb == protocol.Version {
		return r
	}
	r.Env[protocol.EnvContainerID] = a.ID
	r.Env[protocol.EnvNetns] = a.Netns
	r.Env[protocol.EnvIfName] = a.IfName
	if a.Args != "" {
		r.Env[protocol.EnvArgs] = a.Args
	}
	return r
}

// conf is the configuration with the prevResult the operation calls for.
func (a *Attachment) conf(verb string) protocol.Conf {
	version := a.Version()
	switch verb {
	case protocol.Add:
		if a.Prev == nil {
			return a.Conf
		}
		if a.Prev.Bytes != nil {
			return a.Conf.WithKey("prevResult", a.Prev.Bytes)
		}
		return a.Conf.WithKey("prevResult", a.Prev.Encode(version))
	case protocol.Check, protocol.Del:
		// Runtimes hand the result back only from 0.4.0 on.
		if a.Result != nil && !protocol.Before(version, "0.4.0") {
			return a.Conf.WithKey("prevResult", a.Result.Bytes)
		}
	}
	return a.Conf
}

// Version is the cniVersion of the attachment's requests.
func (a *Attachment) Version() string { return a.Conf.String("cniVersion") }

// Request is a request for a subject without any attachment.
func (t *T) Request(s *Subject, verb string, conf protocol.Conf) protocol.Request {
	env := map[string]string{
		protocol.EnvCommand: verb,
		protocol.EnvPath:    strings.Join(append([]string{lab.DoubleDir}, s.Path...), ":"),
		"PATH":              SystemPath,
	}
	for k, v := range s.Env {
		env[k] = v
	}
	return protocol.Request{Plugin: s.Plugin, Env: env, Stdin: conf.JSON()}
}

// Script tells the delegate of this host what to do.
func (t *T) Script(script double.Script) {
	t.Must(t.writeScript(script))
}

// At places an attachment whose requests are of the given version; a plugin
// that does not list the version is not concerned.
func (t *T) At(version string) *Attachment {
	t.Need(t.Subject.Supports(version), "the plugin does not list %s", version)
	a := t.Place()
	a.Conf = a.Conf.With("cniVersion", version)
	return a
}
