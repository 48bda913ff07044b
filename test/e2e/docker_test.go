package e2e

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/netctl/netctl/netctl/image/imagetest"
)

// A typed is a line of a tutorial with what it should print.
type typed struct {
	command string
	input   []string // typed at the prompt of what it starts
	want    []string // lines of output, in order; ... stands for anything
}

// tutorial reads the console blocks of a page.
func tutorial(t *testing.T, page string) []typed {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var lines []typed
	inside := false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		switch command, isCommand := strings.CutPrefix(line, "$ "); {
		case line == "```console":
			inside = true
		case strings.HasPrefix(line, "```"):
			inside = false
		case !inside:
		case isCommand:
			lines = append(lines, typed{command: command})
		case strings.HasPrefix(line, "/ # "):
			last := &lines[len(lines)-1]
			last.input = append(last.input, line[4:])
		default:
			last := &lines[len(lines)-1]
			last.want = append(last.want, line)
		}
	}
	return lines
}

// tutorialImages are small images of the names that tutorials use.
func tutorialImages(t *testing.T) string {
	t.Helper()
	images := map[name.Reference]v1.Image{}
	put := func(ref string, i v1.Image) {
		tag, err := name.NewTag(ref)
		if err != nil {
			t.Fatal(err)
		}
		images[tag] = i
	}
	ash := imagetest.Link("bin/ash", "busybox")
	put("busybox:latest", imagetest.Busybox(t, v1.Config{Cmd: []string{"sh"}}))
	put("alpine:latest", imagetest.Busybox(t, v1.Config{Cmd: []string{"/bin/sh"}}, ash, imagetest.Link("bin/uname", "busybox")))
	put("hello-world:latest", imagetest.Busybox(t, v1.Config{Cmd: []string{"echo", "Hello from a container!"}}))
	const server = "trap 'exit 0' TERM QUIT\nhttpd -p 80 -h /usr/share/nginx/html\necho ready\nwhile :; do sleep 1000 & wait $!; done\n"
	put("nginx:latest", imagetest.Busybox(t, v1.Config{
		Cmd: []string{"sh", "/start"}, ExposedPorts: map[string]struct{}{"80/tcp": {}}, StopSignal: "SIGQUIT",
	}, imagetest.Program("start", server), imagetest.File("usr/share/nginx/html/index.html", "Welcome to nginx!\n")))
	path := filepath.Join(t.TempDir(), "images.tar")
	if err := tarball.MultiRefWriteToFile(path, images); err != nil {
		t.Fatal(err)
	}
	return path
}

// tutorialRegistry answers on port 5000 of the host's loopback interface.
func (h *host) tutorialRegistry() {
	h.t.Helper()
	handler := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	outside := httptest.NewServer(handler)
	defer outside.Close()
	imagetest.Push(h.t, strings.TrimPrefix(outside.URL, "http://")+"/team/app:1.0", imagetest.Busybox(h.t, v1.Config{Cmd: []string{"echo", "the app"}}))
	var l net.Listener
	if err := h.ns.Do(func() (err error) { l, err = net.Listen("tcp", "127.0.0.1:5000"); return err }); err != nil {
		h.t.Fatal(err)
	}
	server := &http.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0)}
	go server.Serve(l) //nolint:errcheck // ends with the test
	h.t.Cleanup(func() { server.Close() })
}

// typeLine runs a line as somebody at a terminal in dir would.
func (h *host) typeLine(dir string, line typed) (output string, failed bool) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	args := []string{"sh", "-c", line.command}
	if regexp.MustCompile(` -it | -dit | -itd `).MatchString(line.command) { // these need a terminal
		args = []string{"script", "-qec", line.command, "/dev/null"}
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Env = dir, append(h.command().Env, "PATH="+binaries+":"+os.Getenv("PATH"), "SHELL=/bin/sh")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if len(line.input) > 0 {
		cmd.Stdin = strings.NewReader(strings.Join(line.input, "\n") + "\n")
	}
	err := h.ns.Do(cmd.Run)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		h.t.Fatalf("$ %s: %v", line.command, err)
	}
	return strings.ReplaceAll(out.String(), "\r", ""), err != nil
}

// missing is the first wanted line that the output does not have, after the
// ones before it.
func missing(output string, want []string) string {
	have := strings.Split(output, "\n")
	for _, w := range want {
		if rest, ok := strings.CutPrefix(w, "Error: ... "); ok { // another program's words, perhaps
			w = "... " + rest
		}
		pattern := regexp.MustCompile("^ *" + strings.ReplaceAll(regexp.QuoteMeta(strings.Join(strings.Fields(w), " ")), `\.\.\.`, ".*") + " *$")
		found := false
		for len(have) > 0 && !found {
			found = pattern.MatchString(" "+strings.Join(strings.Fields(have[0]), " ")) || pattern.MatchString(strings.Join(strings.Fields(have[0]), " "))
			have = have[1:]
		}
		if !found {
			return w
		}
	}
	return ""
}

// TestComingFromDocker types every line of the page and compares.
func TestComingFromDocker(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.outside(1500)
	h.tutorialRegistry()
	h.netctl("load", "-i", tutorialImages(t))
	dir := t.TempDir()
	lines := tutorial(t, "../../docs/coming-from-docker.md")
	if len(lines) < 150 {
		t.Fatalf("only %d lines in the page", len(lines))
	}
	for _, line := range lines {
		wantsError := len(line.want) > 0 && strings.HasPrefix(line.want[0], "Error: ")
		output, failed := h.typeLine(dir, line)
		// Somebody who types is slower than a server that starts, and a machine
		// under load may lose a packet.
		again := strings.HasPrefix(line.command, "curl ") || strings.Contains(line.command, " ping ")
		for deadline := time.Now().Add(30 * time.Second); again && (failed != wantsError || missing(output, line.want) != "") && time.Now().Before(deadline); {
			time.Sleep(50 * time.Millisecond)
			output, failed = h.typeLine(dir, line)
		}
		if failed != wantsError {
			t.Errorf("$ %s\nfailed: %v\n%s", line.command, failed, output)
		} else if m := missing(output, line.want); m != "" {
			t.Errorf("$ %s\n%s\nhas no line: %s", line.command, output, m)
		}
	}
	if left, _, _ := h.try("ps", "-aq"); left != "" {
		t.Errorf("containers are left: %s", left)
	}
}
