// Command attach times ADD and DEL of our plugins beside the reference plugins,
// interleaved in one run (A B A B): each implementation in a private host
// namespace of its own, each operation on a fresh container namespace, one
// published port and masquerade. It prints medians, spread and ratios.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/netctl/netctl/test/netns"
)

func main() {
	ours := flag.String("ours", "bin/cni", "directory of our plugins")
	reference := flag.String("reference", "bin/reference", "directory of the reference plugins")
	rounds := flag.Int("n", 50, "operations of each kind that count")
	attached := flag.Int("attached", 0, "containers that are attached already")
	flag.Parse()
	if err := run(*ours, *reference, *rounds, *attached); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

// run makes a world per implementation and times them in turn.
func run(ours, reference string, rounds, attached int) error {
	var worlds []*world
	for _, implementation := range implementations(ours, reference) {
		w, err := newWorld(implementation)
		if err != nil {
			return err
		}
		defer w.close()
		if err := w.fill(attached); err != nil {
			return err
		}
		worlds = append(worlds, w)
	}
	const warmUp = 3
	for round := range warmUp + rounds {
		for _, w := range worlds {
			if err := w.once(round >= warmUp); err != nil {
				return fmt.Errorf("%s, round %d: %w", w.name, round, err)
			}
		}
	}
	report(os.Stdout, worlds, rounds, attached)
	return nil
}

// once attaches and detaches one container, and remembers what it took.
func (w *world) once(counts bool) error {
	container, err := netns.New()
	if err != nil {
		return err
	}
	defer container.Close()
	w.serial++
	add, result, err := w.add(container, w.serial)
	if err != nil {
		return err
	}
	del, err := w.del(container, w.serial, result)
	if err != nil {
		return err
	}
	if counts {
		w.adds, w.dels = append(w.adds, add), append(w.dels, del)
	}
	return nil
}
