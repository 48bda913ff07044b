package plugins

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/netctl/netctl/ipam/quickjson"
	"github.com/netctl/netctl/plugins/internal/cni"
)

// A List is a network configuration list, carried out in this process. A type
// that is not in our table is executed from CNI_PATH, so that foreign plugins
// mix in.
type List struct {
	name    string
	version string
	entries []entry
	host    Host
}

// entry is one plugin of the list: its keys as they stand in the file, and
// which of the capability arguments it wants.
type entry struct {
	kind         string
	keys         map[string]json.RawMessage
	capabilities map[string]bool
}

// Call says which attachment a List works on.
type Call struct {
	ContainerID string
	Netns       string // path; may be empty for Del
	IfName      string
	Args        map[string]string // CNI_ARGS
	// Capabilities are the capability arguments; each plugin gets those it
	// declares.
	Capabilities map[string]any
}

// Parse reads a configuration list. Of the versions it offers the newest that
// we know is used.
func (h Host) Parse(data []byte) (*List, error) {
	var raw struct {
		CNIVersion  string                       `json:"cniVersion"`
		CNIVersions []string                     `json:"cniVersions"`
		Name        string                       `json:"name"`
		Plugins     []map[string]json.RawMessage `json:"plugins"`
	}
	if err := cni.Unmarshal(data, &raw); err != nil {
		return nil, fmt.Errorf("network configuration list: %w", err)
	}
	if raw.Name == "" || len(raw.Plugins) == 0 {
		return nil, fmt.Errorf("network configuration list %q: want a name and at least one plugin", raw.Name)
	}
	l := &List{name: raw.Name, version: newest(append(raw.CNIVersions, raw.CNIVersion)), host: h}
	for i, keys := range raw.Plugins {
		e, err := newEntry(keys)
		if err != nil {
			return nil, fmt.Errorf("network %s, plugins[%d]: %w", raw.Name, i, err)
		}
		l.entries = append(l.entries, e)
	}
	return l, nil
}

// newest gives the newest of the versions that we support; those we don't know
// are passed over (spec cni, R01).
func newest(offered []string) string {
	for _, v := range slices.Backward(cni.Supported()) {
		if slices.Contains(offered, v) {
			return v
		}
	}
	return cni.Supported()[0]
}

func newEntry(keys map[string]json.RawMessage) (entry, error) {
	e := entry{keys: keys}
	if err := json.Unmarshal(keys["type"], &e.kind); err != nil || e.kind == "" {
		return e, errors.New("key type is missing: want a plugin's name")
	}
	if raw, ok := keys["capabilities"]; ok {
		if err := cni.Unmarshal(raw, &e.capabilities); err != nil {
			return e, cni.Within("capabilities", err)
		}
	}
	return e, nil
}

// Add runs ADD of each plugin in order. If one fails, DEL of the whole list
// takes back what the others did: libcni leaves that to its callers, who
// forget it (cni#797).
func (l *List) Add(ctx context.Context, call Call) (*current.Result, error) {
	var result *current.Result
	for _, e := range l.entries {
		next, err := l.add(ctx, e, call, result)
		if err != nil {
			return nil, errors.Join(err, l.Del(context.WithoutCancel(ctx), call, result))
		}
		result = next
	}
	return result, nil
}

func (l *List) add(ctx context.Context, e entry, call Call, previous *current.Result) (*current.Result, error) {
	req, err := l.request(cni.Add, e, call, previous)
	if err != nil {
		return nil, err
	}
	if own := l.host.find(e.kind); own != nil {
		return own.Add(ctx, req)
	}
	foreign, err := l.foreign(e, req, cni.Add)
	if err != nil {
		return nil, err
	}
	return foreign.Result(ctx, req.Stdin, l.version)
}

// Del runs DEL of each plugin in reverse order. A plugin's failure does not
// stop the others: that is how addresses leak elsewhere (containerd#12130).
func (l *List) Del(ctx context.Context, call Call, result *current.Result) error {
	var failures []error
	for _, e := range slices.Backward(l.entries) {
		failures = append(failures, l.verb(ctx, cni.Del, e, call, result))
	}
	return errors.Join(failures...)
}

// Check runs CHECK of each plugin and stops at the first difference.
func (l *List) Check(ctx context.Context, call Call, result *current.Result) error {
	for _, e := range l.entries {
		if err := l.verb(ctx, cni.Check, e, call, result); err != nil {
			return err
		}
	}
	return nil
}

// verb runs a verb that answers nothing.
func (l *List) verb(ctx context.Context, verb cni.Command, e entry, call Call, result *current.Result) error {
	req, err := l.request(verb, e, call, result)
	if err != nil {
		return err
	}
	own := l.host.find(e.kind)
	switch {
	case own != nil && verb == cni.Del:
		return own.Del(ctx, req)
	case own != nil && verb == cni.Check:
		return own.Check(ctx, req)
	}
	foreign, err := l.foreign(e, req, verb)
	if err != nil {
		return err
	}
	_, err = foreign.Run(ctx, req.Stdin)
	return err
}

func (l *List) foreign(e entry, req *cni.Request, verb cni.Command) (cni.Foreign, error) {
	file, err := cni.Find(e.kind, l.host.CNIPath)
	if err != nil {
		return cni.Foreign{}, err
	}
	return cni.Foreign{File: file, Env: req.Environ(verb)}, nil
}

// request makes the request that a runtime would send to the plugin: its keys
// unchanged, but for name, version, previous result and capability arguments.
func (l *List) request(verb cni.Command, e entry, call Call, previous *current.Result) (*cni.Request, error) {
	keys := map[string]any{}
	for key, value := range e.keys {
		if key != "capabilities" {
			keys[key] = value
		}
	}
	keys["name"], keys["cniVersion"] = l.name, l.version
	if previous != nil {
		converted, err := cni.Convert(previous, l.version)
		if err != nil {
			return nil, err
		}
		keys["prevResult"] = converted
	}
	wanted := map[string]any{}
	for name, value := range call.Capabilities {
		if e.capabilities[name] {
			wanted[name] = value
		}
	}
	if len(wanted) > 0 {
		keys["runtimeConfig"] = wanted
	}
	stdin, err := quickjson.Marshal(keys)
	if err != nil {
		return nil, fmt.Errorf("network %s, plugin %s: %w", l.name, e.kind, err)
	}
	return cni.Parse(l.environment(verb, call), stdin)
}

func (l *List) environment(verb cni.Command, call Call) cni.Getenv {
	args := cni.Args(call.Args)
	values := map[string]string{
		"CNI_COMMAND":     string(verb),
		"CNI_CONTAINERID": call.ContainerID,
		"CNI_NETNS":       call.Netns,
		"CNI_IFNAME":      call.IfName,
		"CNI_ARGS":        args.String(),
	}
	getenv := func(name string) string { return values[name] }
	if len(l.host.CNIPath) > 0 {
		values["CNI_PATH"] = strings.Join(l.host.CNIPath, ":")
	}
	return getenv
}

// RemoveShared takes away what the network's attachments shared: rules and
// bridge. It fails while there are attachments.
func (l *List) RemoveShared(ctx context.Context) error {
	for _, e := range l.entries {
		mode, ok := findMode(e.kind)
		if !ok {
			continue
		}
		req, err := l.request(cni.Del, e, Call{ContainerID: "none", IfName: "none"}, nil)
		if err != nil {
			return err
		}
		a, err := l.host.attacher(mode)
		if err != nil {
			return err
		}
		if err := a.RemoveNetwork(ctx, req); err != nil {
			return err
		}
	}
	return nil
}
