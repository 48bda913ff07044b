package main

import "strings"

// A command is what is timed: netctl with arguments, or a call of the plugin.
type command struct {
	name string
	call func(*host) (times, error)
}

func (h *host) call(c command) (times, error) { return c.call(h) }

func netctl(args string) command {
	return command{"netctl " + args, func(h *host) (times, error) { return h.run(nil, "netctl", strings.Fields(args)...) }}
}

// questions change nothing that the next one would notice.
func questions() []command {
	return []command{
		{"STATUS", func(h *host) (times, error) { return h.cni("STATUS", h.configuration(nil)) }},
		{"GC, all are valid", func(h *host) (times, error) { return h.cni("GC", h.valid(0)) }},
		netctl("network ls"),
		netctl("network inspect " + network),
		netctl("ps"),
		netctl("ps -a"),
		netctl("inspect c7"),
		netctl("doctor"),
		netctl("system df"),
		netctl("dns status"),
		netctl("reload"),
		{"netctl container create, rm", func(h *host) (times, error) {
			made, err := h.run(nil, "netctl", "container", "create", "--name", "last", "host", "true")
			if err != nil {
				return made, err
			}
			gone, err := h.run(nil, "netctl", "rm", "last")
			return times{made.wall + gone.wall, made.cpu + gone.cpu}, err
		}},
	}
}

// ends take away what there is, and with the last attachment the resolver goes.
func ends() []command {
	return []command{
		{"netctl system prune -f, all of them", netctl("system prune -f").call},
		{"GC, half of them have gone", func(h *host) (times, error) { return h.cni("GC", h.valid(h.size/2)) }},
		{"GC, the other half", func(h *host) (times, error) { return h.cni("GC", h.valid(h.size)) }},
	}
}
