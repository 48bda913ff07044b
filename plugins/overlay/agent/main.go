package agent

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/plugins/overlay/agent/store"
	"github.com/netctl/netctl/plugins/overlay/agent/store/etcd"
	"github.com/netctl/netctl/plugins/overlay/agent/store/kubernetes"
	"github.com/netctl/netctl/plugins/overlay/agent/store/static"
)

// DefaultConfig is where the settings are unless --config says otherwise.
const DefaultConfig = "/etc/netctl/overlay.json"

// File holds the settings: exactly one of the stores, and what else differs
// from the usual.
type File struct {
	Static     *static.Config     `json:"static,omitempty"`
	Etcd       *etcd.Config       `json:"etcd,omitempty"`
	Kubernetes *kubernetes.Config `json:"kubernetes,omitempty"`
	// Name, VTEP, Direct and Metrics are as the flags of these names.
	Name    string `json:"name,omitempty"`
	VTEP    string `json:"vtep,omitempty"`
	Direct  string `json:"direct,omitempty"`
	Metrics string `json:"metrics,omitempty"`
}

// ReadFile reads the settings.
func ReadFile(path string) (File, error) {
	var f File
	file, err := os.Open(path)
	if err != nil {
		return f, fmt.Errorf("settings: %w", err)
	}
	defer file.Close()
	decoder := json.NewDecoder(file)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&f); err != nil {
		return f, fmt.Errorf("settings in %s: %w", path, err)
	}
	if f.Direct != "" && f.Direct != "auto" && f.Direct != "off" {
		return f, fmt.Errorf("settings in %s: key direct: invalid value %q: want auto or off", path, f.Direct)
	}
	return f, nil
}

// OpenStore opens the one store that the settings name.
func (f File) OpenStore(ctx context.Context, log *slog.Logger) (store.Store, error) {
	given := 0
	for _, has := range []bool{f.Static != nil, f.Etcd != nil, f.Kubernetes != nil} {
		if has {
			given++
		}
	}
	switch {
	case given > 1:
		return nil, errors.New("settings: keys static, etcd, kubernetes: want one store, not several")
	case f.Kubernetes != nil:
		return kubernetes.Open(ctx, *f.Kubernetes, log)
	case f.Static != nil:
		return static.Open(ctx, *f.Static, log)
	case f.Etcd != nil:
		return etcd.Open(ctx, *f.Etcd, log)
	}
	return nil, errors.New("settings: no store: want one of the keys static, etcd, kubernetes")
}

// Main is the program. It returns the exit status: 0 when told to end, 1 for a
// failure, 2 for wrong flags.
func Main(args []string, stderr io.Writer) int {
	cfg, file, level, err := parseFlags(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintf(stderr, "overlayd: %v\n", err)
		return 2
	}
	cfg.Log = slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := serve(ctx, cfg, file); err != nil && !errors.Is(err, errLeft) {
		fmt.Fprintf(stderr, "overlayd: %v\n", err)
		return 1
	}
	return 0
}

func serve(ctx context.Context, cfg Config, file File) error {
	var err error
	if cfg.Store, err = file.OpenStore(ctx, cfg.Log); err != nil {
		return err
	}
	defer cfg.Store.Close()
	a, err := New(cfg)
	if err != nil {
		return err
	}
	sparingHeap(ctx, a.started)
	return a.Run(ctx)
}

func parseFlags(args []string, stderr io.Writer) (cfg Config, file File, level slog.Level, err error) {
	env := func(name, otherwise string) string {
		if v := os.Getenv(name); v != "" {
			return v
		}
		return otherwise
	}
	f := flag.NewFlagSet("overlayd", flag.ContinueOnError)
	f.SetOutput(stderr)
	settings := f.String("config", DefaultConfig, "`file` with the settings")
	peers := f.String("peers", "", "peers `file` to use as the store, without other settings")
	f.StringVar(&cfg.StateDir, "state-dir", env("NETCTL_STATE_DIR", ledger.DefaultDir), "`directory` of this boot: ledger, control socket")
	f.StringVar(&cfg.DataDir, "data-dir", env("NETCTL_DATA_DIR", "/var/lib/netctl"), "`directory` that outlives the boot: identity, snapshot")
	f.StringVar(&cfg.ConfDir, "conf-dir", env("NETCTL_CONF_DIR", "/etc/cni/net.d"), "`directory` of network definitions")
	f.StringVar(&cfg.Name, "name", "", "what people call this host (default: the host's `name`)")
	f.StringVar(&cfg.VTEP, "vtep", "", "tunnel `address`, or the link that has it (default: the one that speaks to the world)")
	f.StringVar(&cfg.Metrics, "metrics", "", "`address` on which to serve /metrics")
	direct := f.String("direct", "", "auto: no tunnel to peers on the same link; off (default)")
	f.TextVar(&level, "log-level", slog.LevelInfo, "debug, info, warn or error")
	if err := f.Parse(args); err != nil {
		return cfg, file, level, err
	}
	if f.NArg() > 0 {
		return cfg, file, level, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if *peers != "" {
		path, err := filepath.Abs(*peers)
		if err != nil {
			return cfg, file, level, err
		}
		file = File{Static: &static.Config{Path: path}}
	} else if file, err = ReadFile(*settings); err != nil {
		return cfg, file, level, err
	}
	for _, s := range []struct {
		flag *string
		file string
	}{{&cfg.Name, file.Name}, {&cfg.VTEP, file.VTEP}, {&cfg.Metrics, file.Metrics}, {direct, file.Direct}} {
		if *s.flag == "" {
			*s.flag = s.file
		}
	}
	if *direct != "" && *direct != "auto" && *direct != "off" {
		return cfg, file, level, fmt.Errorf("--direct: invalid value %q: want auto or off", *direct)
	}
	cfg.Direct = *direct == "auto"
	return cfg, file, level, nil
}
