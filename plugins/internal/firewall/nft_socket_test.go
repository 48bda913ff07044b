package firewall

import (
	"errors"
	"log/slog"
	"testing"

	"golang.org/x/sys/unix"
)

// Of a transaction that fails nothing stays, the error is the kernel's, and the
// socket is good for the next one.
func TestQuickTransactionIsWhole(t *testing.T) {
	backend, err := Open(NFTables, slog.New(slog.DiscardHandler))
	check(t, err)
	r := publishing("web", 2, 8080, 80)
	newSpace(t, "host").do(t, func() {
		check(t, backend.Apply(t.Context(), r))
		s, err := dialNFT()
		check(t, err)
		defer unix.Close(s.fd)
		fresh := nftOwn(ipv4, publishing("other", 3, 8081, 80))
		absent := elementChange{family: ipv4, element: fresh[0], deleted: true}
		changes := []elementChange{{family: ipv4, element: fresh[1]}, absent, {family: ipv4, element: fresh[0]}}
		if err := s.commit(changes); !errors.Is(err, unix.ENOENT) {
			t.Errorf("deleting what is not there: %v, want %v", err, unix.ENOENT)
		}
		chains := append(nftMarkers(ipv4, r), nftChain(chainPublish))
		for _, test := range []struct {
			family       family
			chains       []string
			element      element
			inUse, found bool
		}{
			{ipv4, chains, nftOwn(ipv4, r)[0], true, true},
			{ipv4, chains, fresh[0], true, false},
			{ipv4, chains, fresh[1], true, false},
			{ipv4, append(chains, "no-such-chain"), nftOwn(ipv4, r)[1], false, true},
			{ipv4, chains, element{}, true, false},
			{ipv4, chains, element{set: "no-such-set", key: []byte("key")}, true, false},
		} {
			inUse, found, err := s.lookUp(test.family, test.chains, test.element)
			if inUse != test.inUse || found != test.found || err != nil {
				t.Errorf("%v, %s: in use %v, found %v, %v; want %v, %v", test.chains, test.element.set, inUse, found, err, test.inUse, test.found)
			}
		}
		if err := s.commit([]elementChange{{family: ipv4, element: fresh[0]}, {family: ipv4, element: fresh[1]}}); err != nil {
			t.Error(err)
		}
		_, found, err := s.lookUp(ipv4, chains, fresh[1])
		if !found {
			t.Errorf("what was added is not found: %v", err)
		}
	})
}
