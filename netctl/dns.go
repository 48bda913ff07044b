package netctl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/netctl/netctl/dnsd/client"
)

// dnsCommands ask the resolver of this host how it is doing. It is started by
// the first container with a name, and ends after the last one.
type dnsCommands struct{ app *App }

func (c dnsCommands) group() *cobra.Command {
	group := newGroup("dns", "Look into the resolver of the containers' names",
		c.status(), c.lookup(), c.records(), c.metrics())
	group.GroupID = groupNetworks
	return group
}

// ask sends the resolver a command and decodes its reply, if it is JSON.
func (c dnsCommands) ask(ctx context.Context, command string, reply any) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, client.Patience)
	defer cancel()
	text, err := client.Do(ctx, c.app.StateDir, command)
	if errors.Is(err, client.ErrNotRunning) {
		return "", &Error{Status: ExitFailed, Err: fmt.Errorf("no resolver runs for %s", c.app.StateDir),
			Hint: "the first container on a network with names starts it"}
	}
	if err == nil && reply != nil {
		err = json.Unmarshal([]byte(text), reply)
	}
	return text, err
}

// resolverStatus is the resolver's reply to "status".
type resolverStatus struct {
	PID         int
	Uptime      string
	Base        string
	Generation  uint64
	Attachments int
	Listeners   []struct {
		Address           netip.Addr
		Port              uint16
		Device, Container string
		Error             string
	}
	Upstream []netip.Addr
	Servers  []struct {
		Server          netip.AddrPort
		Misses, Waiting int
		Last            bool
	}
	InFlight, Connections int
	Count                 struct {
		UDP, TCP, Dropped, Local, Refused, Forwarded, Shared, Retries, TimedOut uint64
	}
}

// formatted shows an answer as --format wants it: as it came, or by a template.
func formatted[T any](w io.Writer, text, format string, answer T) error {
	if format == "json" {
		_, err := fmt.Fprintln(w, text)
		return err
	}
	return showTemplate(w, format, []T{answer})
}

func (c dnsCommands) status() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "status [--format FORMAT]",
		Short: "Show where the resolver listens, whom it asks, and what it has done",
		Args:  args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var st resolverStatus
			text, err := c.ask(cmd.Context(), "status", &st)
			switch {
			case err != nil:
				return err
			case format != "":
				return formatted(c.app.Stdout, text, format, st)
			}
			return c.showStatus(st)
		},
	}
	cmd.Flags().StringVarP(&format, "format", "f", "", "'json' or a Go template")
	return cmd
}

func (c dnsCommands) showStatus(st resolverStatus) error {
	w := tabwriter.NewWriter(c.app.Stdout, 0, 1, 3, ' ', 0)
	fmt.Fprintf(w, "Process:\t%d, up %s\n", st.PID, st.Uptime)
	fmt.Fprintf(w, "Domain:\t%s\n", st.Base)
	fmt.Fprintf(w, "Attachments:\t%d (generation %d)\n", st.Attachments, st.Generation)
	for _, l := range st.Listeners {
		at := netip.AddrPortFrom(l.Address, l.Port).String()
		switch {
		case l.Container != "":
			at += " in container " + shortID(l.Container, false)
		default:
			at += " on " + l.Device
		}
		switch {
		case l.Error != "":
			at += ": " + l.Error
		case l.Container == "" && l.Port != 53:
			at += " (port 53 is another server's; rules lead here)"
		}
		fmt.Fprintf(w, "Listens:\t%s\n", at)
	}
	upstream := addrTexts(st.Upstream)
	if upstream == "" {
		upstream = "none"
	}
	fmt.Fprintf(w, "Upstream:\t%s\n", upstream)
	for _, s := range st.Servers {
		health := "answers"
		switch {
		case s.Last:
			health = fmt.Sprintf("left %d questions in a row unanswered, is asked last", s.Misses)
		case s.Misses > 0:
			health = fmt.Sprintf("left the last %d unanswered", s.Misses)
		}
		fmt.Fprintf(w, "Server:\t%s %s, %d waiting\n", s.Server, health, s.Waiting)
	}
	n := st.Count
	fmt.Fprintf(w, "Questions:\t%d over UDP, %d over TCP, %d dropped\n", n.UDP, n.TCP, n.Dropped)
	fmt.Fprintf(w, "Answers:\t%d own, %d refused, %d forwarded (%d shared, %d asked of a further server, %d timed out)\n",
		n.Local, n.Refused, n.Forwarded, n.Shared, n.Retries, n.TimedOut)
	fmt.Fprintf(w, "Now:\t%d questions under way, %d TCP connections\n", st.InFlight, st.Connections)
	return w.Flush()
}

