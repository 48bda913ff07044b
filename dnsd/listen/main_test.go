package listen

import (
	"os"
	"testing"

	"github.com/netctl/netctl/test/netns"
)

func TestMain(m *testing.M) { os.Exit(netns.RunTests(m)) }
