package cni

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/netctl/netctl/ipam/quickjson"
)

// Command is a verb of the protocol.
type Command string

// The verbs.
const (
	Add     Command = "ADD"
	Del     Command = "DEL"
	Check   Command = "CHECK"
	GC      Command = "GC"
	Status  Command = "STATUS"
	Version Command = "VERSION"
)

// A Request is one validated call.
type Request struct {
	Command     Command
	ContainerID string
	Netns       string
	IfName      string
	Args        Args
	RawArgs     string   // CNI_ARGS as it came; delegates get it
	Path        []string // CNI_PATH
	// AllowOwnNetns is CNI_NETNS_OVERRIDE: the container's namespace may be
	// the plugin's own.
	AllowOwnNetns bool
	// Stdin is the configuration as it came; delegates get these bytes.
	Stdin []byte
	Conf  NetConf
}

// Getenv is how the environment is read; os.Getenv outside of tests.
type Getenv func(string) string

// requirement says which variables each verb can't do without.
var requirement = map[Command][]string{
	Add:    {"CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"},
	Check:  {"CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"},
	Del:    {"CNI_CONTAINERID", "CNI_IFNAME"},
	GC:     nil,
	Status: nil,
}

// parseEnvironment reads and validates the variables of the protocol.
func parseEnvironment(getenv Getenv) (*Request, error) {
	req := &Request{
		Command:       Command(getenv("CNI_COMMAND")),
		ContainerID:   getenv("CNI_CONTAINERID"),
		Netns:         getenv("CNI_NETNS"),
		IfName:        getenv("CNI_IFNAME"),
		AllowOwnNetns: truth(getenv("CNI_NETNS_OVERRIDE")),
	}
	needed, ok := requirement[req.Command]
	if !ok {
		return req, Errorf(CodeEnvironment, "unknown CNI_COMMAND %q: want ADD, DEL, CHECK, GC, STATUS or VERSION", req.Command)
	}
	var missing []string
	for _, name := range needed {
		if getenv(name) == "" {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return req, Errorf(CodeEnvironment, "required environment variables missing: %s", strings.Join(missing, ", "))
	}
	if path := getenv("CNI_PATH"); path != "" {
		req.Path = strings.Split(path, ":")
	}
	if len(needed) == 0 {
		return req, nil
	}
	if err := validateNames(req); err != nil {
		return req, err
	}
	req.RawArgs = getenv("CNI_ARGS")
	args, err := ParseArgs(req.RawArgs)
	if err != nil {
		return req, Errorf(CodeEnvironment, "CNI_ARGS: %w", err)
	}
	req.Args = args
	return req, nil
}

func validateNames(req *Request) error {
	if !isName(req.ContainerID) {
		return Errorf(CodeEnvironment, "invalid CNI_CONTAINERID %q: want letters, digits, '_', '.', '-', starting with a letter or digit", req.ContainerID)
	}
	if !IsIfName(req.IfName) {
		return Errorf(CodeEnvironment, "invalid CNI_IFNAME %q: want 1 to 15 bytes without '/', ':' and space, not '.' or '..'", req.IfName)
	}
	return nil
}

func truth(s string) bool { return s == "1" || strings.EqualFold(s, "true") }

// Args is CNI_ARGS, taken apart.
type Args map[string]string

// known are the keys that some plugin of ours understands.
var known = map[string]bool{
	"IgnoreUnknown": true, "IP": true, "MAC": true, "GATEWAY": true,
}

// ParseArgs splits K=V pairs joined by ';'. A value may contain '='. Keys that
// nobody knows are an error unless IgnoreUnknown is 1 or true; containerd
// writes the pairs in random order, so that is decided after all are read.
func ParseArgs(text string) (Args, error) {
	args := Args{}
	for pair := range strings.SplitSeq(text, ";") {
		if pair == "" {
			continue
		}
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("invalid pair %q: want KEY=VALUE", pair)
		}
		args[key] = value
	}
	if truth(args["IgnoreUnknown"]) {
		return args, nil
	}
	for key := range args {
		if !known[key] {
			return nil, fmt.Errorf("unknown key %q (add IgnoreUnknown=1 to pass keys a plugin does not know)", key)
		}
	}
	return args, nil
}

// String is the form of the variable, in a fixed order.
func (a Args) String() string {
	var pairs []string
	for _, key := range slices.Sorted(maps.Keys(a)) {
		pairs = append(pairs, key+"="+a[key])
	}
	return strings.Join(pairs, ";")
}

