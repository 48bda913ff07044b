// Command commands times what a person or a runtime asks of a host that has many
// containers: lists, inspections, reload, garbage collection, prune. Each host is
// a network namespace of its own; so many containers are attached by the plugin,
// each with a published port and a name, and as many are created by netctl.
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/netctl/netctl/bench/page"
)

func main() {
	bin := flag.String("bin", "bin", "directory of our programs")
	points := flag.String("points", "100,1000", "numbers of containers")
	n := flag.Int("n", 5, "calls of each command that changes nothing")
	file := flag.String("page", "", "page of documentation that gets the result")
	flag.Parse()
	if err := run(*bin, *points, *n, *file); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

func run(bin, points string, n int, file string) error {
	var sizes []int
	for text := range strings.SplitSeq(points, ",") {
		size, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("-points: %w", err)
		}
		sizes = append(sizes, size)
	}
	var hosts []*host
	for _, size := range sizes {
		h, err := newHost(bin, size)
		if err != nil {
			return err
		}
		defer h.close()
		fmt.Fprintln(os.Stderr, "# attach and create", size)
		if err := h.fill(); err != nil {
			return err
		}
		hosts = append(hosts, h)
	}
	rows, err := measure(hosts, n)
	if err != nil {
		return err
	}
	s := page.New("commands")
	s.Printf("## Commands beside many containers")
	s.Printf("")
	s.Printf("`go run ./bench/commands %s` (%s). Medians of %d calls in milliseconds: from start to end, and (processor time).", strings.Join(os.Args[1:], " "), page.Machine(), n)
	s.Printf("So many containers are attached to one network, each with a published port and a name, and as many are created by netctl. The last three are called once.")
	s.Table(table(sizes, rows))
	fmt.Print(s)
	if file == "" {
		return nil
	}
	return s.Write(file)
}

// A row is one command's times on each host.
type row struct {
	name  string
	times [][]times
}

func measure(hosts []*host, n int) (rows []row, err error) {
	for _, c := range questions() {
		r := row{c.name, make([][]times, len(hosts))}
		fmt.Fprintln(os.Stderr, "#", c.name)
		for range n { // in turns: a load of the machine touches all alike
			for i, h := range hosts {
				t, err := h.call(c)
				if err != nil {
					return nil, err
				}
				r.times[i] = append(r.times[i], t)
			}
		}
		rows = append(rows, r)
	}
	for _, c := range ends() {
		r := row{c.name, make([][]times, len(hosts))}
		fmt.Fprintln(os.Stderr, "#", c.name)
		for i, h := range hosts {
			t, err := h.call(c)
			if err != nil {
				return nil, err
			}
			r.times[i] = []times{t}
		}
		rows = append(rows, r)
	}
	return rows, nil
}

func table(sizes []int, rows []row) [][]string {
	head := []string{""}
	for _, size := range sizes {
		head = append(head, fmt.Sprintf("%d containers", size))
	}
	result := [][]string{head}
	for _, r := range rows {
		line := []string{r.name}
		for _, t := range r.times {
			line = append(line, fmt.Sprintf("%.0f (%.0f)", median(t, times.whole), median(t, times.processor)))
		}
		result = append(result, line)
	}
	return result
}

func median(all []times, of func(times) float64) float64 {
	var values []float64
	for _, t := range all {
		values = append(values, of(t))
	}
	slices.Sort(values)
	return values[len(values)/2]
}
