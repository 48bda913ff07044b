package conformance_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/netctl/netctl/conformance/suite"
	"github.com/netctl/netctl/test/programs"
)

// stage is what the tests share, built once for all of them.
type stage struct {
	plugins string // directory of the reference plugins
	player  string // executable of package player
}

var built = sync.OnceValues(build)

func TestMain(m *testing.M) {
	flag.Parse()
	exit := m.Run()
	if s, err := built(); err == nil {
		os.RemoveAll(filepath.Dir(s.player))
	}
	os.Exit(exit)
}

// onStage returns the stage, or ends the test.
func onStage(t *testing.T) stage {
	t.Helper()
	s, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func build() (stage, error) {
	dir, err := os.MkdirTemp("", "conformance-stage-")
	if err != nil {
		return stage{}, err
	}
	s := stage{plugins: filepath.Join(dir, "plugins"), player: filepath.Join(dir, "player")}
	cmd := exec.Command("go", "build", "-o", s.player, "./internal/player")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		err = fmt.Errorf("build the player: %w: %s", err, out)
		return stage{}, errors.Join(err, os.RemoveAll(dir))
	}
	if err := programs.InstallReference(s.plugins); err != nil {
		return stage{}, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

// workers is how many rows run at once. Many of them wait more than they work.
const workers = 4

// slowRows take seconds by nature: they kill at many points, wait out locks and
// limits, or fill a store. The samples of other rows leave them out.
func slowRows() []string {
	return []string{"C010", "C078", "C095", "C164", "C185", "C187", "C191", "C192"}
}

// full reports whether everything is to be run.
func full() bool { return os.Getenv("CONFORMANCE_FULL") != "" }

// progress says every now and then how far a long run is.
func progress(cases []suite.Case) func(suite.Result) {
	done := 0
	return func(suite.Result) {
		if done++; done%250 == 0 && full() {
			fmt.Fprintf(os.Stderr, "%d of %d cases\n", done, len(cases))
		}
	}
}

// number is the number in a row's identifier.
func number(row string) int {
	var n int
	fmt.Sscanf(row, "C%d", &n)
	return n
}

// findings is the beginning of what a row has found.
func findings(r suite.Result) string {
	text := ""
	for _, f := range r.Findings[:min(2, len(r.Findings))] {
		text += "\n\twanted " + f.Want + "\n\tgot    " + f.Got
	}
	return text
}
