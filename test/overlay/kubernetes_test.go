package overlay

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/netctl/netctl/plugins/overlay/agent/store/kubernetes"
	"github.com/netctl/netctl/plugins/overlay/control"
	"github.com/netctl/netctl/test/hosts"
)

// TestKubernetes: two nodes as the manifest sets them up, from its install step
// to containers that reach each other, and a node whose API is down.
func TestKubernetes(t *testing.T) {
	w := hosts.New(t, binaries, 2)
	k := w.StartKubernetes()
	m := readManifest(t)
	for _, h := range w.Hosts {
		k.SetNode(h.Name) // no podCIDR yet
		h.UseKubernetes(k, installed(t, m, h.Name))
		h.StartWithEtcd()
	}
	a, b := w.Hosts[0], w.Hosts[1]
	a.Await("ready", func(s control.Status) bool { return s.Ready }) // b may be known by then
	definition := filepath.Join(a.ConfDir(), "pods.conflist")
	if _, err := os.Stat(definition); err == nil || k.Condition(a.Name, "NetworkUnavailable") != "" {
		t.Errorf("without a podCIDR the node says that pods can be started (%v, condition %q)", err, k.Condition(a.Name, "NetworkUnavailable"))
	}
	k.SetNode(a.Name, "10.244.1.0/24")
	k.SetNode(b.Name, "10.244.2.0/24")
	for _, h := range w.Hosts {
		awaitUsable(h, "pods", 2)
		eventually(t, "condition NetworkUnavailable is False on "+h.Name, func() bool { return k.Condition(h.Name, "NetworkUnavailable") == "False" })
	}
	if left, _ := filepath.Glob(filepath.Join(a.ConfDir(), ".draft-*")); len(left) > 0 {
		t.Errorf("drafts of the definition are left: %q", left)
	}
	one, two := a.Add("pods"), b.Add("pods")
	if !strings.HasPrefix(one.Addr.String(), "10.244.1.") || !strings.HasPrefix(two.Addr.String(), "10.244.2.") {
		t.Errorf("addresses %s and %s, want those of the podCIDRs", one.Addr, two.Addr)
	}
	_, err := one.Await(two.Addr)
	must(t, err)
	must(t, two.Reach(one.Addr, hosts.Patience))

	before := k.Annotation(a.Name, kubernetes.Annotation)
	k.Heartbeat(b.Name)
	k.Down(true)
	b.Kill()
	b.StartWithEtcd() // from its snapshot
	b.Await("at work", func(s control.Status) bool { return s.Passes.Count > 0 && len(s.Peers) == 1 })
	three := b.Add("pods")
	_, err = three.Await(one.Addr)
	must(t, err)
	k.Down(false)
	b.Await("a member again", func(s control.Status) bool { return s.Degraded == "" && s.Ready })
	if after := k.Annotation(a.Name, kubernetes.Annotation); after != before || before == "" {
		t.Errorf("the annotation was %q, and is %q", before, after)
	}

	// Only what the manifest allows, and all of it, was asked for.
	if used, allowed := k.Used(), m.allowed(t); !slices.Equal(used, allowed) {
		t.Errorf("requests needed %q; the manifest allows %q", used, allowed)
	}

	// A node that is gone is forgotten.
	b.Stop()
	k.DeleteNode(b.Name)
	a.Await("alone", func(s control.Status) bool { return len(s.Peers) == 0 })
}

