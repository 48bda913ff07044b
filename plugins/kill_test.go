package plugins_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/netctl/netctl/test/netns"
)

// A doom is a container whose plugins are killed, and the host that it is on.
type doom struct {
	// list has the plugins' configurations.
	list func(*host) []string
	// prepare makes what is on the host before; nil for nothing.
	prepare func(*host)
	backend string
	// child kills a program that the plugin has started, instead of the plugin.
	child bool
	// add attaches the container before its DEL is killed; nil uses our plugins.
	add func(*host, *netns.Namespace) json.RawMessage
	// verbs are those that are killed; nil is ADD and DEL.
	verbs []string
	// end removes the container after the kill; nil is DEL.
	end func(*host, *netns.Namespace, []string)
	// long leaves the doom to `make test-kill`.
	long bool
}

// kills says how many places are tried for each verb, or all.
func kills(t *testing.T) (places int, all bool) {
	t.Helper()
	text := os.Getenv("NETCTL_TEST_KILLS")
	if text == "" {
		return 4, false
	}
	if text == "all" {
		return 0, true
	}
	if _, err := fmt.Sscan(text, &places); err != nil {
		t.Fatalf("NETCTL_TEST_KILLS=%q: want a number or all", text)
	}
	return places, false
}

// TestKilled kills ADD and DEL at the system calls by which they change anything,
// a few of them spread over the call's life; the DEL that follows must find and
// remove everything, and ADD must work again. `make test-kill` tries every call.
func TestKilled(t *testing.T) {
	places, all := kills(t)
	for name, d := range dooms() {
		if d.long && !all {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			h.env = []string{"NETCTL_FIREWALL=" + d.backend}
			if d.prepare != nil {
				d.prepare(h)
			}
			k := killing{doom: d, h: h, ns: h.container(), list: d.list(h)}
			k.whole()
			k.before = h.everything()
			if all {
				k.everywhere()
			} else {
				k.some(places)
			}
			t.Logf("killed at %d places", k.times)
		})
	}
}

// killing is a doom being carried out.
type killing struct {
	doom
	h      *host
	ns     *netns.Namespace
	list   []string
	before string // what is on the host without the container
	times  int
}

// whole is a life that nobody disturbs. It leaves what the first container of a
// network makes for all of them.
func (k *killing) whole() {
	k.attach()
	k.remove()
}

func (k *killing) attach() json.RawMessage {
	if k.add != nil {
		return k.add(k.h, k.ns)
	}
	return k.h.chain("ADD", "victim", k.ns, k.list, nil)
}

func (k *killing) remove() {
	switch {
	case k.end != nil:
		k.end(k.h, k.ns, k.list)
	case k.times%2 == 0:
		k.h.chain("DEL", "victim", k.ns, k.list, nil)
	default: // as nerdctl does it
		k.h.chain("DEL", "victim", nil, k.list, nil)
	}
}

// calls are the verbs and plugins to kill.
func (k *killing) calls(try func(verb string, plugin int)) {
	verbs := k.verbs
	if verbs == nil {
		verbs = []string{"ADD", "DEL"}
	}
	for _, verb := range verbs {
		for plugin := range k.list {
			try(verb, plugin)
		}
	}
}

// everywhere kills at each call until one run of the plugin is not met any more.
func (k *killing) everywhere() {
	k.calls(func(verb string, plugin int) {
		for at := 1; k.kill(verb, plugin, at) != ""; at++ {
		}
	})
}

// some kills at places spread over the life of each verb, of one plugin of the
// list after the other.
func (k *killing) some(places int) {
	turn := map[string]int{}
	k.calls(func(verb string, plugin int) {
		each := max(1, places/len(k.list))
		total := k.count(verb, plugin)
		for i := range min(each, total) {
			k.kill(verb, plugin, 1+(turn[verb]*7+i*total/each)%total)
		}
		turn[verb]++
	})
}

// count tells how many calls a run makes.
func (k *killing) count(verb string, plugin int) (total int) {
	_, word := k.run(verb, plugin, 0)
	if _, err := fmt.Sscanf(word, "%d calls", &total); err != nil {
		k.h.t.Fatalf("%s of %s: %q", verb, k.list[plugin], word)
	}
	k.finish(verb, plugin, word)
	return total
}

