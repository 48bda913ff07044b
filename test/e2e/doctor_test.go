package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/netctl/netctl/test/netns"
)

// sick is a set-up that is broken in one way.
type sick struct {
	name string
	// upset makes the set-up and breaks it.
	upset func(h *host)
	ask   []string // arguments of doctor
	cause string   // regular expressions
	mend  string
	// mends: what doctor says is a command, and after it nothing is wrong.
	mends bool
}

// shell runs a line on the host.
func (h *host) shell(line string) {
	h.t.Helper()
	if err := h.ns.Run("sh", "-ec", line); err != nil {
		h.t.Fatal(err)
	}
}

// serve runs a container with a web server and waits until it listens.
func (h *host) serve(name string, listen string, flags ...string) {
	h.t.Helper()
	args := append([]string{"run", "-d", "--name", name}, flags...)
	h.netctl(append(args, "host", "/bin/busybox", "httpd", "-f", "-p", listen, "-h", "/usr/share")...)
	port := listen[strings.LastIndexByte(listen, ':')+1:]
	h.awaitListener(name, port)
}

// awaitListener waits until the container has a TCP socket that listens.
func (h *host) awaitListener(name, port string) {
	h.t.Helper()
	var n int
	fmt.Sscan(port, &n)
	pid := h.netctl("inspect", "-f", "{{.State.Pid}}", name)
	want := regexp.MustCompile(fmt.Sprintf(`:%04X [0-9A-F]+:0000 0A`, n))
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		v4, _ := os.ReadFile("/proc/" + pid + "/net/tcp")
		v6, _ := os.ReadFile("/proc/" + pid + "/net/tcp6")
		if want.Match(v4) || want.Match(v6) {
			return
		}
	}
	h.t.Fatalf("%s does not listen on %s", name, port)
}

// serveUDP runs a container with a program that waits for datagrams.
func (h *host) serveUDP(name string, port int, flags ...string) {
	h.t.Helper()
	args := append([]string{"run", "-d", "--name", name}, flags...)
	h.netctl(append(args, "host", "/usr/bin/python3", "-c",
		fmt.Sprintf("import socket,time; s=socket.socket(2,2); s.bind(('',%d)); print('up',flush=True); time.sleep(1000)", port))...)
	for deadline := time.Now().Add(30 * time.Second); h.netctl("logs", name) == ""; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			h.t.Fatalf("%s does not listen on UDP port %d", name, port)
		}
	}
}

// six runs a web server on a network of both families.
func six(h *host) {
	h.netctl("create", "six", "--subnet", "10.66.0.0/24", "--subnet", "fd77::/64", "--disable-dns")
	h.serve("web", "[::]:80", "--network", "six", "-p", "8080:80")
}

// outside makes another machine, 192.0.2.1, behind the host's eth0, with a web
// server.
func (h *host) outside(mtu int) {
	h.t.Helper()
	out, err := netns.New()
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { out.Close() })
	h.shell(fmt.Sprintf("ip link add eth0 mtu %d type veth peer name eth0 mtu %d netns %s", mtu, mtu, out.Path()))
	h.shell("ip addr add 192.0.2.2/24 dev eth0; ip link set eth0 up; ip route add default via 192.0.2.1")
	if err := out.Run("sh", "-ec", "ip addr add 192.0.2.1/24 dev eth0; ip link set eth0 up"); err != nil {
		h.t.Fatal(err)
	}
	h.serveIn(out, "80")
}

func (h *host) container(name string, flags ...string) {
	h.t.Helper()
	args := append([]string{"run", "-d", "--name", name}, flags...)
	h.netctl(append(args, "host", "sleep", "1000")...)
}

func (h *host) pid(name string) string { return h.netctl("inspect", "-f", "{{.State.Pid}}", name) }

// insideNet runs a line in a container's network namespace with the host's
// programs and rights.
func (h *host) insideNet(name, line string) {
	h.t.Helper()
	h.shell("nsenter -t " + h.pid(name) + " -n sh -ec '" + line + "'")
}

