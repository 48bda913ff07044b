// Package kubetest stands in for a Kubernetes API server in tests: Nodes and one
// namespace, over HTTP, with what the protocol says of lists, watches with
// resource versions and bookmarks, expired versions, metadata-only answers,
// server-side apply and status patches (Kubernetes API concepts).
package kubetest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// An object is JSON.
type object = map[string]any

// A Server has Nodes.
type Server struct {
	http *httptest.Server

	mu      sync.Mutex
	changed *sync.Cond
	version int
	oldest  int // watches from before it are expired
	nodes   map[string]object
	managed map[string][]string // annotations of the field manager, by node
	events  []event
	streams int // counts the times at which all streams were ended
	down    bool
	// Requests counts requests by what they were: "namespace", "list",
	// "watch", "get", "apply", "status".
	requests map[string]int
	// used are the permissions that requests needed, as "get nodes".
	used map[string]bool
}

type event struct {
	version int
	kind    string
	node    object
}

// Cluster is the UID of namespace kube-system.
const Cluster = "0f5a6d5e-0000-4000-8000-cafe00000001"

// Start runs a server on the loopback address until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return StartOn(t, l)
}

// StartOn is Start on a socket of the caller's, in whatever namespace.
func StartOn(t testing.TB, l net.Listener) *Server {
	s := &Server{version: 1, nodes: map[string]object{}, managed: map[string][]string{}, requests: map[string]int{}, used: map[string]bool{}}
	s.changed = sync.NewCond(&s.mu)
	s.http = httptest.NewUnstartedServer(s)
	s.http.Listener.Close()
	s.http.Listener = l
	s.http.Start()
	t.Cleanup(func() {
		s.Down(true)
		s.http.Close()
	})
	return s
}

