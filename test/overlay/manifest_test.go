package overlay

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// A manifest is deploy/kubernetes.yaml, by kind. The types below are the parts
// of the API's own (v1, apps/v1, rbac.authorization.k8s.io/v1,
// admissionregistration.k8s.io/v1) that it uses, with their names: what is not
// in them is an error, as in the API.
type manifest struct {
	objects        map[string][]string // names by kind
	roles          []clusterRole
	bindings       []roleBinding
	policies       []policy
	policyBindings []policyBinding
	configMaps     []configMap
	sets           []daemonSet
}

type typeMeta struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Metadata   metadata `json:"metadata"`
}

type metadata struct {
	Name      string            `json:"name"`
	Namespace string            `json:"namespace"`
	Labels    map[string]string `json:"labels"`
}

type configMap struct {
	typeMeta `json:",inline"`
	Data     map[string]string `json:"data"`
}

type clusterRole struct {
	typeMeta `json:",inline"`
	Rules    []struct {
		APIGroups     []string `json:"apiGroups"`
		Resources     []string `json:"resources"`
		ResourceNames []string `json:"resourceNames"`
		Verbs         []string `json:"verbs"`
	} `json:"rules"`
}

type roleBinding struct {
	typeMeta `json:",inline"`
	RoleRef  struct {
		APIGroup string `json:"apiGroup"`
		Kind     string `json:"kind"`
		Name     string `json:"name"`
	} `json:"roleRef"`
	Subjects []struct {
		Kind      string `json:"kind"`
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	} `json:"subjects"`
}

type policy struct {
	typeMeta `json:",inline"`
	Spec     struct {
		FailurePolicy    string `json:"failurePolicy"`
		MatchConstraints struct {
			ResourceRules []struct {
				APIGroups   []string `json:"apiGroups"`
				APIVersions []string `json:"apiVersions"`
				Operations  []string `json:"operations"`
				Resources   []string `json:"resources"`
			} `json:"resourceRules"`
		} `json:"matchConstraints"`
		MatchConditions []struct {
			Name       string `json:"name"`
			Expression string `json:"expression"`
		} `json:"matchConditions"`
		Validations []validation `json:"validations"`
	} `json:"spec"`
}

type validation struct {
	Expression string `json:"expression"`
	Message    string `json:"message"`
}

type policyBinding struct {
	typeMeta `json:",inline"`
	Spec     struct {
		PolicyName        string   `json:"policyName"`
		ValidationActions []string `json:"validationActions"`
	} `json:"spec"`
}

type daemonSet struct {
	typeMeta `json:",inline"`
	Spec     struct {
		Selector struct {
			MatchLabels map[string]string `json:"matchLabels"`
		} `json:"selector"`
		UpdateStrategy struct {
			RollingUpdate struct {
				MaxUnavailable string `json:"maxUnavailable"`
			} `json:"rollingUpdate"`
		} `json:"updateStrategy"`
		Template struct {
			Metadata metadata `json:"metadata"`
			Spec     podSpec  `json:"spec"`
		} `json:"template"`
	} `json:"spec"`
}

type podSpec struct {
	ServiceAccountName string `json:"serviceAccountName"`
	HostNetwork        bool   `json:"hostNetwork"`
	PriorityClassName  string `json:"priorityClassName"`
	Tolerations        []struct {
		Operator string `json:"operator"`
	} `json:"tolerations"`
	InitContainers []container `json:"initContainers"`
	Containers     []container `json:"containers"`
	Volumes        []struct {
		Name     string `json:"name"`
		HostPath *struct {
			Path string `json:"path"`
			Type string `json:"type"`
		} `json:"hostPath"`
		ConfigMap *struct {
			Name string `json:"name"`
		} `json:"configMap"`
	} `json:"volumes"`
}

type container struct {
	Name    string   `json:"name"`
	Image   string   `json:"image"`
	Command []string `json:"command"`
	Args    []string `json:"args"`
	Env     []struct {
		Name      string `json:"name"`
		ValueFrom struct {
			FieldRef struct {
				FieldPath string `json:"fieldPath"`
			} `json:"fieldRef"`
		} `json:"valueFrom"`
	} `json:"env"`
	Ports []struct {
		Name          string `json:"name"`
		ContainerPort int    `json:"containerPort"`
	} `json:"ports"`
	Resources struct {
		Requests map[string]string `json:"requests"`
	} `json:"resources"`
	SecurityContext struct {
		Privileged bool `json:"privileged"`
	} `json:"securityContext"`
	VolumeMounts []struct {
		Name             string `json:"name"`
		MountPath        string `json:"mountPath"`
		MountPropagation string `json:"mountPropagation"`
	} `json:"volumeMounts"`
}

func readManifest(t *testing.T) manifest {
	t.Helper()
	data, err := os.ReadFile("../../deploy/kubernetes.yaml")
	must(t, err)
	m := manifest{objects: map[string][]string{}}
	for _, document := range bytes.Split(data, []byte("\n---\n")) {
		var plain struct {
			typeMeta `json:",inline"`
		}
		var kind typeMeta
		must(t, yaml.Unmarshal(document, &kind))
		m.objects[kind.Kind] = append(m.objects[kind.Kind], kind.Metadata.Name)
		switch kind.APIVersion + " " + kind.Kind {
		case "v1 Namespace", "v1 ServiceAccount":
			must(t, yaml.UnmarshalStrict(document, &plain))
		case "v1 ConfigMap":
			m.configMaps = append(m.configMaps, strict[configMap](t, document))
		case "rbac.authorization.k8s.io/v1 ClusterRole":
			m.roles = append(m.roles, strict[clusterRole](t, document))
		case "rbac.authorization.k8s.io/v1 ClusterRoleBinding":
			m.bindings = append(m.bindings, strict[roleBinding](t, document))
		case "admissionregistration.k8s.io/v1 ValidatingAdmissionPolicy":
			m.policies = append(m.policies, strict[policy](t, document))
		case "admissionregistration.k8s.io/v1 ValidatingAdmissionPolicyBinding":
			m.policyBindings = append(m.policyBindings, strict[policyBinding](t, document))
		case "apps/v1 DaemonSet":
			m.sets = append(m.sets, strict[daemonSet](t, document))
		default:
			t.Fatalf("no such kind: %s %s", kind.APIVersion, kind.Kind)
		}
	}
	return m
}

func strict[T any](t *testing.T, document []byte) (value T) {
	t.Helper()
	if err := yaml.UnmarshalStrict(document, &value); err != nil {
		t.Fatalf("%v in\n%s", err, document)
	}
	return value
}

func (m manifest) names(kind string) []string { return m.objects[kind] }

func (m manifest) daemonSet(t *testing.T) daemonSet {
	t.Helper()
	if len(m.sets) != 1 {
		t.Fatalf("%d DaemonSets, want 1", len(m.sets))
	}
	return m.sets[0]
}

// allowed lists what the roles permit, as kubetest.Server.Used does.
func (m manifest) allowed(t *testing.T) (all []string) {
	t.Helper()
	for _, role := range m.roles {
		for _, r := range role.Rules {
			if !slices.Equal(r.APIGroups, []string{""}) {
				t.Errorf("role %s: API groups %q, want the core's", role.Metadata.Name, r.APIGroups)
			}
			for _, verb := range r.Verbs {
				for _, resource := range r.Resources {
					all = append(all, strings.TrimSuffix(verb+" "+resource+"/"+strings.Join(r.ResourceNames, ","), "/"))
				}
			}
		}
	}
	slices.Sort(all)
	return all
}