func sickHosts() []sick {
	web := func(h *host) { h.serve("web", "80", "-p", "8080:80") }
	pair := func(h *host) {
		h.netctl("create", "net", "--subnet", "10.77.0.0/24")
		h.container("app", "--network", "net")
		h.serve("db", "5432", "--network", "net")
	}
	outward := func(h *host) {
		h.outside(1500)
		h.container("app")
	}
	return []sick{
		{"never started", func(h *host) { h.netctl("container", "create", "--name", "web", "host", "sleep", "1000") },
			[]string{"web"}, `web was never started`, `^netctl start web$`, true},
		{"stopped", func(h *host) { web(h); h.netctl("stop", "-t", "0", "web") },
			[]string{"web"}, `web has ended with status 137`, `netctl start web`, false},
		{"failed", func(h *host) {
			h.netctl("run", "-d", "--name", "web", "host", "sh", "-c", "exit 3")
			h.netctl("wait", "web")
		},
			[]string{"web"}, `web has ended with status 3`, `^netctl logs web`, false},
		{"paused", func(h *host) { web(h); h.netctl("pause", "web") },
			[]string{"web", "--port", "8080"}, `web is paused`, `^netctl unpause web$`, true},
		{"loopback only", func(h *host) { h.serve("web", "127.0.0.1:80", "-p", "8080:80") },
			[]string{"web"}, `listens on port 80 of its loopback interface only`, `0\.0\.0\.0`, false},
		{"another port", func(h *host) { h.serve("web", "81", "-p", "8080:80") },
			[]string{"web", "--port", "8080"}, `nothing in web listens on port 80/tcp; its program listens on 81`, `-p 8080:81`, false},
		{"nothing listens", func(h *host) { h.container("web", "-p", "8080:80") },
			[]string{"web"}, `nothing in web listens on port 80/tcp, or on any other`, `netctl logs web`, false},
		{"wrong protocol", func(h *host) {
			h.serveUDP("web", 80, "-p", "8080:80")
		}, []string{"web"}, `port 80/tcp is published, and the program in web listens on 80/udp`, `-p 8080:80/udp`, false},
		{"not published", func(h *host) { h.serve("web", "80") },
			[]string{"web", "--port", "80"}, `web does not publish port 80`, `-p 80:80`, false},
		{"published elsewhere", func(h *host) { web(h); h.serve("other", "81", "-p", "9090:81") },
			[]string{"other", "--port", "8080"}, `port 8080 of the host leads to container web, not to other`, `netctl run`, false},
		{"no network", func(h *host) { h.serve("web", "80", "--network", "none") },
			[]string{"web"}, `web has no network but its own loopback interface`, `^netctl connect bridge web$`, false},
		{"port held by a container", func(h *host) {
			web(h)
			h.netctl("stop", "-t", "0", "web")
			h.serve("thief", "80", "-p", "8080:80")
		}, []string{"web"}, `its port 8080/tcp is published by container thief`, `^netctl stop thief && netctl start web$`, false},
		{"port held by a process", func(h *host) {
			web(h)
			h.netctl("stop", "-t", "0", "web")
			h.server("0.0.0.0:8080")
		}, []string{"web"}, `its port 8080/tcp is held by busybox \(pid \d+\)`, `netctl start web`, false},
		{"port without a container", func(h *host) { h.server("0.0.0.0:8080") },
			[]string{"--port", "8080"}, `port 8080 of the host is held by busybox \(pid \d+\); no container publishes it`, `-p 8080:PORT`, false},
		{"port of nobody", func(h *host) {},
			[]string{"--port", "8080"}, `no container publishes port 8080, and nothing listens on it`, `-p 8080:PORT`, false},
		{"rules flushed", func(h *host) { web(h); h.shell("iptables -t nat -F; iptables -F; nft flush ruleset") },
			[]string{"web"}, `the rules for it are gone from the packet filter`, `^netctl reload$`, true},
		{"forwarding off", func(h *host) { web(h); h.shell("echo 0 >/proc/sys/net/ipv4/ip_forward") },
			[]string{"web"}, `net\.ipv4\.ip_forward is 0`, `^sysctl -w net\.ipv4\.ip_forward=1$`, true},
		{"IPv6 forwarding off", func(h *host) { six(h); h.shell("echo 0 >/proc/sys/net/ipv6/conf/all/forwarding") },
			[]string{"web"}, `net\.ipv6\.conf\.all\.forwarding is 0`, `^sysctl -w net\.ipv6\.conf\.all\.forwarding=1$`, true},
		{"IPv6 dropped", func(h *host) { six(h); h.shell("ip6tables -I OUTPUT -p tcp --dport 80 -j DROP") },
			[]string{"web"}, `packets of the host to \[fd77::2\]:80 are dropped by ip6tables chain OUTPUT, rule: -p tcp .*--dport 80 -j DROP`, `^ip6tables -t filter -D OUTPUT`, true},
		{"UDP dropped", func(h *host) {
			h.serveUDP("web", 5300, "-p", "5300:5300/udp")
			h.shell("iptables -I OUTPUT -p udp --dport 5300 -j DROP")
		}, []string{"web"}, `packets of the host to \S+:5300 are dropped by iptables chain OUTPUT, rule: -p udp`, `^iptables -t filter -D OUTPUT`, true},
		{"route_localnet off", func(h *host) { web(h); h.shell("echo 0 >/proc/sys/net/ipv4/conf/netctl0/route_localnet") },
			[]string{"web"}, `net\.ipv4\.conf\.netctl0\.route_localnet is 0`, `^sysctl -w `, true},
		{"bridge down", func(h *host) { web(h); h.shell("ip link set netctl0 down") },
			[]string{"web"}, `bridge netctl0 of network bridge is down`, `^ip link set netctl0 up$`, true},
		{"gateway lost", func(h *host) { web(h); h.shell("ip addr flush dev netctl0 scope global") },
			[]string{"web"}, `bridge netctl0 of network bridge has lost its address \S+, the containers' gateway`, `^ip address add \S+ dev netctl0$`, true},
		{"interface down", func(h *host) { web(h); h.insideNet("web", "ip link set eth0 down") },
			[]string{"web"}, `interface eth0 of web is down`, `^netctl disconnect bridge web && netctl connect bridge web$`, false},
		{"address lost", func(h *host) { web(h); h.insideNet("web", "ip addr flush dev eth0 scope global") },
			[]string{"web"}, `interface eth0 of web has lost its address `, `netctl disconnect bridge web`, false},
		{"default route lost", func(h *host) { web(h); h.insideNet("web", "ip route del default") },
			[]string{"web"}, `web has no route to the world outside of its network`, `netctl disconnect bridge web`, false},
		{"interface off the bridge", func(h *host) {
			web(h)
			h.shell("for l in $(ls /sys/class/net >/dev/null; ip -o link show type veth | sed 's/^[0-9]*: \\([^@:]*\\).*/\\1/'); do ip link set $l nomaster; done")
		}, []string{"web"}, `the host does not reach \S+ on bridge netctl0`, `netctl disconnect bridge web`, false},
		{"policy of FORWARD", func(h *host) {
			web(h)
			h.shell("iptables -I FORWARD -j RETURN; iptables -P FORWARD DROP")
		}, []string{"web"}, `dropped .* by iptables chain FORWARD \(its policy\)`, `^iptables -t filter -P FORWARD ACCEPT$`, true},
		{"rule in FORWARD", func(h *host) { web(h); h.shell("iptables -I FORWARD -p tcp --dport 80 -j DROP") },
			[]string{"web"}, `dropped .* by iptables chain FORWARD, rule: .*--dport 80 -j DROP`, `^iptables -t filter -D FORWARD .*-j DROP$`, true},
		{"chain of nftables", func(h *host) {
			web(h)
			h.shell("nft add table inet guard; nft add chain inet guard watch '{ type filter hook forward priority 10; policy drop; }'")
		}, []string{"web"}, `dropped .* by nft chain inet guard watch \(its policy\)`, `^nft add chain inet guard watch '\{ policy accept; \}'$`, true},
		{"rule of nftables", func(h *host) {
			web(h)
			h.shell("nft add table inet guard; nft add chain inet guard watch '{ type filter hook forward priority 10; }'; nft add rule inet guard watch tcp dport 80 drop")
		}, []string{"web"}, `dropped .* by nft chain inet guard watch, rule: tcp dport == 80 drop`, `^nft delete rule inet guard watch handle \d+$`, true},
		{"a VPN's route over the network", func(h *host) {
			h.netctl("create", "net", "--subnet", "10.77.0.0/24")
			h.serve("web", "80", "--network", "net", "-p", "8080:80")
			h.shell("ip link add vpn0 type veth peer name vpn1; ip addr add 10.9.0.2/24 dev vpn0; ip link set vpn0 up; ip link set vpn1 up; ip route add 10.77.0.0/25 dev vpn0")
		}, []string{"web"}, `the host sends packets for 10\.77\.0\.2 by vpn0, not by bridge \S+: another route has addresses of network net \(10\.77\.0\.0/24\)`, `^ip route add 10\.77\.0\.2/32 dev `, true},
		{"a VPN that lets nothing else out", func(h *host) { outward(h); h.shell("ip rule add iif netctl0 prohibit priority 100") },
			[]string{"app", "--to", "192.0.2.1", "--port", "80"}, `the host does not let packets from 10\.\S+ \(netctl0\) go to 192\.0\.2\.1: .*, by a rule of policy routing`, `^ip rule add iif netctl0 lookup main priority 1$`, true},
		{"another address now", func(h *host) {
			h.outside(1500)
			h.serve("web", "80", "-p", "192.0.2.2:8080:80")
			h.shell("ip addr add 192.0.2.3/24 dev eth0; ip addr del 192.0.2.2/24 dev eth0; ip addr add 192.0.2.3/24 dev eth0 || true")
		}, []string{"web"}, `port 8080 is published on 192\.0\.2\.2, an address that the host does not have`, `-p 8080:80`, false},
		{"firewalld without the bridge", func(h *host) {
			pair(h)
			h.shell("nft -f - <<'END'\ntable inet firewalld {\nchain filter_INPUT {\ntype filter hook input priority 10; policy accept;\nct state { established, related } accept\niifname \"lo\" accept\nct state invalid drop\nreject with icmpx admin-prohibited\n}\n}\nEND")
		}, []string{"app", "--to", "db"}, `questions of app to the resolver at 10\.77\.0\.1 are dropped by nft chain inet firewalld filter_INPUT, rule: reject`, `^firewall-cmd --zone=trusted --change-interface=`, false},
		{"unhealthy", func(h *host) {
			h.serve("web", "80", "-p", "8080:80", "--health-cmd", "echo no database; exit 1", "--health-interval", "100ms", "--health-retries", "1")
			for deadline := time.Now().Add(30 * time.Second); h.netctl("inspect", "-f", "{{.State.Health.Status}}", "web") != "unhealthy" && time.Now().Before(deadline); {
				time.Sleep(20 * time.Millisecond)
			}
		}, []string{"web"}, `web is unhealthy: its health check has failed \d+ times and said: no database`, `^netctl logs web`, false},
		{"host's own way shut", func(h *host) { web(h); h.shell("iptables -I OUTPUT -o netctl0 -j DROP") },
			[]string{"web"}, `packets of the host to \S+ are dropped by iptables chain OUTPUT, rule: -o netctl0 -j DROP`, `^iptables -t filter -D OUTPUT`, true},
		{"other network", func(h *host) {
			pair(h)
			h.container("far")
		}, []string{"far", "--to", "db", "--port", "5432"}, `far and db have no network in common \(far: bridge; db: net\)`, `^netctl connect net far$`, true},
		{"peer stopped", func(h *host) { pair(h); h.netctl("stop", "-t", "0", "db") },
			[]string{"app", "--to", "db"}, `db has ended with status 137`, `netctl start db`, false},
		{"peer deaf", pair,
			[]string{"app", "--to", "db", "--port", "80"}, `nothing in db listens on port 80/tcp; its program listens on 5432`, `80:5432`, false},
		{"containers apart", func(h *host) {
			h.netctl("create", "net", "--subnet", "10.77.0.0/24", "-o", "com.docker.network.bridge.enable_icc=false")
			h.container("app", "--network", "net")
			h.serve("db", "5432", "--network", "net")
		}, []string{"app", "--to", "db", "--port", "5432"}, `network net keeps its containers apart`, `netctl connect`, false},
		{"resolv.conf changed", func(h *host) {
			pair(h)
			h.netctl("exec", "app", "sh", "-c", "echo nameserver 192.0.2.53 >/etc/resolv.conf")
		}, []string{"app", "--to", "db"}, `/etc/resolv.conf of app was changed: it does not name 10\.77\.0\.1`, `^netctl restart app$`, true},
		{"resolver dead", func(h *host) { pair(h); h.killResolver() },
			[]string{"app", "--to", "db"}, `the resolver at 10\.77\.0\.1 does not answer: dnsd does not run`, `^netctl restart app`, false},
		{"questions dropped", func(h *host) { pair(h); h.shell("iptables -I INPUT -p udp --dport 53 -j DROP") },
			[]string{"app", "--to", "db"}, `questions of app to the resolver at 10\.77\.0\.1 are dropped by iptables chain INPUT, rule: -p udp .*--dport 53 -j DROP`, `^iptables -t filter -D INPUT`, true},
		{"upstream dead", func(h *host) { pair(h) },
			[]string{"app", "--to", "example.org"}, `the host's (name server does not answer|/etc/resolv.conf names no server)`, `resolv\.conf|nameserver`, false},
		{"name mistyped", pair, []string{"app", "--to", "dd"}, `there is no container of the name dd`, `did you mean db\?`, false},
		{"killed for memory", func(h *host) {
			_, _, _ = h.try("run", "-d", "--name", "web", "--memory", "64m", "host", "/usr/bin/python3", "-c", "x = 'x' * (1 << 30)")
			_, _, _ = h.try("wait", "web")
		}, []string{"web"}, `web was killed because it used more memory than it may`, `--memory`, false},
		{"again and again", func(h *host) {
			h.netctl("run", "-d", "--name", "web", "--restart", "always", "host", "sh", "-c", "exit 7")
			for deadline := time.Now().Add(30 * time.Second); h.netctl("inspect", "-f", "{{.State.Status}}", "web") != "restarting" && time.Now().Before(deadline); {
				time.Sleep(20 * time.Millisecond)
			}
		}, []string{"web"}, `web ends again and again \(status 7`, `^netctl logs web$`, false},
		{"internal", func(h *host) {
			h.outside(1500)
			h.netctl("create", "net", "--subnet", "10.77.0.0/24", "--internal")
			h.container("app", "--network", "net")
		}, []string{"app", "--to", "192.0.2.1", "--port", "80"}, `app is on internal networks only \(net\)`, `^netctl connect bridge app$`, true},
		{"the host is cut off, too", func(h *host) {
			outward(h)
			h.shell("ip link set eth0 down; ip link set eth0 up; ip addr flush dev eth0; ip addr add 192.0.2.9/32 dev eth0; ip route add 192.0.2.1 dev eth0; ip neigh replace 192.0.2.1 lladdr 02:00:00:00:00:99 dev eth0")
		},
			[]string{"app", "--to", "192.0.2.1", "--port", "80"}, `the host itself does not reach 192\.0\.2\.1:80`, `ip route get 192\.0\.2\.1`, false},
		{"way out shut", func(h *host) { outward(h); h.shell("iptables -I FORWARD -o eth0 -j REJECT") },
			[]string{"app", "--to", "192.0.2.1", "--port", "80"}, `packets of app to 192\.0\.2\.1:80 are dropped by iptables chain FORWARD, rule: -o eth0 -j REJECT`, `^iptables -t filter -D FORWARD`, true},
		{"masquerade flushed", func(h *host) {
			outward(h)
			h.shell("iptables -t nat -F POSTROUTING; nft delete table ip netctl || true")
		},
			[]string{"app", "--to", "192.0.2.1", "--port", "80"}, `packets of app to 192\.0\.2\.1:80 are dropped`, `^netctl reload$`, true},
		{"large packets vanish", func(h *host) {
			h.outside(1300)
			h.netctl("create", "net", "--subnet", "10.77.0.0/24", "-o", "mtu=1500")
			h.container("app", "--network", "net")
			h.shell("iptables -I OUTPUT -p icmp -j DROP")
		}, []string{"app", "--to", "192.0.2.1", "--port", "80"}, `packets of app are up to 1500 bytes, eth0 takes 1300, and the message that they are too large does not come back`, `mtu=1300`, false},
	}
}