// Kubeconfig writes a file that leads to the server.
func (s *Server) Kubeconfig(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"c",
		"clusters":[{"name":"c","cluster":{"server":%q}}],"users":[{"name":"c","user":{}}],
		"contexts":[{"name":"c","context":{"cluster":"c","user":"c"}}]}`, s.http.URL)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// SetNode makes a Node, or changes its pools. The UID of a new one is new.
func (s *Server) SetNode(name string, podCIDRs ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	node, had := s.nodes[name]
	if !had {
		node = object{"apiVersion": "v1", "kind": "Node", "metadata": object{"name": name, "uid": fmt.Sprintf("uid-%d", s.version)}, "status": object{}}
	}
	node = clone(node)
	spec := object{}
	if len(podCIDRs) > 0 {
		spec["podCIDR"], spec["podCIDRs"] = podCIDRs[0], podCIDRs
	}
	node["spec"] = spec
	s.store(name, node, had)
}

// Used lists the permissions that the requests so far needed: a verb and a
// resource, such as "patch nodes/status" or "get namespaces/kube-system".
func (s *Server) Used() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.used))
}

// needed is the permission that RBAC asks for (Kubernetes: "Determine the
// request verb").
func needed(r *http.Request) string {
	resource, rest, named := strings.Cut(strings.TrimPrefix(r.URL.Path, "/api/v1/"), "/")
	_, sub, _ := strings.Cut(rest, "/")
	verb := strings.ToLower(r.Method)
	switch {
	case r.URL.Query().Get("watch") != "":
		verb = "watch"
	case r.Method == http.MethodGet && !named:
		verb = "list"
	}
	if sub != "" {
		resource += "/" + sub
	}
	if resource == "namespaces" {
		resource += "/" + rest
	}
	return verb + " " + resource
}

// Annotate writes any annotation of a Node, as anybody may.
func (s *Server) Annotate(name, key, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	node := clone(s.nodes[name])
	annotations(node)[key] = value
	s.store(name, node, true)
}

// Heartbeat changes the Node's status, as a kubelet does.
func (s *Server) Heartbeat(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	node := clone(s.nodes[name])
	node["status"].(object)["heartbeat"] = float64(s.version)
	s.store(name, node, true)
}

// DeleteNode deletes a Node.
func (s *Server) DeleteNode(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	node := clone(s.nodes[name])
	node["metadata"].(object)["resourceVersion"] = strconv.Itoa(s.version)
	delete(s.nodes, name)
	delete(s.managed, name)
	s.events = append(s.events, event{s.version, "DELETED", node})
	s.changed.Broadcast()
}

// Annotation reads one of a Node's.
func (s *Server) Annotation(name, key string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	text, _ := annotations(clone(s.nodes[name]))[key].(string)
	return text
}

// Condition reads the status of one of a Node's conditions.
func (s *Server) Condition(name, kind string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	conditions, _ := clone(s.nodes[name])["status"].(object)["conditions"].([]any)
	for _, c := range conditions {
		if c.(object)["type"] == kind {
			return c.(object)["status"].(string)
		}
	}
	return ""
}

// Down has the server answer nothing but 503, and ends the streams; or the
// other way round.
func (s *Server) Down(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
	s.streams++
	s.changed.Broadcast()
}

// Forget ends the streams and has no history of what was before: watches from
// there get 410 Gone.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	s.oldest, s.events = s.version, nil
	s.streams++
	s.changed.Broadcast()
}

// Requests tells how many of a kind there were.
func (s *Server) Requests(kind string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests[kind]
}

func (s *Server) store(name string, node object, had bool) {
	s.version++
	node["metadata"].(object)["resourceVersion"] = strconv.Itoa(s.version)
	s.nodes[name] = node
	kind := "ADDED"
	if had {
		kind = "MODIFIED"
	}
	s.events = append(s.events, event{s.version, kind, node})
	s.changed.Broadcast()
}

// clone copies an object by way of its text, so that nobody changes what is in
// the history.
func clone(o object) object {
	raw, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	var copied object
	if err := json.Unmarshal(raw, &copied); err != nil {
		panic(err)
	}
	return copied
}

func annotations(node object) object {
	meta, ok := node["metadata"].(object)
	if !ok {
		return object{}
	}
	list, ok := meta["annotations"].(object)
	if !ok {
		list = object{}
		meta["annotations"] = list
	}
	return list
}

// ServeHTTP answers the requests that a node makes.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		refuse(w, http.StatusServiceUnavailable, "ServiceUnavailable", "down for a test")
		return
	}
	s.used[needed(r)] = true
	name, sub, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/api/v1/nodes/"), "/")
	switch {
	case r.URL.Path == "/api/v1/namespaces/kube-system":
		s.requests["namespace"]++
		answer(w, object{"apiVersion": "v1", "kind": "Namespace", "metadata": object{"name": "kube-system", "uid": Cluster}})
	case r.URL.Path == "/api/v1/nodes" && r.URL.Query().Get("watch") != "":
		s.watch(w, r)
	case r.URL.Path == "/api/v1/nodes":
		s.list(w, r)
	case s.nodes[name] == nil:
		refuse(w, http.StatusNotFound, "NotFound", fmt.Sprintf("nodes %q not found", name))
	case r.Method == http.MethodGet:
		s.requests["get"]++
		answer(w, s.nodes[name])
	case r.Method == http.MethodPatch:
		s.patch(w, r, name, sub)
	default:
		refuse(w, http.StatusMethodNotAllowed, "MethodNotAllowed", r.Method)
	}
}

// view is an object as the request wants it: whole, or its metadata only.
func view(r *http.Request, node object) object {
	if !strings.Contains(r.Header.Get("Accept"), "as=PartialObjectMetadata") {
		return node
	}
	return object{"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": node["metadata"]}
}

func selected(r *http.Request, node object) bool {
	name, limited := strings.CutPrefix(r.URL.Query().Get("fieldSelector"), "metadata.name=")
	return !limited || node["metadata"].(object)["name"] == name
}

func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	s.requests["list"]++
	kind, version := "NodeList", "v1"
	if strings.Contains(r.Header.Get("Accept"), "as=PartialObjectMetadataList") {
		kind, version = "PartialObjectMetadataList", "meta.k8s.io/v1"
	}
	items := []any{}
	for _, name := range slices.Sorted(maps.Keys(s.nodes)) {
		if selected(r, s.nodes[name]) {
			items = append(items, view(r, s.nodes[name]))
		}
	}
	answer(w, object{"apiVersion": version, "kind": kind, "metadata": object{"resourceVersion": strconv.Itoa(s.version)}, "items": items})
}

// watch streams what happens after a version, until the streams are ended.
func (s *Server) watch(w http.ResponseWriter, r *http.Request) {
	s.requests["watch"]++
	if r.URL.Query().Get("sendInitialEvents") != "" {
		refuse(w, http.StatusUnprocessableEntity, "Invalid", "sendInitialEvents is forbidden: this server lists")
		return
	}
	from, err := strconv.Atoi(r.URL.Query().Get("resourceVersion"))
	if err != nil {
		refuse(w, http.StatusBadRequest, "BadRequest", "invalid resourceVersion")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	out := json.NewEncoder(w)
	if from < s.oldest {
		_ = out.Encode(object{"type": "ERROR", "object": status(http.StatusGone, "Expired", "too old resource version")})
		return
	}
	stop := r.Context()
	defer wake(s, stop.Done())()
	for mine, next := s.streams, 0; mine == s.streams && stop.Err() == nil; {
		for ; next < len(s.events); next++ {
			if e := s.events[next]; e.version > from && selected(r, e.node) {
				_ = out.Encode(object{"type": e.kind, "object": view(r, e.node)})
			}
		}
		_ = out.Encode(object{"type": "BOOKMARK", "object": view(r, object{"apiVersion": "v1", "kind": "Node", "metadata": object{"resourceVersion": strconv.Itoa(s.version)}})})
		w.(http.Flusher).Flush()
		s.changed.Wait()
	}
}

// wake has a waiting stream look at its request when that ends.
func wake(s *Server, done <-chan struct{}) (stop func()) {
	over := make(chan struct{})
	go func() {
		select {
		case <-done:
			s.mu.Lock()
			defer s.mu.Unlock()
			s.changed.Broadcast()
		case <-over:
		}
	}()
	return func() { close(over) }
}

func (s *Server) patch(w http.ResponseWriter, r *http.Request, name, sub string) {
	var body object
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		refuse(w, http.StatusBadRequest, "BadRequest", err.Error())
		return
	}
	node := clone(s.nodes[name])
	switch kind := r.Header.Get("Content-Type"); {
	case kind == "application/apply-patch+yaml" && sub == "":
		s.requests["apply"]++
		if r.URL.Query().Get("fieldManager") == "" {
			refuse(w, http.StatusUnprocessableEntity, "Invalid", "fieldManager is required for apply patch")
			return
		}
		if uid := body["metadata"].(object)["uid"]; uid != nil && uid != node["metadata"].(object)["uid"] {
			refuse(w, http.StatusConflict, "Conflict", "Precondition failed: UID in precondition does not match")
			return
		}
		s.apply(name, node, body)
	case kind == "application/strategic-merge-patch+json" && sub == "status":
		s.requests["status"]++
		node["status"].(object)["conditions"] = body["status"].(object)["conditions"]
	default:
		refuse(w, http.StatusUnsupportedMediaType, "UnsupportedMediaType", kind+" of "+sub)
		return
	}
	s.store(name, node, true)
	answer(w, s.nodes[name])
}

// apply sets the manager's annotations, and removes those that it set before
// and does not any more.
func (s *Server) apply(name string, node, body object) {
	list := annotations(node)
	for _, key := range s.managed[name] {
		delete(list, key)
	}
	now := annotations(body)
	maps.Copy(list, now)
	s.managed[name] = slices.Collect(maps.Keys(now))
}

func status(code int, reason, message string) object {
	return object{"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message}
}

func refuse(w http.ResponseWriter, code int, reason, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(status(code, reason, message))
}

func answer(w http.ResponseWriter, o object) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(o)
}
