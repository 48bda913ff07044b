package firewall

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// A space is a private network namespace.
type space struct {
	name string
	file *os.File
	// env is for the programs that sh starts.
	env []string
}

func newSpace(t testing.TB, name string) *space {
	t.Helper()
	s := &space{name: name}
	thread(t, func() {
		check(t, unix.Unshare(unix.CLONE_NEWNET))
		file, err := os.Open("/proc/thread-self/ns/net")
		check(t, err)
		s.file = file
	})
	t.Cleanup(func() { _ = s.file.Close() })
	s.sh(t, "ip link set lo up")
	return s
}

// thread runs f on a thread of its own, which is thrown away.
func thread(t testing.TB, f func()) {
	t.Helper()
	done := make(chan bool)
	go func() {
		runtime.LockOSThread()
		defer close(done)
		f()
	}()
	<-done
	if t.Failed() {
		t.FailNow()
	}
}

// do runs f in the namespace.
func (s *space) do(t testing.TB, f func()) {
	t.Helper()
	thread(t, func() {
		if err := unix.Setns(int(s.file.Fd()), unix.CLONE_NEWNET); err != nil {
			t.Errorf("enter %s: %v", s.name, err)
			return
		}
		f()
	})
}

// path names the namespace for other programs.
func (s *space) path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), s.file.Fd()) }

// sh runs a shell script in the namespace and gives its output.
func (s *space) sh(t testing.TB, script string) string {
	t.Helper()
	var out []byte
	s.do(t, func() {
		cmd := exec.Command("sh", "-ec", script)
		cmd.Env = append(os.Environ(), s.env...)
		var err error
		if out, err = cmd.CombinedOutput(); err != nil {
			t.Errorf("in %s: %s: %v\n%s", s.name, script, err, out)
		}
	})
	return string(out)
}

// sysctl sets a parameter of the namespace.
func (s *space) sysctl(t testing.TB, path, value string) {
	t.Helper()
	s.do(t, func() {
		if err := os.WriteFile("/proc/sys/"+path, []byte(value), 0o644); err != nil {
			t.Errorf("in %s: %v", s.name, err)
		}
	})
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
		runtime.Goexit()
	}
}

// world is a host with a link to the outside and two networks.
//
//	outside 192.0.2.2 --- 192.0.2.1 host (also 192.0.2.10)
//	                      br1 10.88.0.1/24 --- web 10.88.0.2, peer 10.88.0.3
//	                      br2 10.89.0.1/24 --- other 10.89.0.2
//
// and the same in IPv6 (2001:db8::/64, fd00:88::/64, fd00:89::/64).
type world struct {
	host, outside, web, peer, other *space
}

func newWorld(t testing.TB, b Backend) *world {
	t.Helper()
	w := &world{newHost(t, b), newSpace(t, "outside"), newSpace(t, "web"), newSpace(t, "peer"), newSpace(t, "other")}
	w.host.sh(t, `
ip link add eth1 type veth peer name eth0 netns `+w.outside.path()+`
ip addr add 192.0.2.1/24 dev eth1
ip addr add 192.0.2.10/24 dev eth1
ip addr add 2001:db8::1/64 dev eth1 nodad
ip addr add 2001:db8::10/64 dev eth1 nodad
ip link set eth1 up
for n in 1 2; do
	ip link add br$n type bridge forward_delay 0
	ip addr add 10.$((87+n)).0.1/24 dev br$n
	ip addr add fd00:$((87+n))::1/64 dev br$n nodad
	ip link set br$n up
done`)
	w.outside.sh(t, `
ip addr add 192.0.2.2/24 dev eth0
ip addr add 2001:db8::2/64 dev eth0 nodad
ip link set eth0 up
ip route add 10.88.0.0/15 via 192.0.2.1
ip route add fd00::/16 via 2001:db8::1`)
	w.join(t, w.web, 1, 2)
	w.join(t, w.peer, 1, 3)
	w.join(t, w.other, 2, 2)
	return w
}