func addrTexts(list []netip.Addr) string {
	texts := make([]string, len(list))
	for i, a := range list {
		texts[i] = a.String()
	}
	return strings.Join(texts, ", ")
}

// recordRow is what `dns records --format` knows.
type recordRow struct {
	Network   string
	Names     string
	Hostname  string
	Addresses string
	Container string
	ID        string `header:"CONTAINER ID"`
}

func (c dnsCommands) records() *cobra.Command {
	l := listing{Columns: []string{"Network", "Names", "Addresses", "Container"}}
	cmd := &cobra.Command{
		Use:               "records [OPTIONS] [NETWORK]",
		Short:             "List the names that resolve, of a network or of all",
		Args:              args(0, 1),
		ValidArgsFunction: networkCommands(c).completeNetworks,
		RunE: func(cmd *cobra.Command, given []string) error {
			var records []struct {
				Network, Container, Hostname string
				Names                        []string
				Addresses                    []netip.Addr
			}
			if _, err := c.ask(cmd.Context(), strings.TrimSpace("records "+strings.Join(given, "")), &records); err != nil {
				return err
			}
			var rows []recordRow
			for _, r := range records {
				rows = append(rows, recordRow{Network: r.Network, Names: strings.Join(r.Names, ", "), Hostname: r.Hostname,
					Addresses: addrTexts(r.Addresses), Container: shortID(r.Container, false), ID: shortID(r.Container, false)})
			}
			return show(c.app.Stdout, l, rows)
		},
	}
	listingFlags(cmd.Flags(), &l)
	return cmd
}

// lookupReply is the resolver's reply to "lookup".
type lookupReply struct {
	Name, Container, Answer, Network, Target, Reason string
	Tier                                             int
	Addresses, Servers                               []netip.Addr
}

func (c dnsCommands) lookup() *cobra.Command {
	var as, format string
	cmd := &cobra.Command{
		Use:   "lookup --as CONTAINER NAME",
		Short: "Tell what a name is to a container, and why",
		Args:  args(1, 1),
		RunE: func(cmd *cobra.Command, given []string) error {
			if as == "" {
				return usageError("missing --as: which container asks?")
			}
			if strings.ContainsAny(as+given[0], " \t\n") {
				return usageError("neither a container nor a name has spaces")
			}
			var r lookupReply
			text, err := c.ask(cmd.Context(), "lookup "+as+" "+given[0], &r)
			switch {
			case err != nil:
				return err
			case format != "":
				return formatted(c.app.Stdout, text, format, r)
			}
			_, err = fmt.Fprintf(c.app.Stdout, "%s: %s\n", given[0], r)
			return err
		},
	}
	cmd.Flags().StringVar(&as, "as", "", "the container that asks, by name or ID")
	cmd.Flags().StringVarP(&format, "format", "f", "", "'json' or a Go template")
	return cmd
}

// String tells the answer and the reason in a line.
func (r lookupReply) String() string {
	what := map[string]string{
		"addresses": addrTexts(r.Addresses), "name": r.Target, "missing": "no such name", "nothing": "no address",
		"forwarded": "asked of " + addrTexts(r.Servers), "failure": "failure",
	}[r.Answer]
	return what + " (" + r.Reason + ")"
}

func (c dnsCommands) metrics() *cobra.Command {
	return &cobra.Command{
		Use:   "metrics",
		Short: "Print the resolver's metrics in the text format of Prometheus",
		Args:  args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			text, err := c.ask(cmd.Context(), "metrics", nil)
			if err == nil {
				_, err = fmt.Fprintln(c.app.Stdout, text)
			}
			return err
		},
	}
}
