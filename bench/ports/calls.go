package main

import (
	"fmt"
	"net/netip"
	"time"
)

// A point is ADD and DEL of a container with so many ports beside so many
// containers.
type point struct {
	attached, ports int
	rows            []row
}

// A row is one implementation's share of a point.
type row struct {
	name     string
	add, del calls
}

// calls are those of one verb, with ports and without any. The latter a portmap
// plugin passes on: its own start and end. What is above that is the firewall's
// own share.
type calls struct{ ports, idle []time.Duration }

func (c calls) own() time.Duration { return median(c.ports) - median(c.idle) }

// settled is how long a host is left alone before its turn: the calls on the
// host before leave programs that end, and memory that the kernel frees, some
// 100 ms after they have returned.
const settled = 150 * time.Millisecond

// measure calls all worlds in turn.
func (p *point) measure(worlds []*world, rounds int) error {
	for _, w := range worlds {
		p.rows = append(p.rows, row{name: w.name})
	}
	const warmUp = 1
	for round := range warmUp + rounds {
		c := container{id: fmt.Sprintf("new%d", round), address: netip.MustParseAddr("10.88.250.1"), hostPort: 30001}
		for i, w := range worlds {
			if err := p.rows[i].once(w, c, p.ports, round >= warmUp); err != nil {
				return err
			}
		}
	}
	return nil
}

// once calls one implementation: without ports and with them.
func (r *row) once(w *world, c container, ports int, counts bool) error {
	time.Sleep(settled)
	idle := container{id: "idle", address: c.address}
	for _, step := range []struct {
		verb  string
		c     container
		ports int
		into  *[]time.Duration
	}{
		{"ADD", idle, 0, &r.add.idle}, {"ADD", c, ports, &r.add.ports},
		{"DEL", c, ports, &r.del.ports}, {"DEL", idle, 0, &r.del.idle},
	} {
		took, err := w.call(step.verb, step.c, step.ports)
		if err != nil {
			return err
		}
		if counts {
			*step.into = append(*step.into, took)
		}
	}
	return nil
}