// join gives a space an address on a bridge.
func (w *world) join(t testing.TB, s *space, bridge, host int) {
	t.Helper()
	net4, net6 := fmt.Sprintf("10.%d.0", 87+bridge), fmt.Sprintf("fd00:%d:", 87+bridge)
	w.host.sh(t, fmt.Sprintf(`
ip link add v%[1]s type veth peer name eth0 netns %[2]s
ip link set v%[1]s master br%[3]d up`, s.name, s.path(), bridge))
	s.sh(t, fmt.Sprintf(`
ip addr add %[1]s.%[3]d/24 dev eth0
ip addr add %[2]s:%[3]d/64 dev eth0 nodad
ip link set eth0 up
ip route add default via %[1]s.1
ip route add default via %[2]s:1`, net4, net6, host))
}

// network is the policy of one of the world's networks, with everything on.
func network(n int) wire.NetworkPolicy {
	return wire.NetworkPolicy{
		Network: fmt.Sprintf("net%d", n), Bridge: fmt.Sprintf("br%d", n),
		Subnets: []netip.Prefix{
			netip.MustParsePrefix(fmt.Sprintf("10.%d.0.0/24", 87+n)),
			netip.MustParsePrefix(fmt.Sprintf("fd00:%d::/64", 87+n))},
		Masquerade: true, Forward: true,
		DNS: []netip.AddrPort{
			netip.MustParseAddrPort(fmt.Sprintf("10.%d.0.1:53", 87+n)),
			netip.MustParseAddrPort(fmt.Sprintf("[fd00:%d::1]:53", 87+n))},
	}
}

// publishing gives rules for a container of the world's first network that
// publishes a port of both transports in both families.
func publishing(name string, address int, host, container uint16) Rules {
	r := Rules{Attachment: wire.Attachment{Network: "net1", Container: name, IfName: "eth0"}, Network: network(1)}
	for i, subnet := range r.Network.Subnets {
		addr := subnet.Addr()
		for range address {
			addr = addr.Next()
		}
		for _, protocol := range []wire.Protocol{wire.TCP, wire.UDP} {
			r.Publish = append(r.Publish, wire.Publish{Protocol: protocol, HostPort: host, Container: addr,
				ContainerPort: container, Subnet: r.Network.Subnets[i]})
		}
	}
	return r
}

// prepare sets what the rules need beside them, as the caller of Apply does.
func (w *world) prepare(t testing.TB, r Rules) {
	t.Helper()
	for _, s := range Sysctls(r) {
		w.host.sysctl(t, s.Path, s.Value)
	}
	for _, route := range LocalRoutes(r) {
		w.host.sh(t, fmt.Sprintf("ip -6 route replace local %s dev %s table local metric %d", route.Prefix, route.Device, route.Metric))
	}
}

// serve answers on a port, over both transports and in both families, with the
// space's name and the client's address, until the test ends.
func (s *space) serve(t testing.TB, port int) {
	t.Helper()
	s.do(t, func() {
		listener, err := net.Listen("tcp", fmt.Sprintf("[::]:%d", port))
		check(t, err)
		t.Cleanup(func() { _ = listener.Close() })
		go s.serveTCP(listener)
		packets, err := net.ListenPacket("udp", fmt.Sprintf("[::]:%d", port))
		check(t, err)
		t.Cleanup(func() { _ = packets.Close() })
		go s.serveUDP(packets)
	})
}

func (s *space) serveTCP(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		fmt.Fprintf(conn, "%s %s", s.name, hostOf(conn.RemoteAddr()))
		_ = conn.Close()
	}
}

func (s *space) serveUDP(c net.PacketConn) {
	buffer := make([]byte, 64)
	for {
		_, from, err := c.ReadFrom(buffer)
		if err != nil {
			return
		}
		_, _ = c.WriteTo(fmt.Appendf(nil, "%s %s", s.name, hostOf(from)), from)
	}
}

func hostOf(a net.Addr) string { return netip.MustParseAddrPort(a.String()).Addr().Unmap().String() }