// kill tries one place, and returns the call that was met, or "".
func (k *killing) kill(verb string, plugin, at int) (met string) {
	a, word := k.run(verb, plugin, at)
	if strings.HasSuffix(word, " calls") {
		if a.status != 0 {
			k.h.t.Fatalf("%s of %s: status %d %s%s", verb, k.list[plugin], a.status, a.out, a.stderr)
		}
	} else {
		met = word
		k.times++
	}
	if k.child && verb == "ADD" && strings.Contains(string(a.out), `"code"`) {
		k.compare(verb, plugin, word) // a failed ADD leaves nothing
	}
	k.finish(verb, plugin, word)
	return met
}

// run has a plugin of the list killed at a call, after what comes before it in
// the container's life. word is what killat says of it.
func (k *killing) run(verb string, plugin, at int) (a answer, word string) {
	prefix := []string{killat, fmt.Sprintf("-at=%d", at)}
	if k.child {
		prefix = append(prefix, "-child")
	}
	var previous json.RawMessage
	if verb == "DEL" {
		previous = k.attach()
		k.h.chain("DEL", "victim", k.ns, k.list[plugin+1:], nil)
	} else if plugin > 0 {
		previous = k.h.chain("ADD", "victim", k.ns, k.list[:plugin], nil)
	}
	c := k.h.link(verb, "victim", k.ns, k.list[plugin], previous)
	c.prefix = prefix
	a = k.h.run(c)
	lines := strings.Split(strings.TrimSpace(a.stderr), "\n")
	word, found := strings.CutPrefix(lines[len(lines)-1], "killat: ")
	if !found {
		k.h.t.Fatalf("%s of %s: status %d: %s", verb, k.list[plugin], a.status, a.stderr)
	}
	return a, word
}

// finish removes the container and compares.
func (k *killing) finish(verb string, plugin int, word string) {
	k.h.t.Helper()
	k.remove()
	k.compare(verb, plugin, word)
}

func (k *killing) compare(verb string, plugin int, word string) {
	k.h.t.Helper()
	if after := k.h.everything(); after != k.before {
		k.h.t.Fatalf("%s of %s killed at %s: %s", verb, k.list[plugin], word, difference(k.before, after))
	}
}

// everything is what can be left of a container on the host: links, all rules of
// the packet filter, records, reservations, files of settings.
func (h *host) everything() string {
	h.t.Helper()
	var lines []string
	for _, command := range [][]string{{"ip", "-br", "link"}, {"nft", "list", "ruleset"}} {
		out, err := h.ns.Output(command[0], command[1:]...)
		if err != nil {
			h.t.Fatal(err)
		}
		for line := range strings.Lines(out) {
			line = counters.ReplaceAllString(line, "")
			if tree.MatchString(line) {
				continue
			}
			if command[0] == "ip" {
				line, _, _ = strings.Cut(line, " ")
			}
			if line = strings.TrimSpace(line); len(line) > 1 {
				lines = append(lines, line)
			}
		}
	}
	for _, key := range h.records() {
		lines = append(lines, "ledger: "+key)
	}
	for _, pattern := range []string{"/networks/*/[1-9f]*", "/tuning/*"} {
		files, err := filepath.Glob(h.state + pattern)
		if err != nil {
			h.t.Fatal(err)
		}
		lines = append(lines, files...)
	}
	slices.Sort(lines) // rules of different networks and containers have no order
	return strings.Join(lines, "\n")
}

// tree are the inner nodes of the tree of ports, which belongs to all containers:
// an empty one stays until the next rewriting of all rules.
var tree = regexp.MustCompile(`(jump|chain) NETCTL-(TCP|UDP|SCTP)-[0-9]+-[0-9]+`)

// difference shows the lines that one of two sorted texts has more often.
func difference(was, is string) (text string) {
	count := map[string]int{}
	for _, line := range strings.Split(was, "\n") {
		count[line]--
	}
	for _, line := range strings.Split(is, "\n") {
		count[line]++
	}
	for _, line := range slices.Sorted(maps.Keys(count)) {
		if n := count[line]; n != 0 {
			text += fmt.Sprintf("\n%+d %s", n, line)
		}
	}
	return text
}