// server runs a web server on the host itself until the test ends.
func (h *host) server(listen string) {
	h.t.Helper()
	h.serveIn(h.ns, listen)
}

// serveIn runs a web server in a namespace until the test ends.
func (h *host) serveIn(ns *netns.Namespace, listen string) {
	h.t.Helper()
	cmd := exec.Command("/bin/busybox", "httpd", "-f", "-p", listen, "-h", "/usr/share")
	if err := ns.Do(cmd.Start); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	port := listen[strings.LastIndexByte(listen, ':')+1:]
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if out, err := ns.Output("ss", "-Hltn", "sport", "=", ":"+port); err == nil && out != "" {
			return
		}
	}
	h.t.Fatalf("no server listens on %s", listen)
}

// killResolver kills this host's dnsd, and no other.
func (h *host) killResolver() {
	h.t.Helper()
	for _, line := range h.processes() {
		if pid, rest, _ := strings.Cut(line, " "); strings.Contains(rest, "dnsd") {
			h.shell("kill -9 " + pid)
		}
	}
}

func TestDoctorFindsTheCause(t *testing.T) {
	for _, s := range sickHosts() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			s.upset(h)
			ask := append([]string{"doctor", "--timeout", "2s"}, s.ask...)
			out, stderr, status := h.try(ask...)
			cause, mend := line(out, "cause  "), line(out, "mend   ")
			if status != 1 || !regexp.MustCompile(s.cause).MatchString(cause) || !regexp.MustCompile(s.mend).MatchString(mend) {
				t.Fatalf("status %d, %s\n%s\nwant %s\n     %s", status, stderr, out, s.cause, s.mend)
			}
			if !s.mends {
				return
			}
			h.do(mend)
			ask[2] = "30s" // a machine under load may lose packets
			if out, stderr, status := h.try(ask...); status != 0 || !strings.HasSuffix(out, "nothing is wrong") {
				t.Errorf("after %s: status %d, %s\n%s", mend, status, stderr, out)
			}
		})
	}
}

