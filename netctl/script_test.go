package netctl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/netctl/plumbing"
	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/test/programs"
	"github.com/netctl/netctl/test/tidy"
)

// TestMain lets the test binary play the scripts' own programs.
func TestMain(m *testing.M) {
	testscript.Main(tidy.M{M: m}, map[string]func(){
		"attach": attachNamespace,
		"detach": detachNamespace,
	})
}

// testPlumbing is the script's own.
func testPlumbing() plumbing.Plumbing {
	return plumbing.Setting{StateDir: os.Getenv("STATE"), ConfDir: os.Getenv("CONF")}.Open(silent())
}

// attachNamespace stands in for a container that starts: attach NETWORK
// CONTAINER NETNS prints what detach needs.
func attachNamespace() {
	endpoints := []runner.Endpoint{{Network: os.Args[1], IfName: "eth0"}}
	attached, err := testPlumbing().Attach(context.Background(), os.Args[2], os.Args[3], endpoints)
	endTestCommand(errors.Join(err, json.NewEncoder(os.Stdout).Encode(attached)))
}

// detachNamespace is its end: detach CONTAINER NETNS takes attach's output.
func detachNamespace() {
	var attached []runner.Attached
	err := json.NewDecoder(os.Stdin).Decode(&attached)
	endTestCommand(errors.Join(err, testPlumbing().Detach(context.Background(), os.Args[1], os.Args[2], attached)))
}

func endTestCommand(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// TestScripts runs testdata/script with the built netctl: each script has
// directories and a network namespace of its own. Beside testscript's commands there are
//
//	netctl ARGS...             short for exec netctl
//	status N netctl ARGS...    the exit status must be N
//	same stdout|stderr FILE    the output must be FILE, where ID stands for 64,
//	                           SHORT for 12 hex digits, DATE for a time
//	registry                   starts a registry on the loopback interface that
//	                           has testImages, and sets $REGISTRY
func TestScripts(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("needs root, to make network namespaces")
	}
	programs := installed(t)
	images := testImages(t)
	testscript.Run(t, testscript.Params{
		Dir:                "testdata/script",
		RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("BUSYBOX", images.archive)
			return setUpScript(env, programs)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"netctl":   scriptNetctl,
			"status":   scriptStatus,
			"same":     scriptSame,
			"registry": images.registry,
		},
	})
}

// installed gives the directory of netctl and of the resolver for networks that
// serve names.
func installed(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := programs.InstallTested(dir, "netctl", "dnsd"); err != nil {
		t.Fatal(err)
	}
	return dir
}

// logResolver shows what the resolver of a failed script had to say, and whether
// the neighbour table, which all namespaces share, was too small for what
// was going on on this machine (packets are refused then).
func logResolver(env *testscript.Env) {
	if t, ok := env.T().(interface{ Failed() bool }); !ok || !t.Failed() {
		return
	}
	for _, file := range []string{env.Getenv("STATE") + "/dnsd.log", "/proc/net/stat/arp_cache"} {
		if text, err := os.ReadFile(file); err == nil {
			env.T().Log(file + ":\n" + string(text))
		}
	}
}

// setUpScript moves the script's thread into a new network namespace. The
// programs that the script runs are started from this thread and inherit it;
// the thread is never unlocked, so it ends with the script.
func setUpScript(env *testscript.Env, programs string) error {
	env.Setenv("PATH", programs+string(os.PathListSeparator)+env.Getenv("PATH"))
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	env.Defer(func() { logResolver(env) })
	for _, name := range []string{"STATE", "DATA", "CONF"} {
		dir := filepath.Join(env.WorkDir, strings.ToLower(name))
		env.Setenv("NETCTL_"+name+"_DIR", dir)
		env.Setenv(name, dir)
	}
	env.Setenv("NETCTL_CNI_PATH", filepath.Join(env.WorkDir, "cni"))
	env.Setenv("TZ", "UTC")
	env.Defer(func() { removeContainers(env) })
	// A race detector's process waits a second before it ends.
	env.Setenv("GORACE", "atexit_sleep_ms=0")
	return nil
}

// scriptNetctl is short for exec netctl.
func scriptNetctl(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) > 0 && strings.HasPrefix(args[len(args)-1], "&") {
		ts.Fatalf("in the background: exec netctl ... &")
	}
	switch err := ts.Exec("netctl", args...); {
	case err != nil && !neg:
		ts.Fatalf("unexpected failure: %v", err)
	case err == nil && neg:
		ts.Fatalf("unexpected success")
	}
}

func scriptStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N PROGRAM ARGS...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

var varying = []struct {
	pattern *regexp.Regexp
	word    string
}{
	{regexp.MustCompile(`\b[0-9a-f]{64}\b`), "ID"},
	{regexp.MustCompile(`\b[0-9a-f]{12}\b`), "SHORT"},
	{regexp.MustCompile(`\b20\d\d-\d\d-\d\d[T ][0-9:.]+(Z| \+0000 UTC)`), "DATE"},
}

func scriptSame(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: same stdout|stderr FILE")
	}
	got, want := ts.ReadFile(args[0]), ts.ReadFile(args[1])
	for _, v := range varying {
		got = v.pattern.ReplaceAllString(got, v.word)
	}
	if got != want {
		ts.Fatalf("%s is\n%s\nwant\n%s", args[0], got, want)
	}
}
