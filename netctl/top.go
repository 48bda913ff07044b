package netctl

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

func (c containers) top() *cobra.Command {
	return &cobra.Command{
		Use:                "top CONTAINER [PS-OPTIONS|COLUMN...]",
		Short:              "Show a container's processes",
		Long:               "Show a container's processes, by the host's ps and with its options (default -ef); or only some columns, such as 'pid comm'.",
		DisableFlagParsing: true, // the rest is for ps
		ValidArgsFunction:  one(c.completion(isActive)),
		RunE: func(cmd *cobra.Command, given []string) error {
			if slices.Contains(given, "--help") {
				return cmd.Help()
			}
			if err := args(1, -1)(cmd, given); err != nil {
				return err
			}
			return c.explain(c.showTop(cmd.Context(), given[0], given[1:]), given[0])
		},
	}
}

func (c containers) showTop(ctx context.Context, ref string, options []string) error {
	all := c.all()
	rec, err := all.Find(ctx, ref)
	if err != nil {
		return err
	}
	pids, err := all.Pids(&rec)
	if err != nil {
		return err
	}
	if len(options) == 0 {
		options = []string{"-ef"}
	}
	columns := psColumns(options)
	if columns != "" {
		var list []string
		for _, pid := range pids {
			list = append(list, strconv.Itoa(pid))
		}
		options = []string{"-o", columns, "-p", strings.Join(list, ",")}
	}
	out, err := exec.CommandContext(ctx, "ps", options...).Output()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		return fmt.Errorf("ps %s: %s", strings.Join(options, " "), firstLine(string(failed.Stderr)))
	}
	if err != nil {
		return fmt.Errorf("list processes: %w", err)
	}
	table := string(out)
	if columns == "" {
		if table, err = ownProcesses(table, pids); err != nil {
			return err
		}
	}
	_, err = fmt.Fprint(c.app.Stdout, table)
	return err
}

// psColumns are the columns in podman's form of the command, names without a dash, as ps
// has them; "" for options of ps.
func psColumns(words []string) string {
	known := []string{
		"args", "comm", "etime", "group", "nice", "pcpu", "pgid", "pid", "pmem", "ppid", "rgroup", "rss", "ruser", "start", "stat", "time",
		"tty", "user", "vsz",
	}
	columns := strings.Split(strings.Join(words, ","), ",")
	if slices.ContainsFunc(columns, func(c string) bool { return !slices.Contains(known, c) }) {
		return ""
	}
	return strings.Join(columns, ",")
}

// firstLine is the first that says something.
func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return line
}

// ownProcesses keeps the heading of ps's output and the lines of the given
// processes.
func ownProcesses(out string, pids []int) (string, error) {
	heading, rest, _ := strings.Cut(out, "\n")
	column := slices.Index(strings.Fields(heading), "PID")
	if column < 0 {
		return "", errors.New("the options of ps must leave the PID column in")
	}
	kept := heading + "\n"
	for line := range strings.Lines(rest) {
		fields := strings.Fields(line)
		if len(fields) <= column {
			continue
		}
		if pid, err := strconv.Atoi(fields[column]); err == nil && slices.Contains(pids, pid) {
			kept += line
		}
	}
	return kept, nil
}
