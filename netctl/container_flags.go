package netctl

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/attach"
)

// containerFlags are the flags of `run` and `container create` as typed.
type containerFlags struct {
	name, hostname, domainname, workdir, user, stopSignal, restart  string
	entrypoint                                                      optionalText
	stdin, tty, init, remove, readOnly, publishAll, privilegedPaths bool
	rootfs, env, unsetEnv, envFiles, labels, labelFiles, groups     []string
	umask                                                           string
	oomScoreAdj                                                     int
	replace                                                         bool
	openDevices                                                     []string
	volumes, mounts, tmpfs, volumesFrom                             []string
	stopTimeout                                                     optionalInt

	networks, aliases, publish, expose        []string
	ip, ip6, mac                              string
	dns, dnsSearch, dnsOptions, hosts         []string
	capAdd, capDrop, securityOptions, sysctls []string

	pull     pullPolicy
	source   pullFlags
	health   healthFlags
	defaults imageDefaults // of the image, once it is known

	memory, memorySwap, memoryReservation, shmSize string
	cpuSet, memoryNodes, cpus                      string
	cpuShares, cpuPeriod, cpuQuota                 uint64
	ioWeight                                       uint16
	pids                                           int64
	ulimits                                        []string
	devices                                        deviceFlags
	userns                                         usernsFlags
}

func (f *containerFlags) register(flags *pflag.FlagSet) {
	flags.BoolVarP(&f.stdin, "interactive", "i", false, "keep standard input open")
	flags.BoolVarP(&f.tty, "tty", "t", false, "give the program a terminal")
	flags.BoolVar(&f.remove, "rm", false, "remove the container when its program ends")
	flags.BoolVar(&f.init, "init", false, "run the program under a first process that passes signals on and reaps")
	flags.StringVar(&f.restart, "restart", "no", "no, on-failure[:N], always or unless-stopped: when to run it again")
	flags.StringVar(&f.name, "name", "", "name of the container; default: one is made up")
	flags.BoolVar(&f.replace, "replace", false, "remove the container that has the name first, running or not")
	f.registerProgram(flags)
	f.registerNetwork(flags)
	f.registerFiles(flags)
	f.registerLimits(flags)
	f.health.register(flags)
	f.pull = pullMissing
	flags.Var(pullPolicyFlag{&f.pull}, "pull", "missing, always or never: when to fetch the image")
	f.source.register(flags)
}

func (f *containerFlags) registerProgram(flags *pflag.FlagSet) {
	flags.StringArrayVarP(&f.env, "env", "e", nil, "variable, as NAME=VALUE, or NAME to pass on ours")
	flags.StringArrayVar(&f.envFiles, "env-file", nil, "file of variables, one a line")
	flags.StringArrayVar(&f.unsetEnv, "unsetenv", nil, "variable of the image to leave out")
	flags.StringVarP(&f.workdir, "workdir", "w", "", "working directory")
	flags.StringVarP(&f.user, "user", "u", "", "UID[:GID] or names of the container's own")
	flags.StringArrayVar(&f.groups, "group-add", nil, "further group of the program, by number or the container's name for it")
	flags.Var(&f.entrypoint, "entrypoint", "program that is given the command as arguments")
	flags.StringVar(&f.stopSignal, "stop-signal", "", "what 'stop' sends first (default SIGTERM)")
	flags.Var(&f.stopTimeout, "stop-timeout", "seconds until 'stop' kills, -1 for ever; default: what 'stop' says")
	flags.StringVar(&f.umask, "umask", "", "of the program, in octal (default 0022)")
	flags.IntVar(&f.oomScoreAdj, "oom-score-adj", 0, "-1000 to 1000: how likely the kernel kills it where memory is short")
	flags.StringArrayVarP(&f.labels, "label", "l", nil, "label, as KEY=VALUE")
	flags.StringArrayVar(&f.labelFiles, "label-file", nil, "file of labels, one a line")
	flags.StringArrayVar(&f.capAdd, "cap-add", nil, "capability to add, or ALL")
	flags.StringArrayVar(&f.capDrop, "cap-drop", nil, "capability to take away, or ALL")
	flags.StringArrayVar(&f.securityOptions, "security-opt", nil, "seccomp=unconfined|compat|FILE, apparmor=PROFILE|unconfined, no-new-privileges[=false]")
	f.userns.register(flags)
}

