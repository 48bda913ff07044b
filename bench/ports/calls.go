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

// A row is one implementation's share of a point. Idle are calls without any
// ports, which a portmap plugin passes on: its own start and end. What is above
// that is the firewall's share.
type row struct {
	name             string
	adds, dels, idle []time.Duration
}

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

func (r *row) once(w *world, c container, ports int, counts bool) error {
	idle, err := w.call("ADD", container{id: "idle", address: c.address}, 0)
	if err != nil {
		return err
	}
	add, err := w.call("ADD", c, ports)
	if err != nil {
		return err
	}
	del, err := w.call("DEL", c, ports)
	if err != nil {
		return err
	}
	if counts {
		r.adds, r.dels, r.idle = append(r.adds, add), append(r.dels, del), append(r.idle, idle)
	}
	return nil
}
