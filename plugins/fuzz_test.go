package plugins

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"

	"github.com/netctl/netctl/plugins/internal/cni"
)

// FuzzCall gives every plugin that makes or changes links any configuration, any
// CNI_ARGS and any prevResult: there is no panic, and one JSON document always;
// an error has a code that means something. The namespace does not exist, so
// that a request in which nothing else is wrong touches nothing either. (The
// kinds of IPAM have a target of their own in package attach.)
func FuzzCall(f *testing.F) {
	const previous = `{"cniVersion":"1.1.0","interfaces":[{"name":"br0"},{"name":"veth0"},{"name":"eth0","sandbox":"/no/such"}],"ips":[{"address":"10.1.0.2/24","gateway":"10.1.0.1","interface":2}],"routes":[{"dst":"0.0.0.0/0"}],"dns":{"nameservers":["10.1.0.1"]}}`
	for i := range modes() {
		for version := range cni.Supported() {
			f.Add(uint8(i), uint8(version), true, "IgnoreUnknown=1;IP=10.1.0.9;MAC=02:00:00:00:00:01", "", previous)
		}
		f.Add(uint8(i), uint8(6), true, "", `,"vlan":100,"vlanTrunk":[{"minID":1,"maxID":5},{"id":7}],"preserveDefaultVlan":true,"bridge":"b"`, "null")
		f.Add(uint8(i), uint8(6), false, "IP=1", `,"runtimeConfig":{"portMappings":[{"hostPort":80,"containerPort":80,"hostIP":"::1"}],"bandwidth":{"ingressRate":8,"ingressBurst":8},"mac":"02::","aliases":{"n":["a"]}}`, previous)
		f.Add(uint8(i), uint8(5), true, "", `,"sysctl":{"net.ipv4.conf.IFNAME.x":"1"},"mtu":-1,"promisc":true,"args":{"cni":{"mac":"x","ips":["1.2.3.4"]}}`, previous)
		f.Add(uint8(i), uint8(4), true, "", `,"snat":false,"conditionsV4":["!","-s","10.0.0.0/8"],"conditionsV6":["ip6","saddr","::1"],"masqAll":true`, previous)
		f.Add(uint8(i), uint8(2), true, "", `,"ipam":{"type":"static","addresses":[{"address":"10.0.0.1/24"}],"routes":[{"dst":"::/0","gw":"::1"}]}`, `{"ips":[{"version":"4","address":"1.2.3.4/0","interface":-1}]}`)
		f.Add(uint8(i), uint8(0), true, "", `,"ipMasq":true,"masqueradeAs":["192.0.2.1"],"noMasquerade":["::/0"]`, `{"ip4":{"ip":"1.2.3.4/24"}}`)
	}
	host := Host{StateDir: f.TempDir(), Log: slog.New(slog.DiscardHandler)}
	f.Fuzz(func(t *testing.T, plugin, version uint8, add bool, args, keys, previous string) {
		mode := modes()[int(plugin)%len(modes())]
		env := map[string]string{"CNI_COMMAND": "CHECK", "CNI_CONTAINERID": "c1", "CNI_NETNS": "/no/such", "CNI_IFNAME": "eth0", "CNI_ARGS": args}
		if add {
			env["CNI_COMMAND"] = "ADD"
		}
		stdin := fmt.Sprintf(`{"cniVersion":%q,"name":"net","type":%q%s,"prevResult":%s}`,
			cni.Supported()[int(version)%len(cni.Supported())], mode.Name, keys, previous)
		var stdout, stderr bytes.Buffer
		status := cni.Call{
			Name: mode.Name, Plugin: attached{host, mode}, Oldest: mode.Oldest, Getenv: func(name string) string { return env[name] },
			Stdin: bytes.NewReader([]byte(stdin)), Stdout: &stdout, Stderr: &stderr,
		}.Run(context.Background())
		if status == 0 && !add && stdout.Len() == 0 {
			return
		}
		var answer struct {
			Code int
			Msg  string
		}
		decoder := json.NewDecoder(bytes.NewReader(stdout.Bytes()))
		if err := decoder.Decode(&answer); err != nil || decoder.More() || stdout.Bytes()[stdout.Len()-1] != '\n' {
			t.Fatalf("status %d, want one document (%v): %s", status, err, stdout.Bytes())
		}
		if status != 0 && (answer.Msg == "" || answer.Code == 0 || answer.Code == int(cni.CodeInternal)) {
			t.Fatalf("answer %s\n%s", stdout.Bytes(), stderr.Bytes())
		}
	})
}
