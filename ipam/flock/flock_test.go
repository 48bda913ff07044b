package flock_test

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/ipam/flock"
)

func TestOnlyOneHoldsIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := flock.Open(path, unix.LOCK_EX, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := flock.Open(path, unix.LOCK_SH, 10*time.Millisecond); !errors.Is(err, flock.ErrBusy) {
		t.Fatalf("second: %v, want ErrBusy", err)
	}
	got := make(chan error)
	go func() {
		second, err := flock.Open(path, unix.LOCK_EX, time.Minute)
		if err == nil {
			second.Close()
		}
		got <- err
	}()
	first.Close()
	if err := <-got; err != nil {
		t.Fatalf("after the first has gone: %v", err)
	}
	// The one that gave up above must not have kept what came late.
	if third, err := flock.Open(path, unix.LOCK_EX, time.Minute); err != nil {
		t.Fatal(err)
	} else {
		third.Close()
	}
}

// Who only asked is not in the way of the next one, not even for a moment.
func TestAskingLeavesNobodyBehind(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	for range 200 {
		held, err := flock.Open(path, unix.LOCK_SH, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := flock.Open(path, unix.LOCK_EX, 0); !errors.Is(err, flock.ErrBusy) {
			t.Fatalf("beside a holder: %v, want ErrBusy", err)
		}
		held.Close()
		free, err := flock.Open(path, unix.LOCK_EX, 0)
		if err != nil {
			t.Fatalf("after the holder: %v", err)
		}
		free.Close()
	}
}

func TestReadersShare(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	for range 2 {
		file, err := flock.Open(path, unix.LOCK_SH, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
	}
	if _, err := flock.Open(filepath.Join(path, "x"), unix.LOCK_EX, time.Second); err == nil {
		t.Fatal("locked a file that can't exist")
	}
}
