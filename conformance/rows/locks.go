package rows

import (
	"path/filepath"
	"strings"
	"time"

	"github.com/netctl/netctl/conformance/protocol"
	"github.com/netctl/netctl/conformance/trial"
)

// lockFiles are the files a plugin has made that look like locks.
func lockFiles(t *trial.T) []string {
	files, err := t.Host.Files(func(path string) bool { return strings.Contains(filepath.Base(path), "lock") })
	t.Must(err)
	return files
}

func lockedOut(t *trial.T) {
	t.Attach()
	files := lockFiles(t)
	t.Need(len(files) > 0, "the plugin keeps no lock file")
	release, err := t.Host.HoldLocks(files)
	t.Must(err)
	defer release()
	a := t.Place()
	r := a.Request(protocol.Add)
	r.Limit = 12 * time.Second
	reply := t.Call(r)
	if reply.OK() {
		return
	}
	if !t.Expect(!reply.TimedOut, "ADD gives up on a held lock within 12 s", "%s; locks %v", reply.Summary(), files) {
		return
	}
	f, err := reply.Failure()
	t.Expect(err == nil && f.Code == protocol.CodeTryLater, "code 11", "%s", reply.Summary())
}
