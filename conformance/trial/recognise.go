package trial

import (
	"slices"

	"github.com/netctl/netctl/conformance/protocol"
)

// Probe is a request outside any row.
func Probe(s *Subject, verb string, conf protocol.Conf) protocol.Request {
	return (*T)(nil).Request(s, verb, conf)
}

// Recognise finds out what part the subject plays by running ADD: without a
// previous result first, then behind an interface the lab made. It returns 0,
// and a blocked trial, when neither works.
func Recognise(t *T) Kind {
	a := t.Place()
	before, err := a.Container.State()
	t.Must(err)
	reply := a.Add()
	if a.Result == nil {
		return recogniseChained(t, reply)
	}
	after, err := a.Container.State()
	t.Must(err)
	for _, c := range before.Diff(after) {
		if c.Kind() == "link" && c.Appeared() {
			return Interface
		}
	}
	inside := func(i protocol.Interface) bool { return i.Sandbox != "" }
	if len(a.Result.IPs) > 0 && !slices.ContainsFunc(a.Result.Interfaces, inside) {
		return IPAM
	}
	return Other
}

func recogniseChained(t *T, alone *protocol.Reply) Kind {
	chained := *t.Subject
	chained.Kind = Chained
	t.Subject = &chained
	a := t.Place()
	if reply := a.Add(); a.Result == nil {
		t.Block("ADD fails alone (%s) and behind an interface (%s)", alone.Summary(), reply.Summary())
	}
	return Chained
}
