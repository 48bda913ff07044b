package dnsd

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/ipam/ledger"
)

// Main is the resolver's program. It returns the exit status: 0 when there is
// nothing (more) to do, 1 for a failure, 2 for wrong flags.
func Main(args []string, stderr io.Writer) int {
	cfg, opt, err := parseFlags(args, stderr)
	if err != nil {
		return 2
	}
	setName("dnsd") // else one that was started by its guard is called "exe"
	ready := opt.ready()
	if opt.guard {
		if err := dropCapabilities(startingCapabilities); err != nil {
			fmt.Fprintf(stderr, "dnsd: keep all capabilities: %v\n", err)
		}
		return newGuard(opt.worker, stderr).run(ready)
	}
	if err := serve(cfg, opt, stderr, ready); err != nil {
		fmt.Fprintf(stderr, "dnsd: %v\n", err)
		tell(ready, strings.ReplaceAll(err.Error(), "\n", "; "))
		return 1
	}
	return 0
}

// setName is what ps and ss call the process.
func setName(name string) {
	text, err := unix.BytePtrFromString(name)
	if err == nil {
		unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(text)), 0, 0, 0) //nolint:errcheck // only looks better
	}
}

func serve(cfg Config, opt options, stderr io.Writer, ready *os.File) error {
	out, err := openLog(opt.logFile, stderr)
	if err != nil {
		return err
	}
	cfg.Log = slog.New(slog.NewTextHandler(out, nil)).With("pid", os.Getpid())
	book, err := ledger.Open(cfg.StateDir)
	if err != nil {
		return err
	}
	turns, err := newTurnTaker()
	if err != nil {
		return err
	}
	defer turns.Close() //nolint:errcheck // nobody takes turns any more
	cfg.Yield = turns.yield
	cfg.Restrict = func() error { return dropCapabilities(servingCapabilities) }
	d, err := New(cfg, book.WithPauses(turns.yield))
	if err != nil {
		return err
	}
	defer d.Close()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	stopMetrics, err := d.serveMetrics()
	if err != nil {
		return err
	}
	defer stopMetrics()
	err = d.Run(ctx, func() { tell(ready, "ready") })
	if err != nil {
		cfg.Log.Error("ending", "err", err)
	}
	return err
}

// options are the flags that concern the process and not the resolver.
type options struct {
	readyFD int
	logFile string
	guard   bool
	// worker are the arguments of the guarded process.
	worker []string
}

// ready is where the word that we are ready goes, or nil.
func (o options) ready() *os.File {
	if o.readyFD < 0 {
		return nil
	}
	syscall.CloseOnExec(o.readyFD)
	return os.NewFile(uintptr(o.readyFD), "ready")
}

func parseFlags(args []string, stderr io.Writer) (Config, options, error) {
	var c Config
	var o options
	f := flag.NewFlagSet("dnsd", flag.ContinueOnError)
	f.SetOutput(stderr)
	stateDir := os.Getenv("NETCTL_STATE_DIR")
	if stateDir == "" {
		stateDir = ledger.DefaultDir
	}
	f.StringVar(&c.StateDir, "state-dir", stateDir, "`directory` of the ledger and the control socket")
	f.StringVar(&c.ResolvConf, "resolv-conf", "/etc/resolv.conf", "`file` that names the upstream servers")
	f.StringVar(&c.Base, "base", "netctl.internal", "`domain` under which every name is found")
	f.Var((*seconds)(&c.TTL), "ttl", "`seconds` that an answer may be kept, at most 600 (default 0)")
	f.Var((*seconds)(&c.NegativeTTL), "negative-ttl", "`seconds` that the absence of a name may be kept, at most 600 (default 0)")
	f.BoolVar(&c.Qualified, "qualified-only", false, "do not forward names of a single label")
	f.DurationVar(&c.Linger, "linger", c.withDefaults().Linger, "`time` to stay with nothing to serve")
	f.BoolVar(&c.Stay, "stay", false, "stay even with nothing to serve")
	f.StringVar(&c.Metrics, "metrics", "", "`address` on which to serve /metrics")
	f.Uint64Var(&c.LogQueries, "log-queries", 0, "log one request in `N`, at most 20 a second (default 0: none)")
	f.IntVar(&c.Forward.PerClient, "max-per-client", 0, "questions of one client under way upstream (default 1024)")
	f.IntVar(&c.Forward.Total, "max-total", 0, "questions under way upstream (default 8192)")
	f.IntVar(&o.readyFD, "ready-fd", -1, "`descriptor` to write a line to when ready")
	f.BoolVar(&o.guard, "guard", false, "start again when killed")
	f.BoolVar(&c.Guarded, "guarded", false, "the parent process is a guard (which says so itself)")
	f.StringVar(&o.logFile, "log", "", "`file` to append the log to (default standard error)")
	if err := f.Parse(args); err != nil {
		return c, o, err
	}
	f.Visit(func(set *flag.Flag) {
		if set.Name != "guard" && set.Name != "ready-fd" {
			o.worker = append(o.worker, "--"+set.Name+"="+set.Value.String())
		}
	})
	if f.NArg() > 0 {
		fmt.Fprintf(stderr, "dnsd: unexpected argument %q\n", f.Arg(0))
		return c, o, flag.ErrHelp
	}
	return c, o, nil
}

// maxLog is the size in bytes at which a log file begins anew.
const maxLog = 1 << 20

// logFile is a file of bounded size. Only one process writes to it.
type logFile struct {
	*os.File
	size int64
}

func (l *logFile) Write(line []byte) (int, error) {
	if l.size+int64(len(line)) > maxLog {
		if err := l.Truncate(0); err != nil {
			return 0, err
		}
		l.size = 0
	}
	n, err := l.File.Write(line)
	l.size += int64(n)
	return n, err
}

func openLog(path string, stderr io.Writer) (io.Writer, error) {
	if path == "" {
		return stderr, nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close() //nolint:errcheck // the first error counts
		return nil, fmt.Errorf("open the log: %w", err)
	}
	return &logFile{File: f, size: info.Size()}, nil
}
