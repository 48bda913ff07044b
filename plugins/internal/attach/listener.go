package attach

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// listener names the process that has a local port, "nginx (pid 1234)", by
// way of the kernel's socket tables and the descriptors of each process. It
// runs only to explain a failure.
func listener(protocol string, port uint16) string {
	inodes := map[string]bool{}
	for _, table := range []string{protocol, protocol + "6"} {
		collectInodes("/proc/net/"+table, port, inodes)
	}
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, link := range links {
		target, err := os.Readlink(link)
		if err != nil || !strings.HasPrefix(target, "socket:[") {
			continue
		}
		if inodes[strings.TrimSuffix(strings.TrimPrefix(target, "socket:["), "]")] {
			pid := strings.Split(link, "/")[2]
			name, _ := os.ReadFile("/proc/" + pid + "/comm")
			return fmt.Sprintf("%s (pid %s)", strings.TrimSpace(string(name)), pid)
		}
	}
	return "a process of this host"
}

// collectInodes reads one table of proc(5) net/tcp: field 1 is the local
// address in hexadecimal, field 9 the socket's inode.
func collectInodes(table string, port uint16, inodes map[string]bool) {
	file, err := os.Open(table)
	if err != nil {
		return
	}
	defer file.Close()
	suffix := fmt.Sprintf(":%04X", port)
	for scanner := bufio.NewScanner(file); scanner.Scan(); {
		fields := strings.Fields(scanner.Text())
		if len(fields) > 9 && strings.HasSuffix(fields[1], suffix) {
			inodes[fields[9]] = true
		}
	}
}