// do types a command that doctor has given.
func (h *host) do(command string) {
	h.t.Helper()
	if args, ours := strings.CutPrefix(command, "netctl "); ours {
		h.netctl(strings.Fields(args)...)
		return
	}
	h.shell(command)
}

func line(out, prefix string) string {
	for l := range strings.Lines(out) {
		if rest, ok := strings.CutPrefix(strings.TrimSuffix(l, "\n"), prefix); ok {
			return rest
		}
	}
	return ""
}

// A healthy host has nothing, whatever is asked, with either packet filter.
func TestDoctorOnAHealthyHost(t *testing.T) {
	for _, firewall := range []string{"iptables", "nftables"} {
		t.Run(firewall, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			h.outside(1400)
			h.netctl("create", "net", "--subnet", "10.77.0.0/24", "--ipv6")
			for _, name := range []string{"web", "db"} {
				args := []string{"--firewall", firewall, "run", "-d", "--name", name, "--network", "net"}
				if name == "web" {
					args = append(args, "-p", "8080:80", "-p", "127.0.0.1:8081:80")
				}
				h.netctl(append(args, "host", "/bin/busybox", "httpd", "-f", "-p", "80", "-h", "/usr/share")...)
				h.awaitListener(name, "80")
			}
			h.netctl("--firewall", firewall, "run", "-d", "--name", "own", "--network", "host", "host", "sleep", "1000")
			// A second network, which no published port leads to.
			h.netctl("create", "more", "--subnet", "10.78.0.0/24")
			h.netctl("--firewall", firewall, "network", "connect", "more", "web")
			// A network without IPv4, where 127.0.0.1 leads nowhere.
			h.netctl("create", "six", "--ipv6", "--ipv4=false")
			h.netctl("--firewall", firewall, "run", "-d", "--name", "only6", "--network", "six", "-p", "8082:80", "host", "/bin/busybox", "httpd", "-f", "-p", "80", "-h", "/usr/share")
			h.awaitListener("only6", "80")
			for _, ask := range []string{
				"only6", "only6 --port 8082", "", "web", "db", "own", "web --port 8080", "web --port 80", "web --port 8081", "--port 8080",
				"web --to db", "web --to db --port 80", "db --to web", "web --to 192.0.2.1 --port 80", "web --to 192.0.2.1",
			} {
				out, stderr, status := h.try(append([]string{"--firewall", firewall, "doctor", "--timeout", "30s"}, strings.Fields(ask)...)...)
				if status != 0 || !strings.HasSuffix(out, "nothing is wrong") {
					t.Errorf("doctor %s: status %d, %s\n%s", ask, status, stderr, out)
				}
			}
		})
	}
}
