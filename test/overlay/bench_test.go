package overlay

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/netctl/netctl/bench/page"
)

var benchPage = flag.String("overlay.page", "", "write the tables into this page")

// small is for a look whether it works.
func small() bool { return os.Getenv("OVERLAY_BENCH") == "small" }

// BenchmarkOverlay measures what the specification has targets for on the data
// path, and writes it down.
func BenchmarkOverlay(b *testing.B) {
	section := page.New("overlay")
	writeDown(b, section, dataPath(b, section))
}

// writeDown ends a section with its targets, and puts it into the page if one is
// given.
func writeDown(b *testing.B, section *page.Section, targets []page.Target) {
	b.Helper()
	section.Targets(targets)
	section.Printf("%s.", page.Machine())
	b.Log("\n" + section.String())
	b.ReportMetric(0, "ns/op")
	if *benchPage != "" {
		if err := section.Write(*benchPage); err != nil {
			b.Fatal(err)
		}
	}
}

// spread is the median, with the least and the most.
func spread(all []float64) string {
	return fmt.Sprintf("%.1f (%.1f to %.1f)", median(all), slices.Min(all), slices.Max(all))
}

func median(all []float64) float64 {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}
