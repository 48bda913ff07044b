package tidy

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// processes are those that belong to a directory, but for this one and one
// more: their program is below it, or they were told of it by an argument or by
// their environment.
func processes(dir string, but int) (pids []int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err == nil && pid != os.Getpid() && pid != but && belongs(pid, dir) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func belongs(pid int, dir string) bool {
	proc := fmt.Sprintf("/proc/%d/", pid)
	for _, link := range []string{"exe", "cwd"} {
		if to, err := os.Readlink(proc + link); err == nil && strings.HasPrefix(to, dir+"/") {
			return true
		}
	}
	for _, file := range []string{"cmdline", "environ"} {
		text, err := os.ReadFile(proc + file)
		if err == nil && slices.ContainsFunc(bytes.Split(text, []byte{0}), func(word []byte) bool { return names(string(word), dir) }) {
			return true
		}
	}
	return false
}

// names tells whether a word has the directory's path in it, and not another's
// that begins the same.
func names(word, dir string) bool {
	for {
		_, after, found := strings.Cut(word, dir)
		if !found {
			return false
		}
		if after == "" || after[0] < '0' || after[0] > '9' {
			return true
		}
		word = after
	}
}

// mounts are the mount points below a directory, the latest first.
func mounts(dir string) (points []string) {
	text, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 4 && strings.HasPrefix(fields[4], dir+"/") {
			points = append(points, fields[4])
		}
	}
	slices.Reverse(points)
	return points
}

// id is a container's.
var id = regexp.MustCompile(`^[0-9a-f]{64}$`)

// cgroups are those of the containers that have a record below a directory.
func cgroups(dir string) (groups []string) {
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !id.MatchString(d.Name()) {
			return nil
		}
		for _, root := range []string{"/sys/fs/cgroup/netctl/", "/sys/fs/cgroup/*/netctl/"} {
			found, _ := filepath.Glob(root + d.Name())
			groups = append(groups, found...)
		}
		if d.IsDir() {
			return filepath.SkipDir
		}
		return nil
	})
	return groups
}

// members are the processes of a control group.
func members(group string) (pids []int) {
	text, _ := os.ReadFile(group + "/cgroup.procs")
	for word := range strings.FieldsSeq(string(text)) {
		if pid, err := strconv.Atoi(word); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	return pids
}
