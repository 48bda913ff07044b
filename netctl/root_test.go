package netctl

import (
	"bytes"
	"testing"

	"github.com/spf13/cobra"
)

// TestRunAlone: the tree that has only `run` says of it what the whole one says.
func TestRunAlone(t *testing.T) {
	whole, alone := newRoot(&App{}, noEnvironment), newRoot(&App{}, noEnvironment, "run", "--help")
	if len(alone.Commands()) >= len(whole.Commands()) {
		t.Errorf("the tree for run has %d commands, the whole one %d", len(alone.Commands()), len(whole.Commands()))
	}
	for _, args := range [][]string{{"run", "--help"}, {"run", "--nonsense", "x"}, {"run"}, {"run", "--memory"}, {"--state-dir", "/x", "run", "--help"}} {
		wantText, wantErr := said(newRoot(&App{}, noEnvironment), args)
		text, err := said(newRoot(&App{}, noEnvironment, args...), args)
		if text != wantText || err != wantErr {
			t.Errorf("%q: want %s%s, got %s%s", args, wantText, wantErr, text, err)
		}
	}
}

func noEnvironment(string) string { return "" }

func said(root *cobra.Command, args []string) (text, failure string) {
	var out bytes.Buffer
	root.SetArgs(args)
	root.SetOut(&out)
	root.SetErr(&out)
	if err := root.Execute(); err != nil {
		failure = err.Error()
	}
	return out.String(), failure
}