func (f *containerFlags) registerNetwork(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.networks, "network", nil, "NAME, host, none, container:NAME or ns:PATH; repeatable, the first is eth0")
	alsoAs(flags, "net", "network")
	flags.StringArrayVarP(&f.publish, "publish", "p", nil, "[[IP:]HOST-PORT:]PORT[/PROTOCOL], or ranges of ports, or target=PORT,published=...,host_ip=...,protocol=...")
	flags.BoolVarP(&f.publishAll, "publish-all", "P", false, "publish all exposed ports at free ones")
	flags.StringArrayVar(&f.expose, "expose", nil, "PORT[-PORT][/PROTOCOL] for -P")
	flags.StringArrayVar(&f.aliases, "network-alias", nil, "further name on the container's networks")
	alsoAs(flags, "net-alias", "network-alias")
	flags.StringVar(&f.ip, "ip", "", "IPv4 address on the network")
	flags.StringVar(&f.ip6, "ip6", "", "IPv6 address on the network")
	flags.StringVar(&f.mac, "mac-address", "", "MAC address on the network")
	flags.Bool("help", false, "help for this command") // docker's -h is the host name, not help
	flags.StringVarP(&f.hostname, "hostname", "h", "", "host name; default: the short ID")
	flags.StringVar(&f.domainname, "domainname", "", "domain name")
	flags.StringArrayVar(&f.dns, "dns", nil, "server to ask for names outside; default: the host's")
	flags.StringArrayVar(&f.dnsSearch, "dns-search", nil, "search domain, in place of the host's; '.' for none")
	flags.StringArrayVar(&f.dnsOptions, "dns-option", nil, "option of resolv.conf")
	alsoAs(flags, "dns-opt", "dns-option")
	flags.StringArrayVar(&f.hosts, "add-host", nil, "line of /etc/hosts, as NAME:ADDRESS, or NAME:host-gateway")
	flags.StringArrayVar(&f.sysctls, "sysctl", nil, "kernel setting of the container's namespaces, as KEY=VALUE")
}

// alsoAs gives a flag a second spelling, which the help leaves out. Both share
// one value: two flags with one variable would each begin a list of their own.
func alsoAs(flags *pflag.FlagSet, spelling, name string) {
	second := *flags.Lookup(name)
	second.Name, second.Shorthand, second.Hidden = spelling, "", true
	flags.AddFlag(&second)
}

func (f *containerFlags) registerFiles(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.rootfs, "rootfs", nil, "directory in place of IMAGE; repeatable, topmost first")
	flags.StringArrayVarP(&f.volumes, "volume", "v", nil, "SOURCE:TARGET[:ro], a host path or the name of a volume")
	flags.StringArrayVar(&f.mounts, "mount", nil, "type=bind|volume|tmpfs,source=...,target=...[,readonly]")
	flags.StringArrayVar(&f.volumesFrom, "volumes-from", nil, "CONTAINER[:ro]: mount what that container has mounted")
	flags.StringArrayVar(&f.tmpfs, "tmpfs", nil, "TARGET[:OPTIONS]")
	flags.StringArrayVar(&f.openDevices, "device", nil, "HOST-PATH[:PATH][:rwm]: device of the host that the container may open, such as /dev/net/tun")
	flags.BoolVar(&f.readOnly, "read-only", false, "the root file system can't be changed")
	flags.BoolVar(&f.privilegedPaths, "privileged-paths", false, "allow to mount the host's / and our own directories")
}

