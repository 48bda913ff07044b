package etcd_test

import (
	"os"
	"testing"

	"github.com/netctl/netctl/test/tidy"
)

func TestMain(m *testing.M) { os.Exit(tidy.Run(m.Run)) }
