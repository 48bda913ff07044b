package rows

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"

	"github.com/netctl/netctl/conformance/protocol"
	"github.com/netctl/netctl/conformance/trial"
)

// crowd is how many containers come at once.
const crowd = 50

var concurrencyRows = []trial.Row{
	{
		ID: "C182", Level: trial.Must, Profile: trial.Spec, Scope: trial.List, Section: "SPEC 4, operations on different containers",
		Statement: "50 parallel ADDs on a clean host: all succeed, no address twice, no lost rules.",
		Judged:    "The whole list for 50 containers at once; addresses compared; each published port asked from outside.",
		Check:     parallelAdds,
	},
	{
		ID: "C183", Level: trial.Should, Profile: trial.Netctl, Scope: trial.List, Section: "stricter than SPEC 4",
		Statement: "Parallel ADDs leave each shared base rule exactly once.",
		Judged:    "The whole list for 24 containers at once on a clean host: no chain has the same rule twice.",
		Check:     noDuplicateRules,
	},
	{
		ID: "C184", Level: trial.Must, Profile: trial.Spec, Scope: trial.List, Section: "SPEC 4, operations on different containers",
		Statement: "50 parallel DELs: all succeed, nothing is left.",
		Judged:    "The host before the 50 came and after they have gone.",
		Check:     parallelDels,
	},
}

// gather runs the list's ADD for n containers at once.
func gather(t *trial.T, n int) (chains []*trial.Chain, replies []*protocol.Reply) {
	for range n {
		chains = append(chains, t.PlaceChain())
	}
	replies = make([]*protocol.Reply, n)
	var wg sync.WaitGroup
	for i, c := range chains {
		wg.Go(func() { replies[i] = c.Add() })
	}
	wg.Wait()
	t.Host.Script.Cannot(fmt.Sprintf("the ADDs of %d containers run at the same time", n))
	return chains, replies
}

// allAdded blocks the row unless every ADD of a crowd succeeded.
func allAdded(t *trial.T, replies []*protocol.Reply) {
	for _, reply := range replies {
		if reply == nil || !reply.OK() {
			t.Block("a parallel ADD failed, as C182 may report: %s", summary(reply))
		}
	}
}

func parallelAdds(t *trial.T) {
	chains, replies := gather(t, crowd)
	holders := map[netip.Addr]string{}
	for i, c := range chains {
		a := c.First()
		if !t.Expect(replies[i] != nil && replies[i].OK(), "ADD of "+a.ID+" succeeds beside 49 others", "%s", summary(replies[i])) {
			continue
		}
		for _, p := range addresses(a) {
			holder, taken := holders[p.Addr()]
			t.Expect(!taken, "no address twice", "%s has %s of %s", a.ID, p, holder)
			holders[p.Addr()] = a.ID
		}
	}
	if t.Failed() || !declares(t.Subject, "portMappings") {
		return
	}
	for _, c := range chains {
		a := c.First()
		serve(t, a.Container.Netns, trial.ContainerPort)
		to := netip.AddrPortFrom(hostAddr(false), uint16(trial.HostPort(a.Number)))
		err := t.Host.Eventually(settling, func() error { return reaches(t.Host.Outside, "tcp", to, a.Container.Netns) })
		t.Expect(err == nil, "the mapping of "+a.ID+" works", "%v", err)
	}
}

func summary(reply *protocol.Reply) string {
	if reply == nil {
		return "it did not start"
	}
	return reply.Summary()
}

// declares reports whether any plugin of a list declares a capability.
func declares(list *trial.Subject, capability string) bool {
	for _, member := range list.Members {
		if member.Declares(capability) {
			return true
		}
	}
	return false
}

func noDuplicateRules(t *trial.T) {
	gather(t, 24) // whether all of them succeed is C182's business
	for key := range t.HostState() {
		isRule := strings.HasPrefix(key, "firewall ") && strings.Contains(key, " | ")
		t.Expect(!isRule || !strings.Contains(key, " #"), "each rule exactly once", "%s", key)
	}
}

func parallelDels(t *trial.T) {
	warm := t.PlaceChain()
	warm.MustAdd()
	warm.Del(warm.Reverse())
	t.Must(warm.First().Container.Kill())
	settled := t.HostState()
	chains, replies := gather(t, crowd)
	allAdded(t, replies)
	var wg sync.WaitGroup
	for _, c := range chains {
		wg.Go(func() {
			list := c.Reverse()
			for i, reply := range c.Del(list) {
				t.Expect(reply.OK(), "DEL of "+list[i].Subject.Name+" for "+list[i].ID+" succeeds beside 49 others", "%s", reply.Summary())
			}
		})
	}
	wg.Wait()
	for _, c := range chains {
		t.Must(c.First().Container.Kill())
	}
	t.NothingLeft(settled, "nothing is left of 50 containers")
}
