package grace

import (
	"os"
	"testing"
)

func TestOwnProcs(t *testing.T) {
	for line, want := range map[string]string{
		"0::/":                    "/sys/fs/cgroup/cgroup.procs",
		"0::/user.slice/a:b":      "/sys/fs/cgroup/user.slice/a:b/cgroup.procs",
		"7:cpuset:/x":             "/sys/fs/cgroup/cpuset/x/cgroup.procs",
		"5:cpu,cpuacct:/":         "/sys/fs/cgroup/cpu,cpuacct/cgroup.procs",
		"1:name=systemd:/init":    "/sys/fs/cgroup/systemd/init/cgroup.procs",
		"":                        "/sys/fs/cgroup/cgroup.procs",
		"9:pids:/../../elsewhere": "/sys/fs/cgroup/pids/elsewhere/cgroup.procs",
		"9:pids:/..":              "/sys/fs/cgroup/pids/cgroup.procs",
	} {
		if got := ownProcs(line); got != want {
			t.Errorf("%q: %s, want %s", line, got, want)
		}
	}
}

// It takes the kernel's lock and changes nothing.
func TestMoveNowhereStaysWhereItIs(t *testing.T) {
	before, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	moveNowhere()
	after, err := os.ReadFile("/proc/self/cgroup")
	if err != nil || string(after) != string(before) {
		t.Errorf("before:\n%safter:\n%s%v", before, after, err)
	}
}