// timeouts for what must be answered, on whatever machine, and for what must
// not.
const (
	answered   = 30 * time.Second
	unanswered = 250 * time.Millisecond
)

// ask connects from the space and gives the answer.
func (s *space) ask(t testing.TB, protocol wire.Protocol, to string, timeout time.Duration) (answer string, err error) {
	t.Helper()
	s.do(t, func() {
		var conn net.Conn
		if conn, err = net.DialTimeout(string(protocol), to, timeout); err != nil {
			return
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(timeout))
		if protocol == wire.UDP {
			_, _ = conn.Write([]byte("?"))
		}
		buffer := make([]byte, 128)
		var n int
		n, err = conn.Read(buffer)
		answer = string(buffer[:n])
	})
	return answer, err
}

// reaches fails the test unless the named server answers. It asks
// again when the neighbour was not found: three solicitations of a second each
// (RFC 4861 7.2.2) were too few once beside a load of 25.
func (s *space) reaches(t testing.TB, protocol wire.Protocol, to, server string) (client string) {
	t.Helper()
	var answer string
	var err error
	for end := time.Now().Add(answered); ; {
		answer, err = s.ask(t, protocol, to, answered)
		if !errors.Is(err, unix.EHOSTUNREACH) || time.Now().After(end) {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	name, client, _ := strings.Cut(answer, " ")
	if err != nil || name != server {
		t.Errorf("%s -> %s/%s: got %q, %v; want an answer of %s", s.name, to, protocol, answer, err, server)
	}
	return client
}

// reachesNot fails the test if anybody answers.
func (s *space) reachesNot(t testing.TB, protocol wire.Protocol, to string) {
	t.Helper()
	silent(t, question{s, protocol, to})
}

// question is one that nobody may answer.
type question struct {
	from     *space
	protocol wire.Protocol
	to       string
}

// silent asks all questions at the same time and fails the test if anybody
// answers.
func silent(t testing.TB, all ...question) {
	t.Helper()
	answers := make([]string, len(all))
	var asked sync.WaitGroup
	for i, q := range all {
		asked.Go(func() { answers[i], _ = q.from.ask(t, q.protocol, q.to, unanswered) })
	}
	asked.Wait()
	for i, q := range all {
		if answers[i] != "" {
			t.Errorf("%s -> %s/%s: answered by %q, want nothing", q.from.name, q.to, q.protocol, answers[i])
		}
	}
}

// transports are those that tests can speak; SCTP sockets are missing on many
// kernels.
func transports() []wire.Protocol { return []wire.Protocol{wire.TCP, wire.UDP} }

// variantPrograms makes "iptables" mean one of its two kinds, with a lock of
// its own, so that tests need not wait for each other.
func variantPrograms(t testing.TB, kind string) programs {
	t.Helper()
	p := programs{dir: t.TempDir()}
	p.lock = filepath.Join(p.dir, "xtables.lock")
	for _, tool := range []string{"iptables", "ip6tables"} {
		for _, suffix := range []string{"", "-save", "-restore"} {
			real, err := exec.LookPath(tool + "-" + kind + suffix)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(real, filepath.Join(p.dir, tool+suffix)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return p
}

// environment makes programs that are started by name the backend's.
func environment(b Backend) []string {
	t, ok := b.(*iptables)
	if !ok || t.programs.dir == "" {
		return nil
	}
	return []string{"PATH=" + t.programs.dir + ":" + os.Getenv("PATH"), lockVariable + "=" + t.programs.lock}
}

// newHost is a space in which "iptables" is the backend's.
func newHost(t testing.TB, b Backend) *space {
	t.Helper()
	s := newSpace(t, "host")
	s.env = environment(b)
	return s
}

// connectAndReset makes a TCP connection and ends it at once, without leaving
// a port waiting behind.
func connectAndReset(to string) error {
	conn, err := net.Dial("tcp", to)
	if err != nil {
		return err
	}
	if err := conn.(*net.TCPConn).SetLinger(0); err != nil {
		return err
	}
	return conn.Close()
}