// NetConf is the part of a configuration that is the same for every plugin.
// Keys match whatever their case, as encoding/json does: containerd sends Go's
// field names (HostPort) in runtimeConfig.
type NetConf struct {
	CNIVersion    string          `json:"cniVersion"`
	Name          string          `json:"name"`
	Type          string          `json:"type"`
	IPAM          IPAM            `json:"ipam"`
	DNS           types.DNS       `json:"dns"`
	RuntimeConfig RuntimeConfig   `json:"runtimeConfig"`
	PrevResult    json.RawMessage `json:"prevResult"`
	Attachments   ValidList       `json:"cni.dev/valid-attachments"`
	// OldAttachments is the name the key had before the specification was
	// released; libcni sends both.
	OldAttachments ValidList `json:"cni.dev/attachments"`
}

// IPAM keeps the whole object beside its type.
type IPAM struct {
	Type string
	Raw  json.RawMessage
}

// UnmarshalJSON keeps the bytes.
func (i *IPAM) UnmarshalJSON(data []byte) error {
	var head struct {
		Type string `json:"type"`
	}
	if err := Unmarshal(data, &head); err != nil {
		return Within("ipam", err)
	}
	i.Type, i.Raw = head.Type, append(json.RawMessage(nil), data...)
	return nil
}

// RuntimeConfig holds the capability arguments.
type RuntimeConfig struct {
	PortMappings []PortMapping   `json:"portMappings"`
	Bandwidth    json.RawMessage `json:"bandwidth"`
	DNS          struct {
		Servers  []string `json:"servers"`
		Searches []string `json:"searches"`
		Options  []string `json:"options"`
	} `json:"dns"`
	Aliases Aliases `json:"aliases"`
	// Hostname is a capability of our own: a name that counts less than any
	// container's name or alias.
	Hostname string          `json:"hostname"`
	IPs      []string        `json:"ips"`
	MAC      string          `json:"mac"`
	IPRanges json.RawMessage `json:"ipRanges"`
}

// PortMapping is one entry of the portMappings capability.
type PortMapping struct {
	HostPort      int    `json:"hostPort"`
	ContainerPort int    `json:"containerPort"`
	Protocol      string `json:"protocol"`
	HostIP        string `json:"hostIP"`
}

// Aliases is a list of names. CRI-O sends a map from network to list.
type Aliases struct {
	All       []string
	ByNetwork map[string][]string
}

// UnmarshalJSON accepts both forms.
func (a *Aliases) UnmarshalJSON(data []byte) error {
	if err := quickjson.Unmarshal(data, &a.All); err == nil {
		return nil
	}
	if err := json.Unmarshal(data, &a.ByNetwork); err != nil {
		return &WrongTypeError{Key: "runtimeConfig.aliases", Want: "a list of names, or an object of such lists by network", Got: clip(compact(data))}
	}
	return nil
}

// For gives the names that are meant for a network.
func (a Aliases) For(network string) []string {
	return append(append([]string(nil), a.All...), a.ByNetwork[network]...)
}

// ValidList is the list of attachments that GC must keep. Absent and empty
// mean different things, so it remembers whether it was there.
type ValidList struct {
	Present bool
	Entries []ValidAttachment
}

// ValidAttachment names an attachment as GC does.
type ValidAttachment struct {
	ContainerID string `json:"containerID"`
	IfName      string `json:"ifname"`
}

// UnmarshalJSON accepts a list or null; both count as present.
func (v *ValidList) UnmarshalJSON(data []byte) error {
	v.Present = true
	return Within("cni.dev/valid-attachments", Unmarshal(data, &v.Entries))
}

// Valid is the list of attachments to keep, or an error of code 7 if there is
// none: `cnitool gc` sends no list, and deleting everything is not what its
// user meant (spec cni, decision 1).
func (c *NetConf) Valid() ([]ValidAttachment, error) {
	for _, list := range []ValidList{c.Attachments, c.OldAttachments} {
		if list.Present {
			return list.Entries, nil
		}
	}
	return nil, Errorf(CodeConfig, "GC: key cni.dev/valid-attachments is missing; nothing was deleted").
		WithHint("pass a list, [] if no attachment is valid any more")
}

// parseConf decodes and validates what came on standard input.
func parseConf(stdin []byte) (NetConf, error) {
	var conf NetConf
	if err := Unmarshal(stdin, &conf); err != nil {
		return conf, Errorf(CodeDecode, "configuration on standard input: %w", err)
	}
	if conf.CNIVersion == "" {
		conf.CNIVersion = "0.1.0"
	}
	if conf.Name == "" {
		return conf, Errorf(CodeConfig, "key name is missing or empty: want the network's name")
	}
	if !isName(conf.Name) {
		return conf, Errorf(CodeConfig, "invalid name %q: want letters, digits, '_', '.', '-', starting with a letter or digit", conf.Name)
	}
	return conf, nil
}
