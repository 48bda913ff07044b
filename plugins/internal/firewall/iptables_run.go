package firewall

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// programs are where the iptables programs come from; the zero value is the
// host's own.
type programs struct {
	// dir holds them; "" looks in PATH and where distributions put them:
	// runtimes often start plugins without the sbin directories.
	dir string
	// lock is the file that iptables-legacy locks; "" is its default.
	lock string
}

// lockVariable is where iptables-legacy reads its lock file's name from.
const lockVariable = "XTABLES_LOCKFILE"

// env is the environment for them.
func (p programs) env() []string {
	if p.lock == "" {
		return os.Environ()
	}
	return append(os.Environ(), lockVariable+"="+p.lock)
}

func (p programs) lockFile() string {
	return cmp.Or(p.lock, os.Getenv(lockVariable), "/run/xtables.lock")
}

func (p programs) find(name string) (string, error) {
	if p.dir != "" {
		return exec.LookPath(filepath.Join(p.dir, name))
	}
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
	lockFile       string
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
func (t *iptables) start(ctx context.Context, l *lock, name, input string, args ...string) (*process, error) {
	path, err := t.programs.find(name)
	if err != nil {
		return nil, err
	}
	p := &process{ctx: ctx, lockFile: t.programs.lockFile(), cmd: exec.CommandContext(ctx, path, args...)}
	p.cmd.Env = t.programs.env()
	p.cmd.Stdin = strings.NewReader(input)
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	p.cmd.ExtraFiles = []*os.File{l.file}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return p, nil
}

// exitBusy is what iptables answers when --wait has run out (RESOURCE_PROBLEM); but
// see busy.
const exitBusy = 4

func (p *process) wait() error {
	err := p.cmd.Wait()
	if err == nil {
		return nil
	}
	name := filepath.Base(p.cmd.Path)
	holder := xtablesHolders(p.lockFile)
	// Started late on a busy machine, the program's own wait in whole seconds
	// can end after the caller's time.
	late := p.ctx.Err() != nil
	if p.busy() || late && holder != somebody {
		return fmt.Errorf("%s: %w by %s", name, ErrBusy, holder)
	}
	if late {
		return fmt.Errorf("%s: %w", name, context.Cause(p.ctx))
	}
	return fmt.Errorf("%s: %w: %s", name, err, oneLine(p.stderr.String()))
}

// busy tells whether somebody else has the lock. The nft kind has none, and says
// with the same number that a chain to be deleted is not empty.
func (p *process) busy() bool {
	return p.cmd.ProcessState.ExitCode() == exitBusy && !strings.Contains(p.stderr.String(), "CHAIN_DEL failed")
}

// oneLine makes a program's complaint fit for an error message, without the
// pointer to its manual.
func oneLine(text string) string {
	text, _, _ = strings.Cut(text, "Try `")
	return strings.Join(strings.Fields(text), " ")
}

// xtablesHolders names who has the lock of iptables-legacy.
func xtablesHolders(path string) string {
	file, err := os.Open(path)
	if err != nil {
		return somebody
	}
	defer file.Close()
	return holders(file)
}

// restore starts one transaction per family, all at once, and gives the errors
// of those that failed.
func (t *iptables) restore(ctx context.Context, l *lock, input restores) map[family]error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	committed := t.commitsOf(input)
	defer committed.close()
	running := map[family]*process{}
	failed := map[family]error{}
	for _, f := range families() {
		if input[f] == "" {
			continue
		}
		p, err := t.start(ctx, l, f.tool()+"-restore", input[f], "--noflush", fmt.Sprintf("--wait=%d", l.seconds()))
		if err != nil {
			failed[f] = err
			continue
		}
		running[f] = p
	}
	for f, err := range committed.await(running, input) {
		failed[f] = err
	}
	return failed
}

// change tries the fast input of each family and, where that does not fit what
// is there, reads the rules and writes what slow makes of them. It tells
// whether it came to that.
func (t *iptables) change(ctx context.Context, l *lock, fast restores, slow rewriter) (rewrote bool, err error) {
	var errs []error
	for f, err := range t.restore(ctx, l, fast) {
		if errors.Is(err, ErrBusy) || errors.Is(err, exec.ErrNotFound) || ctx.Err() != nil {
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
		if _, err := t.programs.find(f.tool() + "-save"); err == nil {
			errs = append(errs, t.rewrite(ctx, l, f, slow))
		}
	}
	return errors.Join(errs...)
}

// attempts bound how often rules are read and written. Our lock keeps only our
// own processes away: when another program changes the rules between the
// reading and the writing, or iptables-save leaves some out (it does, without
// an error, when the kernel is short of memory), iptables-restore refuses the
// whole, and what is there now must be read. It was once seen to refuse a line
// by 'Bad state "DNAT"', a complaint of its match "state" alone, which nothing of
// ours uses: iptables-save must have written a "conntrack" as "state", which it
// does for a bit of the rule in the kernel. Some thousand readings beside
// changes have not shown it again.
const attempts = 3

func (t *iptables) rewrite(ctx context.Context, l *lock, f family, slow rewriter) error {
	var err error
	for range attempts {
		text, unread := t.save(ctx, l, f)
		if unread != nil {
			return unread
		}
		input := slow(f, parseSaved(text))
		if err = t.restore(ctx, l, restores{f: input})[f]; err == nil || errors.Is(err, ErrBusy) || ctx.Err() != nil {
			return err
		}
		if line, found := failedLine(input, err); found {
			err = fmt.Errorf("%w: %q", err, line)
		}
		t.log.Debug("the rules have changed since they were read", "family", f, "because", err)
	}
	return err
}

// failedLine gives the line of the input that iptables-restore complains
// about: "line 7 failed", or "occurred at line: 7" from its parser.
func failedLine(input string, err error) (line string, found bool) {
	_, text, _ := strings.Cut(err.Error(), " line")
	text = strings.TrimLeft(text, ": ")
	end := strings.IndexFunc(text, func(r rune) bool { return r < '0' || r > '9' })
	number, notFound := strconv.Atoi(text[:max(0, end)])
	lines := strings.Split(input, "\n")
	if notFound != nil || number < 1 || number > len(lines) {
		return "", false
	}
	return lines[number-1], true
}

// save reads all rules of a family.
func (t *iptables) save(ctx context.Context, l *lock, f family) (string, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	p, err := t.start(ctx, l, f.tool()+"-save", "")
	if err != nil {
		return "", err
	}
	err = p.wait()
	return p.stdout.String(), err
}