func (f *containerFlags) registerLimits(flags *pflag.FlagSet) {
	flags.StringVarP(&f.memory, "memory", "m", "", "memory, such as 512m")
	flags.StringVar(&f.memoryReservation, "memory-reservation", "", "memory that is left to it where memory is short")
	flags.StringVar(&f.memorySwap, "memory-swap", "", "memory and swap together, -1 for no limit; default: twice the memory")
	flags.StringVar(&f.cpus, "cpus", "", "number of CPUs, such as 1.5")
	flags.Uint64VarP(&f.cpuShares, "cpu-shares", "c", 0, "weight among containers (1024 is usual)")
	flags.Uint64Var(&f.cpuPeriod, "cpu-period", 0, "microseconds that --cpu-quota is of (default 100000)")
	flags.Uint64Var(&f.cpuQuota, "cpu-quota", 0, "microseconds of CPU time in each period; --cpus says it in CPUs")
	flags.StringVar(&f.cpuSet, "cpuset-cpus", "", "CPUs to run on, such as 0-2,7")
	flags.StringVar(&f.memoryNodes, "cpuset-mems", "", "memory nodes (NUMA) to use, such as 0,1")
	flags.Int64Var(&f.pids, "pids-limit", 0, "number of processes, -1 for no limit (default 2048)")
	flags.StringVar(&f.shmSize, "shm-size", "", "size of /dev/shm (default 64m)")
	flags.Uint16Var(&f.ioWeight, "blkio-weight", 0, "weight of its disk access among containers, 10 to 1000")
	f.devices.register(flags)
	flags.StringArrayVar(&f.ulimits, "ulimit", nil, "limit of a process, as NAME=SOFT[:HARD]")
}

// checkArgs: an image, unless --rootfs stands for one.
func (f *containerFlags) checkArgs(cmd *cobra.Command, given []string) error {
	if len(f.rootfs) > 0 {
		return nil
	}
	return args(1, -1)(cmd, given)
}

// newConfig turns the flags into a container to be made. Mistakes are usage
// errors and name the flag; nothing has been touched.
func (c containers) newConfig(f *containerFlags, args []string) (*runner.Config, error) {
	cfg := &runner.Config{
		Name: f.name, Hostname: f.hostname, Domainname: f.domainname, AutoRemove: f.remove,
		ReadOnlyRoot: f.readOnly, CapAdd: f.capAdd, CapDrop: f.capDrop,
		Process: runner.Process{TTY: f.tty, Init: f.init, OpenStdin: f.stdin, Dir: f.workdir, User: f.user, Groups: f.groups},
	}
	if f.tty {
		cfg.Process.Window = attach.Window(c.app.Stdin)
	}
	command, err := c.image(f, cfg, args)
	if err != nil {
		return nil, err
	}
	if err := f.fillCommand(&cfg.Process, command); err != nil {
		return nil, err
	}
	for _, step := range []func(*runner.Config) error{
		f.fillProgram, f.fillSecurity, f.userns.fill, f.fillLimits, f.fillDevices, c.fillMounts(f), f.fillFromImage, f.fillHealth, c.fillNetwork(f),
	} {
		if err := step(cfg); err != nil {
			return nil, err
		}
	}
	return cfg, nil
}

// image finds the directories of the root file system, and returns the rest of
// the arguments: the command.
func (c containers) image(f *containerFlags, cfg *runner.Config, args []string) ([]string, error) {
	if len(f.rootfs) > 0 {
		cfg.Image = strings.Join(f.rootfs, ":")
		for _, list := range f.rootfs {
			for dir := range strings.SplitSeq(list, ":") {
				if err := addLayer(cfg, dir); err != nil {
					return nil, err
				}
			}
		}
		return args, nil
	}
	image := args[0]
	cfg.Image = image
	switch {
	case image == "host":
		cfg.Layers = []string{"/"}
		return args[1:], nil
	case isDirectory(image):
		return args[1:], addLayer(cfg, image)
	}
	return args[1:], c.fromImage(f, cfg, image)
}

func addLayer(cfg *runner.Config, dir string) error {
	path, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if st, err := os.Stat(path); err != nil {
		return usageError("root file system: %w", err)
	} else if !st.IsDir() {
		return usageError("root file system %s is not a directory", path)
	}
	cfg.Layers = append(cfg.Layers, path)
	return nil
}

func (f *containerFlags) fillProgram(cfg *runner.Config) error {
	var err error
	if cfg.Process.Env, err = environmentOf(f.envFiles, f.env, os.LookupEnv); err != nil {
		return err
	}
	if f.workdir != "" && !filepath.IsAbs(f.workdir) {
		return usageError("--workdir %s: must be an absolute path", f.workdir)
	}
	if f.stopSignal != "" {
		if _, err := parseSignal(f.stopSignal); err != nil {
			return usageError("--stop-signal: %w", err)
		}
	}
	cfg.StopSignal, cfg.StopTimeout = f.stopSignal, f.stopTimeout.value
	if cfg.Restart, err = runner.ParseRestartPolicy(f.restart); err != nil {
		return usageError("--restart: %w", err)
	}
	if cfg.AutoRemove && cfg.Restart.When != runner.RestartNo {
		return usageError("--restart %s can't be combined with --rm: what is removed is not run again", cfg.Restart)
	}
	if err := f.fillProcess(&cfg.Process); err != nil {
		return err
	}
	cfg.Labels, err = f.labelsOf()
	return err
}

