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
		Use:   "compare RESULT.json...",
		Short: "Set several runs side by side, a row in each line",
		Example: `  cni-conformance run --label reference --json reference.json --plugin-dir /opt/cni/bin --conf bridge.conflist
  cni-conformance run --label mine --json mine.json --plugin-dir . --conf bridge.conflist
  cni-conformance compare reference.json mine.json --format html -o matrix.html`,
		Args: func(_ *cobra.Command, files []string) error {
			if len(files) == 0 {
				return fmt.Errorf("compare: which runs? `cni-conformance run --json FILE` writes one")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, files []string) error {
			if format != "markdown" && format != "html" {
				return fmt.Errorf("--format %q: want markdown or html", format)
			}
			var runs []*report.Run
			for _, file := range files {
				run, err := report.Read(file)
				if err != nil {
					return err
				}
				runs = append(runs, run)
			}
			matrix := report.NewMatrix(rows.Catalogue(), runs)
			if into != "" {
				return matrix.Publish(into)
			}
			return writeMatrix(matrix, format, out, cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&format, "format", "markdown", "markdown or html")
	cmd.Flags().StringVarP(&out, "output", "o", "", "write to this file instead of stdout")
	cmd.Flags().StringVar(&into, "into", "", "replace the table between the conformance markers of this Markdown file")
	return cmd
}

// writeMatrix writes to a file, or to w if its name is empty.
func writeMatrix(m *report.Matrix, format, name string, w io.Writer) error {
	write := m.WriteMarkdown
	if format == "html" {
		write = m.WriteHTML
	}
	if name == "" {
		return write(w)
	}
	file, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("write matrix: %w", err)
	}
	defer file.Close()
	if err := write(file); err != nil {
		return fmt.Errorf("write matrix %s: %w", name, err)
	}
	return file.Close()
}
