package firewall

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// find looks for an iptables program in PATH and where distributions put it:
// runtimes often start plugins without the sbin directories.
func find(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/local/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s: %w: install iptables, or choose the nftables backend", name, exec.ErrNotFound)
}

// process is one run of an iptables program.
type process struct {
	ctx            context.Context
	cmd            *exec.Cmd
	stdout, stderr bytes.Buffer
}

// start runs a program in the calling thread's network namespace and returns
// while it works, so that both families work at the same time.
//
// The program dies with us, and holds our lock as long as it lives: a plugin
// that is killed must not leave an iptables-restore behind that waits for its
// turn and then does what nobody will undo. The kernel sends the signal when
// the thread ends that started the program, so the caller keeps its thread
// until wait.
func (l *lock) start(ctx context.Context, name, input string, args ...string) (*process, error) {
	path, err := find(name)
	if err != nil {
		return nil, err
	}
	p := &process{ctx: ctx, cmd: exec.CommandContext(ctx, path, args...)}
	p.cmd.Stdin = strings.NewReader(input)
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	p.cmd.ExtraFiles = []*os.File{l.file}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return p, nil
}

// exitBusy is what iptables answers when --wait has run out (RESOURCE_PROBLEM).
const exitBusy = 4

func (p *process) wait() error {
	err := p.cmd.Wait()
	if err == nil {
		return nil
	}
	name := filepath.Base(p.cmd.Path)
	if p.ctx.Err() != nil {
		return fmt.Errorf("%s: %w", name, context.Cause(p.ctx))
	}
	if p.cmd.ProcessState.ExitCode() == exitBusy {
		return fmt.Errorf("%s: %w by %s", name, ErrBusy, xtablesHolders())
	}
	return fmt.Errorf("%s: %w: %s", name, err, oneLine(p.stderr.String()))
}

// oneLine makes a program's complaint fit for an error message, without the
// pointer to its manual.
func oneLine(text string) string {
	text, _, _ = strings.Cut(text, "Try `")
	return strings.Join(strings.Fields(text), " ")
}

// xtablesHolders names who has the lock of iptables-legacy.
func xtablesHolders() string {
	path := os.Getenv("XTABLES_LOCKFILE")
	if path == "" {
		path = "/run/xtables.lock"
	}
	file, err := os.Open(path)
	if err != nil {
		return "another process"
	}
	defer file.Close()
	return holders(file)
}

// restore starts one transaction per family, all at once, and gives the errors
// of those that failed.
func (t *iptables) restore(ctx context.Context, l *lock, input restores) map[family]error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	running := map[family]*process{}
	failed := map[family]error{}
	for _, f := range families() {
		if input[f] == "" {
			continue
		}
		p, err := l.start(ctx, f.tool()+"-restore", input[f], "--noflush", fmt.Sprintf("--wait=%d", l.seconds()))
		if err != nil {
			failed[f] = err
			continue
		}
		running[f] = p
	}
	for f, p := range running {
		if err := p.wait(); err != nil {
			failed[f] = err
		}
	}
	return failed
}

// change tries the fast input of each family and, where that does not fit what
// is there, reads the rules and writes what slow makes of them. It tells
// whether it came to that.
func (t *iptables) change(ctx context.Context, l *lock, fast restores, slow rewriter) (rewrote bool, err error) {
	var errs []error
	for f, err := range t.restore(ctx, l, fast) {
		if errors.Is(err, ErrBusy) || errors.Is(err, exec.ErrNotFound) {
			errs = append(errs, err)
			continue
		}
		t.log.Debug("rules differ from what was expected, reading them", "family", f, "because", err)
		rewrote = true
		errs = append(errs, t.rewrite(ctx, l, f, slow))
	}
	return rewrote, errors.Join(errs...)
}

// rewriter gives the input of iptables-restore for what is there.
type rewriter func(family, *saved) string

// rewriteAll reads and writes each family that has its programs.
func (t *iptables) rewriteAll(ctx context.Context, l *lock, in []family, slow rewriter) error {
	var errs []error
	for _, f := range in {
		if _, err := find(f.tool() + "-save"); err == nil {
			errs = append(errs, t.rewrite(ctx, l, f, slow))
		}
	}
	return errors.Join(errs...)
}

func (t *iptables) rewrite(ctx context.Context, l *lock, f family, slow rewriter) error {
	text, err := l.save(ctx, f)
	if err != nil {
		return err
	}
	return t.restore(ctx, l, restores{f: slow(f, parseSaved(text))})[f]
}

// save reads all rules of a family.
func (l *lock) save(ctx context.Context, f family) (string, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	p, err := l.start(ctx, f.tool()+"-save", "")
	if err != nil {
		return "", err
	}
	err = p.wait()
	return p.stdout.String(), err
}