// fillProcess reads what the kernel is told of the program.
func (f *containerFlags) fillProcess(p *runner.Process) error {
	if f.oomScoreAdj < -1000 || f.oomScoreAdj > 1000 {
		return usageError("--oom-score-adj %d: want -1000 to 1000", f.oomScoreAdj)
	}
	p.OOMScoreAdj = f.oomScoreAdj
	if f.umask != "" {
		mask, err := strconv.ParseUint(f.umask, 8, 32)
		if err != nil || mask > 0o777 {
			return usageError("--umask %s: want an octal number up to 0777", f.umask)
		}
		p.Umask = new(uint32(mask))
	}
	for _, g := range f.groups {
		if g == "" || strings.ContainsAny(g, ":\n\x00") {
			return usageError("--group-add %q: want a group's number or name", g)
		}
	}
	return nil
}

// labelsOf are the labels of files, and over them those of flags.
func (f *containerFlags) labelsOf() (map[string]string, error) {
	var pairs []string
	for _, path := range f.labelFiles {
		lines, err := linesOf("--label-file", path)
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, lines...)
	}
	return keyValues("--label", append(pairs, f.labels...), true)
}

// linesOf reads a file of settings: empty lines and those that begin with # are left
// out.
func linesOf(flag, path string) ([]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, usageError("%s: %w", flag, err)
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return lines, nil
}

// keyValues reads KEY=VALUE pairs; where it is optional a missing value is
// empty.
func keyValues(flag string, pairs []string, optional bool) (map[string]string, error) {
	if len(pairs) == 0 {
		return nil, nil
	}
	m := map[string]string{}
	for _, pair := range pairs {
		key, value, given := strings.Cut(pair, "=")
		if key == "" || !given && !optional {
			return nil, usageError("%s %q: want KEY=VALUE", flag, pair)
		}
		m[key] = value
	}
	return m, nil
}

// environmentOf collects variables: files first, then flags. A name without a
// value takes ours, or nothing if we have none.
func environmentOf(files, pairs []string, lookup func(string) (string, bool)) ([]string, error) {
	var lines []string
	for _, path := range files {
		of, err := linesOf("--env-file", path)
		if err != nil {
			return nil, err
		}
		lines = append(lines, of...)
	}
	var env []string
	for _, pair := range slices.Concat(lines, pairs) {
		name, _, given := strings.Cut(pair, "=")
		if name == "" || strings.ContainsRune(pair, 0) {
			return nil, usageError("invalid variable %q: want NAME=VALUE or NAME", pair)
		}
		if given {
			env = append(env, pair)
		} else if value, ok := lookup(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env, nil
}

func (f *containerFlags) fillSecurity(cfg *runner.Config) error {
	if err := errors.Join(checkCapabilities("--cap-add", f.capAdd), checkCapabilities("--cap-drop", f.capDrop)); err != nil {
		return err
	}
	for _, o := range f.securityOptions {
		key, value, given := strings.Cut(o, "=")
		if !given { // docker's older spelling
			key, value, given = strings.Cut(o, ":")
		}
		switch {
		case key == "no-new-privileges" && (!given || value == "true"):
			cfg.Security.NewPrivileges = false
		case key == "no-new-privileges" && value == "false":
			cfg.Security.NewPrivileges = true
		case key == "apparmor" && value != "":
			cfg.Security.AppArmor = value
		case key == "seccomp" && (value == "unconfined" || value == "compat"):
			cfg.Security.Seccomp = value
		case key == "seccomp" && value != "":
			profile, err := os.ReadFile(value)
			if err != nil {
				return usageError("--security-opt seccomp: %w", err)
			}
			cfg.Security.Seccomp = string(profile)
		default:
			return usageError("--security-opt %s: not supported (known: seccomp=unconfined|compat|FILE, apparmor=PROFILE|unconfined, no-new-privileges[=false])", o)
		}
	}
	return nil
}
