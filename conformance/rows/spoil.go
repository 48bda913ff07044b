package rows

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/netctl/netctl/conformance/protocol"
	"github.com/netctl/netctl/conformance/trial"
)

// spoilt is a request that a plugin must refuse, and what is wrong with it.
type spoilt struct {
	why     string
	request protocol.Request
	codes   []int // the codes the specification reserves for it
}

// refusals are requests that every plugin must refuse, whatever its
// configuration means. They are spoilt copies of the attachment's ADD.
func refusals(a *trial.Attachment) []spoilt {
	add := a.Request(protocol.Add)
	conf := mustConf(add.Stdin)
	return []spoilt{
		{"CNI_COMMAND=FROB is no operation", add.With(protocol.EnvCommand, "FROB"), []int{protocol.CodeEnvironment}},
		{"CNI_CONTAINERID is unset", add.Without(protocol.EnvContainerID), []int{protocol.CodeEnvironment}},
		{"CNI_IFNAME is unset", add.Without(protocol.EnvIfName), []int{protocol.CodeEnvironment}},
		{"CNI_NETNS is unset", add.Without(protocol.EnvNetns), []int{protocol.CodeEnvironment}},
		{"CNI_IFNAME has a slash", add.With(protocol.EnvIfName, "a/b"), []int{protocol.CodeEnvironment}},
		{"CNI_CONTAINERID begins with a dash", add.With(protocol.EnvContainerID, "-x"), []int{protocol.CodeEnvironment}},
		{"stdin is not JSON", add.Sending([]byte("this is not JSON")), []int{protocol.CodeDecode}},
		{"the name is missing", add.Sending(conf.Without("name").JSON()), []int{protocol.CodeConfig}},
		{"the name has a slash", add.Sending(conf.With("name", "a/b").JSON()), []int{protocol.CodeConfig}},
		{"cniVersion 99.0.0 does not exist", add.Sending(conf.With("cniVersion", "99.0.0").JSON()), []int{protocol.CodeVersion}},
	}
}

// oddities are requests a plugin may accept or refuse, but must survive: every
// key of its configuration in every wrong form, keys moved to where runtimes
// put arguments, keys left out.
func oddities(a *trial.Attachment) []spoilt {
	add := a.Request(protocol.Add)
	conf := mustConf(add.Stdin)
	var out []spoilt
	odd := func(why string, c protocol.Conf) {
		out = append(out, spoilt{why: why, request: add.Sending(c.JSON())})
	}
	odd("prevResult is missing", conf.Without("prevResult"))
	odd("prevResult is missing and so is runtimeConfig", conf.Without("prevResult", "runtimeConfig"))
	odd("prevResult is a string", conf.With("prevResult", "x"))
	odd("prevResult is empty", conf.With("prevResult", map[string]any{}))
	for _, key := range ownKeys(conf) {
		odd(key+" is missing", conf.Without(key))
		odd(key+" stands in args.cni instead", conf.Without(key).With("args.cni."+key, conf.Get(key)))
		for _, wrong := range wrongValues(conf.Get(key)) {
			odd(fmt.Sprintf("%s is %s", key, mustText(wrong)), conf.With(key, wrong))
		}
	}
	for _, key := range conf.Keys("runtimeConfig") {
		odd("runtimeConfig."+key+" is a number", conf.With("runtimeConfig."+key, 1))
	}
	return out
}

// ownKeys are the keys that mean something to this plugin alone.
func ownKeys(conf protocol.Conf) []string {
	var out []string
	for _, key := range conf.Keys("") {
		switch key {
		case "name", "cniVersion", "type", "prevResult", "runtimeConfig", "capabilities":
		default:
			out = append(out, key)
		}
	}
	return out
}

// wrongValues are values of other JSON types than v.
func wrongValues(v any) []any {
	all := []any{"x", json.Number("7"), map[string]any{"x": "y"}, []any{"x"}, nil}
	return slices.DeleteFunc(all, func(w any) bool { return fmt.Sprintf("%T", w) == fmt.Sprintf("%T", v) })
}

// mustConf decodes a request the suite itself has made.
func mustConf(b []byte) protocol.Conf {
	conf, err := protocol.ParseConf(b)
	if err != nil {
		panic(err)
	}
	return conf
}

// mustText is a decoded value as JSON.
func mustText(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}
