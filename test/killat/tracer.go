package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// tracer follows a program with all its threads and children.
type tracer struct {
	at    int
	child bool
	root  int // process ID of the program
	count int
	// groups has the process of each thread.
	groups map[int]int
	// begun means that killat has become the program.
	begun  bool
	victim string
}

// follow returns the program's exit status when it has ended.
func (t *tracer) follow() (int, error) {
	t.groups = map[int]int{t.root: t.root}
	for {
		var status unix.WaitStatus
		thread, err := unix.Wait4(-1, &status, unix.WALL, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return 0, err
		case thread == t.root && status.Exited():
			return status.ExitStatus(), nil
		case thread == t.root && status.Signaled():
			return 128 + int(status.Signal()), nil
		case status.Stopped():
			t.stopped(thread, status)
		}
	}
}

// stopped lets a thread go on. That it has been killed meanwhile is no error.
func (t *tracer) stopped(thread int, status unix.WaitStatus) {
	const systemCall = unix.SIGTRAP | 0x80 // PTRACE_O_TRACESYSGOOD
	signal := int(status.StopSignal())
	event := int(status>>16) & 0xff
	switch {
	case event != 0: // a child, an exec, or the first stop of a thread
		t.begun = t.begun || event == unix.PTRACE_EVENT_EXEC && !t.isCopy()
		signal = 0
	case signal == int(systemCall):
		t.systemCall(thread)
		signal = 0
	}
	_ = unix.PtraceSyscall(thread, signal)
}

// isCopy tells whether the program is still the copy of killat. The exec by which
// the copy itself came to be can be under way when following begins.
func (t *tracer) isCopy() bool {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", t.root))
	return err == nil && strings.HasPrefix(string(line), becomes)
}

// systemCall counts a call that begins and could change something.
func (t *tracer) systemCall(thread int) {
	c, entered := readCall(thread)
	own := t.groupOf(thread) == t.root
	if !t.begun || !entered || t.child && own || !c.changes(thread) || t.victim != "" {
		return
	}
	if t.count++; t.count != t.at {
		return
	}
	t.victim = c.String()
	target := t.root
	if t.child {
		target = t.groupOf(thread)
	}
	if !own {
		t.victim += " in a child"
	}
	_ = unix.Kill(target, unix.SIGKILL)
}

// groupOf gives the process of a thread.
func (t *tracer) groupOf(thread int) int {
	if group, known := t.groups[thread]; known {
		return group
	}
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", thread))
	group := thread
	for line := range strings.Lines(string(status)) {
		if n, err := fmt.Sscanf(line, "Tgid: %d", &group); n == 1 && err == nil {
			break
		}
	}
	t.groups[thread] = group
	return group
}

// readCall gives the call that a thread is about to make; entered is false if it
// comes back from one.
func readCall(thread int) (c call, entered bool) {
	const getSyscallInfo, entry = 0x420e, 1 // linux/ptrace.h
	var info struct {
		op      uint8
		_       [3]uint8
		_       uint32
		_, _    uint64
		number  uint64
		args    [6]uint64
		_, _, _ uint64
	}
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, getSyscallInfo, uintptr(thread), unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0)
	return call{info.number, info.args}, errno == 0 && info.op == entry
}
