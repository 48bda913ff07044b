package firewall

import (
	"context"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// attached fills a host with containers that publish one port each.
func attached(n int) []Rules {
	var all []Rules
	for i := range n {
		r := benchRules(fmt.Sprintf("old%d", i), i+10, uint16(20000+i), 1)
		all = append(all, r)
	}
	return all
}

// benchRules publish a number of IPv4 TCP ports, as in the comparisons with
// other programs.
func benchRules(name string, address int, host uint16, ports int) Rules {
	r := publishing(name, 2, host, 80)
	r.Network.Subnets, r.Network.DNS = r.Network.Subnets[:1], r.Network.DNS[:1]
	addr := r.Network.Subnets[0].Addr()
	for range address % 250 {
		addr = addr.Next()
	}
	template := r.Publish[0]
	r.Publish = nil
	for i := range ports {
		p := template
		p.Container, p.HostPort, p.ContainerPort = addr, host+uint16(i), uint16(80+i)
		r.Publish = append(r.Publish, p)
	}
	return r
}

// parking keeps sockets open while the clock runs, as another process would.
type parking struct{ fds []int }

func (p *parking) park(fd uintptr) {
	if held, err := unix.Dup(int(fd)); err == nil {
		p.fds = append(p.fds, held)
	}
}

func (p *parking) close() {
	for _, fd := range p.fds {
		_ = unix.Close(fd)
	}
	p.fds = nil
}

// The firewall's share of an ADD and a DEL, by the number of ports and of
// containers that are there already.
func BenchmarkApplyRemove(b *testing.B) {
	var parked parking
	for _, m := range mechanisms() {
		for _, level := range []int{0, 100, 500, 1000} {
			b.Run(fmt.Sprintf("%s/attached=%d", m.name, level), func(b *testing.B) {
				backend := m.open(b, WithPark(parked.park))
				host := newSpace(b, "host")
				keep := plainly("keep", benchRules("keep", 1, 1, 0).Network)
				host.do(b, func() { check(b, backend.Restore(context.Background(), append(attached(level), keep))) })
				for _, ports := range []int{1, 3, 20} {
					benchApplyRemove(b, host, backend, &parked, ports)
				}
			})
		}
	}
}

func benchApplyRemove(b *testing.B, host *space, backend Backend, parked *parking, ports int) {
	ctx := context.Background()
	r := benchRules("new", 5, 8080, ports)
	call := func(name string, timed, undo func() error) {
		b.Run(fmt.Sprintf("ports=%d/%s", ports, name), func(b *testing.B) {
			host.do(b, func() {
				for range b.N {
					b.StartTimer()
					check(b, timed())
					b.StopTimer()
					parked.close()
					check(b, undo())
					parked.close()
				}
			})
		})
	}
	apply := func() error { return backend.Apply(ctx, r) }
	remove := func() error { return backend.Remove(ctx, r, nil) }
	host.do(b, func() { check(b, apply()); check(b, remove()) })
	call("apply", apply, remove)
	host.do(b, func() { check(b, apply()) })
	call("remove", remove, apply)
	host.do(b, func() { check(b, remove()) })
}

// New TCP connections to the last of so many published ports.
func BenchmarkConnect(b *testing.B) {
	for _, m := range mechanisms() {
		for _, level := range []int{1, 100, 1000} {
			b.Run(fmt.Sprintf("%s/published=%d", m.name, level), func(b *testing.B) {
				backend := m.open(b)
				w := newWorld(b, backend)
				last := publishing("web", 2, uint16(20000+level-1), 80)
				w.prepare(b, last)
				w.host.do(b, func() { check(b, backend.Restore(context.Background(), append(attached(level-1), last))) })
				w.web.serve(b, 80)
				benchConnect(b, w, "published", at("192.0.2.1", 20000+level-1))
				benchConnect(b, w, "direct", "10.88.0.2:80")
			})
		}
	}
}

func benchConnect(b *testing.B, w *world, name, to string) {
	w.outside.reaches(b, wire.TCP, to, "web")
	b.Run(name, func(b *testing.B) {
		w.outside.do(b, func() {
			for range b.N {
				check(b, connectAndReset(to))
			}
		})
	})
}