// installed runs the manifest's install step as a pod of the node would, and
// returns the settings that it wrote. The step sees the mounts of the manifest,
// made of folders of the test's own.
func installed(t *testing.T, m manifest, node string) []byte {
	t.Helper()
	pod := m.daemonSet(t).Spec.Template.Spec
	if len(pod.InitContainers) != 1 {
		t.Fatalf("%d init containers, want the install step", len(pod.InitContainers))
	}
	step := pod.InitContainers[0]
	root, image := t.TempDir(), t.TempDir()
	for _, file := range []string{"overlayd", "dnsd", "cni/netctl-cni"} { // "the contents of bin/ in /netctl"
		must(t, exec.Command("install", "-D", filepath.Join(binaries, file), filepath.Join(image, file)).Run())
	}
	mounts := []string{"mkdir -p " + root + "/netctl", "mount --bind " + image + " " + root + "/netctl"}
	for _, dir := range []string{"bin", "lib", "lib64", "usr", "dev"} { // a distribution
		mounts = append(mounts, "if [ -L /"+dir+" ]; then cp -P /"+dir+" "+root+"/; elif [ -d /"+dir+" ]; then mkdir -p "+root+"/"+dir+" && mount --rbind /"+dir+" "+root+"/"+dir+"; fi")
	}
	volumes := map[string]string{}
	for _, v := range step.VolumeMounts {
		volumes[v.Name] = t.TempDir()
		mounts = append(mounts, "mkdir -p "+root+v.MountPath, "mount --bind "+volumes[v.Name]+" "+root+v.MountPath)
	}
	for _, c := range m.configMaps {
		for name, text := range c.Data {
			must(t, os.WriteFile(filepath.Join(volumes["settings"], name), []byte(text), 0o600))
		}
	}
	script := strings.Join(mounts, "\n") + "\nexec chroot " + root + ` "$@"`
	cmd := exec.Command("unshare", append(append([]string{"-m", "sh", "-ec", script, "sh"}, step.Command...), step.Args...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "NODE=" + node}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("install step: %v\n%s", err, out)
	}
	out, err := exec.Command(filepath.Join(volumes["plugins"], "overlay")).CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "CNI overlay plugin") {
		t.Errorf("the installed plugin says %v: %s", err, out)
	}
	settings, err := os.ReadFile(filepath.Join(volumes["data"], "overlay.json"))
	must(t, err)
	return settings
}

// TestManifest reads the manifest as strictly as the API server does: unknown
// keys are errors, and names lead to something.
func TestManifest(t *testing.T) {
	m := readManifest(t)
	set := m.daemonSet(t)
	pod := set.Spec.Template.Spec
	for key, value := range set.Spec.Selector.MatchLabels {
		if set.Spec.Template.Metadata.Labels[key] != value {
			t.Errorf("the DaemonSet selects %s=%s, which its pods don't have", key, value)
		}
	}
	if !slices.Contains(m.names("ServiceAccount"), pod.ServiceAccountName) {
		t.Errorf("there is no service account %s", pod.ServiceAccountName)
	}
	volumes := map[string]bool{}
	for _, v := range pod.Volumes {
		volumes[v.Name] = true
		if v.ConfigMap != nil && !slices.Contains(m.names("ConfigMap"), v.ConfigMap.Name) {
			t.Errorf("volume %s is of no config map of the manifest", v.Name)
		}
	}
	for _, c := range append(pod.InitContainers, pod.Containers...) {
		for _, v := range c.VolumeMounts {
			if !volumes[v.Name] {
				t.Errorf("container %s mounts volume %s, which there is not", c.Name, v.Name)
			}
		}
	}
	for _, b := range m.bindings {
		if !slices.Contains(m.names(b.RoleRef.Kind), b.RoleRef.Name) {
			t.Errorf("binding %s is to %s %s, which there is not", b.Metadata.Name, b.RoleRef.Kind, b.RoleRef.Name)
		}
		for _, s := range b.Subjects {
			if !slices.Contains(m.names(s.Kind), s.Name) {
				t.Errorf("binding %s is for %s %s, which there is not", b.Metadata.Name, s.Kind, s.Name)
			}
		}
	}
	for _, b := range m.policyBindings {
		if !slices.Contains(m.names("ValidatingAdmissionPolicy"), b.Spec.PolicyName) {
			t.Errorf("policy binding %s is of no policy of the manifest", b.Metadata.Name)
		}
	}
	for _, p := range m.policies {
		if !slices.ContainsFunc(p.Spec.Validations, func(v validation) bool {
			return strings.Contains(v.Expression, `"`+kubernetes.Annotation+`"].findAll(`) && strings.Contains(v.Expression, "p in object.spec.podCIDRs")
		}) {
			t.Error("the policy does not hold the annotation's pools against the node's")
		}
		for _, v := range p.Spec.Validations {
			if strings.Contains(v.Message, "annotation, and no other") && !strings.Contains(v.Expression, `"`+kubernetes.Annotation+`"`) {
				t.Errorf("the policy allows another annotation than %s", kubernetes.Annotation)
			}
		}
	}
}
