package netctl

import (
	"errors"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/go-units"
	"github.com/spf13/pflag"

	"github.com/netctl/netctl/netctl/runner"
)

// deviceFlags are the limits on block devices, each DEVICE:RATE.
type deviceFlags struct{ readBps, writeBps, readIOps, writeIOps []string }

func (f *deviceFlags) register(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.readBps, "device-read-bps", nil, "bytes a second read from a device, as DEVICE:1mb")
	flags.StringArrayVar(&f.writeBps, "device-write-bps", nil, "bytes a second written to a device")
	flags.StringArrayVar(&f.readIOps, "device-read-iops", nil, "reads a second from a device, as DEVICE:1000")
	flags.StringArrayVar(&f.writeIOps, "device-write-iops", nil, "writes a second to a device")
}

// fillDevices reads --device.
func (f *containerFlags) fillDevices(cfg *runner.Config) error {
	for _, text := range f.openDevices {
		d, err := parseDevice(text)
		if err == nil {
			_, err = d.Nodes()
		}
		if err != nil {
			return usageError("--device %s: %w", text, err)
		}
		cfg.Devices = append(cfg.Devices, d)
	}
	return nil
}

// parseDevice reads HOST-PATH[:PATH][:ACCESS], as docker does: what has only letters of
// rwm is the access.
func parseDevice(text string) (runner.Device, error) {
	parts := strings.Split(text, ":")
	d := runner.Device{Path: parts[0], Access: "rwm"}
	if last := parts[len(parts)-1]; len(parts) > 1 && last != "" && strings.Trim(last, "rwm") == "" {
		d.Access, parts = last, parts[:len(parts)-1]
	}
	switch len(parts) {
	case 1:
		d.Target = d.Path
	case 2:
		d.Target = parts[1]
	default:
		return d, errors.New("want HOST-PATH[:PATH][:rwm]")
	}
	if !filepath.IsAbs(d.Path) || !filepath.IsAbs(d.Target) {
		return d, errors.New("want HOST-PATH[:PATH][:rwm] with absolute paths")
	}
	d.Path, d.Target = filepath.Clean(d.Path), filepath.Clean(d.Target)
	return d, nil
}

func (f *deviceFlags) fill(l *runner.Limits) error {
	for _, kind := range []struct {
		flag  string
		texts []string
		bytes bool
		rate  func(*runner.DeviceLimit) *uint64
	}{
		{"--device-read-bps", f.readBps, true, func(d *runner.DeviceLimit) *uint64 { return &d.ReadBps }},
		{"--device-write-bps", f.writeBps, true, func(d *runner.DeviceLimit) *uint64 { return &d.WriteBps }},
		{"--device-read-iops", f.readIOps, false, func(d *runner.DeviceLimit) *uint64 { return &d.ReadIOps }},
		{"--device-write-iops", f.writeIOps, false, func(d *runner.DeviceLimit) *uint64 { return &d.WriteIOps }},
	} {
		for _, text := range kind.texts {
			path, rate, err := parseDeviceRate(text, kind.bytes)
			if err != nil {
				return usageError("%s %s: %w", kind.flag, text, err)
			}
			*kind.rate(deviceLimit(l, path)) = rate
		}
	}
	return nil
}

// deviceLimit finds or makes the entry of a device.
func deviceLimit(l *runner.Limits, path string) *runner.DeviceLimit {
	i := slices.IndexFunc(l.Devices, func(d runner.DeviceLimit) bool { return d.Path == path })
	if i < 0 {
		i = len(l.Devices)
		l.Devices = append(l.Devices, runner.DeviceLimit{Path: path})
	}
	return &l.Devices[i]
}

func badDeviceRate() error {
	return errors.New("want DEVICE:RATE, a device below /dev and a number above 0, with b, k, m or g where it counts bytes")
}

// parseDeviceRate reads DEVICE:RATE. The device must exist.
func parseDeviceRate(text string, bytes bool) (path string, rate uint64, err error) {
	path, number, given := cutLast(text, ":")
	if !given || !strings.HasPrefix(path, "/dev/") {
		return "", 0, badDeviceRate()
	}
	path = filepath.Clean(path)
	if bytes {
		n, err := units.RAMInBytes(number)
		if err != nil || n <= 0 {
			return "", 0, badDeviceRate()
		}
		rate = uint64(n)
	} else if rate, err = strconv.ParseUint(number, 10, 32); err != nil || rate == 0 {
		return "", 0, badDeviceRate()
	}
	_, err = runner.DeviceLimit{Path: path}.Number()
	return path, rate, err
}
