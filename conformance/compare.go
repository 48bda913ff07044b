package conformance

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/netctl/netctl/conformance/report"
	"github.com/netctl/netctl/conformance/rows"
)

func compareCommand() *cobra.Command {
	var format, out, into string
	cmd := &cobra.Command{
		Use:     "compare REPORT.json...",
		Short:   "Print a matrix over several runs",
		Example: "  cni-conformance compare reference.json mine.json --format html -o matrix.html",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, files []string) error {
			var runs []*report.Run
			for _, file := range files {
				run, err := report.Read(file)
				if err != nil {
					return err
				}
				runs = append(runs, run)
			}
			matrix := report.NewMatrix(rows.Catalogue(), runs)
			write := map[string]func(io.Writer) error{"markdown": matrix.WriteMarkdown, "html": matrix.WriteHTML}[format]
			if write == nil {
				return fmt.Errorf("--format %q: want markdown or html", format)
			}
			if into != "" {
				return matrix.Publish(into)
			}
			if out != "" {
				return toFile(out, write)
			}
			return write(os.Stdout)
		},
	}
	cmd.Flags().StringVar(&format, "format", "markdown", "markdown or html")
	cmd.Flags().StringVarP(&out, "output", "o", "", "write to this file instead of stdout")
	cmd.Flags().StringVar(&into, "into", "", "replace the table between the conformance markers of this Markdown file")
	return cmd
}
