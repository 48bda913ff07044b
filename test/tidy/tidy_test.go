package tidy

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// victim is set for a process that is a package's tests: to how they end.
const victim = "NETCTL_TEST_VICTIM"

func TestMain(m *testing.M) {
	switch how := os.Getenv(victim); {
	case os.Getenv(watched) != "":
		os.Exit(Run(m.Run))
	case how != "":
		os.Exit(Run(func() int { return leave(how) }))
	}
	os.Exit(m.Run())
}

// leave stands for tests that leave a mount and a process that has left its
// parent, and tells what they are.
func leave(how string) int {
	mount := filepath.Join(os.TempDir(), "mount")
	child := exec.Command("sleep", "1000")
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	for _, err := range []error{
		os.Mkdir(mount, 0o700),
		unix.Mount("tidy", mount, "tmpfs", 0, ""),
		child.Start(),
	} {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 2
		}
	}
	fmt.Println(os.TempDir(), child.Process.Pid)
	switch how {
	case "panic":
		panic("as asked for")
	case "exit":
		os.Exit(3)
	}
	time.Sleep(time.Hour)
	return 0
}

// TestWhoDiesLeavesNothing: whichever way tests die, what they have left goes.
func TestWhoDiesLeavesNothing(t *testing.T) {
	for _, how := range []string{"panic", "exit", "killed", "killed with its group"} {
		t.Run(how, func(t *testing.T) {
			t.Setenv("TMPDIR", t.TempDir())
			cmd := exec.Command("/proc/self/exe")
			cmd.Env = append(os.Environ(), victim+"="+how)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Cloneflags: unix.CLONE_NEWNS, Unshareflags: unix.CLONE_NEWNS}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(out).ReadString('\n')
			var dir string
			var pid int
			if _, scanned := fmt.Sscan(line, &dir, &pid); scanned != nil {
				t.Fatalf("what it left: %q, %v, %v", line, err, scanned)
			}
			switch how {
			case "killed":
				err = cmd.Process.Kill()
			case "killed with its group":
				err = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err == nil {
				t.Error("it ended as if all were well")
			}
			// The directory goes last; it can't while something is mounted there.
			for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
				_, err := os.Lstat(dir)
				if os.IsNotExist(err) {
					break
				}
				if time.Now().After(end) {
					t.Fatalf("%s is there %v later", dir, patience)
				}
			}
			if belongs(pid, dir) {
				t.Errorf("process %d is still there", pid)
			}
		})
	}
}

// TestWhatIsLeftIsNamed: tests that end well and leave something do not pass.
func TestWhatIsLeftIsNamed(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	for _, test := range []struct {
		name  string
		child *exec.Cmd // with TMPDIR in its environment
		want  string
	}{
		{"nothing", nil, ""},
		{"a process", exec.Command("sleep", "1000"), "sleep 1000"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, err := open()
			if err != nil {
				t.Fatal(err)
			}
			defer os.Setenv("TMPDIR", filepath.Dir(p.dir))
			if test.child != nil {
				p.patience = 0
				if err := test.child.Start(); err != nil {
					t.Fatal(err)
				}
				go test.child.Wait() // until it is killed
			}
			if err := p.close(); fmt.Sprint(err) == "<nil>" != (test.want == "") || !strings.Contains(fmt.Sprint(err), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
			if _, err := os.Lstat(p.dir); !os.IsNotExist(err) {
				t.Errorf("%s: %v", p.dir, err)
			}
		})
	}
}

func TestNames(t *testing.T) {
	for word, want := range map[string]bool{
		"/tmp/t12": true, "--log=/tmp/t12/x": true, "TMPDIR=/tmp/t12": true, "/tmp/t123/x:/tmp/t12": true,
		"/tmp/t123": false, "/tmp/t1": false, "": false,
	} {
		if got := names(word, "/tmp/t12"); got != want {
			t.Errorf("%q: %v", word, got)
		}
	}
}
