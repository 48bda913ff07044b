package netctl

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/netctl/netctl/netctl/runner"
)

func (c containers) port() *cobra.Command {
	return &cobra.Command{
		Use:               "port CONTAINER [PORT[/PROTOCOL]]",
		Short:             "Show published ports",
		Args:              args(1, 2),
		ValidArgsFunction: one(c.completion(isActive)),
		RunE: func(cmd *cobra.Command, args []string) error {
			rec, err := c.all().Find(cmd.Context(), args[0])
			if err != nil {
				return c.explain(err, args[0])
			}
			ports := sortedPorts(published(rec))
			if len(args) == 1 {
				for _, p := range ports {
					for _, host := range hostAddresses(p) {
						fmt.Fprintf(c.app.Stdout, "%d/%s -> %s\n", p.ContainerPort, p.Protocol, host)
					}
				}
				return nil
			}
			return c.showPort(rec, ports, args[1])
		},
	}
}

func (c containers) showPort(rec runner.Container, ports []runner.PortSpec, text string) error {
	wanted, err := parseExpose(text)
	if err != nil || len(wanted) != 1 {
		return usageError("invalid port %q: want PORT[/PROTOCOL]", text)
	}
	found := false
	for _, p := range ports {
		if p.ContainerPort == wanted[0].ContainerPort && p.Protocol == wanted[0].Protocol {
			found = true
			for _, host := range hostAddresses(p) {
				fmt.Fprintln(c.app.Stdout, host)
			}
		}
	}
	if !found {
		return fmt.Errorf("no public port '%s' published for %s", text, rec.Name)
	}
	return nil
}

// published are the ports that really are, with the host ports chosen.
func published(rec runner.Container) []runner.PortSpec {
	var ports []runner.PortSpec
	for _, a := range rec.State.Attached {
		ports = append(ports, a.Ports...)
	}
	return ports
}

func sortedPorts(ports []runner.PortSpec) []runner.PortSpec {
	ports = slices.Clone(ports)
	slices.SortFunc(ports, func(a, b runner.PortSpec) int {
		return cmp.Or(cmp.Compare(a.ContainerPort, b.ContainerPort), cmp.Compare(a.Protocol, b.Protocol),
			a.HostIP.Compare(b.HostIP), cmp.Compare(a.HostPort, b.HostPort))
	})
	return ports
}

// hostAddresses are where a port can be reached; without an address, on all of
// both families.
func hostAddresses(p runner.PortSpec) []string {
	port := strconv.Itoa(int(p.HostPort))
	if p.HostIP.IsValid() {
		return []string{net.JoinHostPort(p.HostIP.String(), port)}
	}
	return []string{"0.0.0.0:" + port, "[::]:" + port}
}

// portsText is the column of ps: published ports, neighbours folded into
// ranges, then those that are only exposed.
func portsText(rec runner.Container) string {
	if !rec.State.Status.Active() {
		return ""
	}
	ports := sortedPorts(published(rec))
	var texts []string
	for _, family := range []int{0, 1} {
		texts = append(texts, foldPorts(ports, family)...)
	}
	for _, e := range sortedPorts(rec.Exposed) {
		if !slices.ContainsFunc(ports, func(p runner.PortSpec) bool {
			return p.ContainerPort == e.ContainerPort && p.Protocol == e.Protocol
		}) {
			texts = append(texts, fmt.Sprintf("%d/%s", e.ContainerPort, e.Protocol))
		}
	}
	return strings.Join(texts, ", ")
}

// foldPorts writes the n-th host address of each port.
func foldPorts(ports []runner.PortSpec, n int) []string {
	var texts []string
	for i := 0; i < len(ports); {
		first := ports[i]
		end := i + 1
		for end < len(ports) && follows(ports[end-1], ports[end]) {
			end++
		}
		last := ports[end-1]
		i = end
		hosts := hostAddresses(first)
		if n >= len(hosts) {
			continue
		}
		host, inside := hosts[n], strconv.Itoa(int(first.ContainerPort))
		if last != first {
			host += "-" + strconv.Itoa(int(last.HostPort))
			inside += "-" + strconv.Itoa(int(last.ContainerPort))
		}
		texts = append(texts, host+"->"+inside+"/"+first.Protocol)
	}
	return texts
}

func follows(a, b runner.PortSpec) bool {
	return a.Protocol == b.Protocol && a.HostIP == b.HostIP &&
		b.ContainerPort == a.ContainerPort+1 && b.HostPort == a.HostPort+1
}
