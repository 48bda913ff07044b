package firewall

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// calm is how long no more of our rules must disappear before Watch tells:
// whoever reloads a firewall deletes first and makes anew then.
const calm = 200 * time.Millisecond

// Watch tells whenever rules of ours have been deleted, by whomever, and all is
// calm again. Our own processes' deletions are among it: a Restore afterwards
// finds nothing missing then. The channel is closed when ctx ends or the kernel
// tells no more.
//
// The kernel announces changes of nf_tables, which includes iptables-nft; for
// iptables-legacy see watchLegacy.
func Watch(ctx context.Context) (<-chan struct{}, error) {
	conn, err := dialNews()
	if err != nil {
		return nil, err
	}
	deleted, changed, told := make(chan struct{}, 1), make(chan struct{}, 1), make(chan struct{}, 1)
	if err := watchLegacy(ctx, changed); err != nil {
		_ = conn.Close()
		return nil, err
	}
	go listen(conn, deleted, deletesOurs)
	go func() {
		defer conn.Close()
		settleDown(ctx, deleted, changed, told)
	}()
	return told, nil
}

// WatchAll tells whenever the rules of the calling thread's network namespace have
// changed, by whomever, at once. The channel is closed when ctx ends or the kernel
// tells no more.
func WatchAll(ctx context.Context) (<-chan struct{}, error) {
	conn, err := dialNews()
	if err != nil {
		return nil, err
	}
	rules, legacy, told := make(chan struct{}, 1), make(chan struct{}, 1), make(chan struct{}, 1)
	if err := watchLegacy(ctx, legacy); err != nil {
		_ = conn.Close()
		return nil, err
	}
	context.AfterFunc(ctx, func() { _ = conn.Close() })
	go listen(conn, rules, func(netlink.Message) bool { return true })
	go func() {
		defer close(told)
		for {
			select {
			case _, ok := <-rules:
				if !ok {
					return
				}
			case <-legacy:
			}
			signal(told)
		}
	}()
	return told, nil
}

// dialNews gives a socket on which the kernel announces changes of nf_tables.
func dialNews() (*netlink.Conn, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, fmt.Errorf("watch nftables: %w", err)
	}
	if err := conn.JoinGroup(unix.NFNLGRP_NFTABLES); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("watch nftables: %w", err)
	}
	return conn, nil
}

// listen passes on that something was announced that matters, until conn is closed.
func listen(conn *netlink.Conn, told chan<- struct{}, matters func(netlink.Message) bool) {
	defer close(told)
	for {
		messages, err := conn.Receive()
		missed := errors.Is(err, unix.ENOBUFS) // more came than the socket holds
		if err != nil && !missed {
			return
		}
		for _, m := range messages {
			missed = missed || matters(m)
		}
		if missed {
			signal(told)
		}
	}
}

// signal does not wait: one signal stands for all that is not yet seen.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// settleDown tells once for deletions, or changes of iptables-legacy, that
// follow each other closely.
func settleDown(ctx context.Context, deleted, changed <-chan struct{}, told chan<- struct{}) {
	defer close(told)
	quiet := time.NewTimer(calm)
	quiet.Stop()
	for {
		select {
		case _, ok := <-deleted:
			if !ok {
				return
			}
			quiet.Reset(calm)
		case <-changed:
			quiet.Reset(calm)
		case <-quiet.C:
			signal(told)
		case <-ctx.Done():
			return
		}
	}
}

// deletesOurs tells whether an announcement is of the end of something of
// ours: in our tables or chains, or with our comment. Where a hook's rule comes
// without its content, it may have been ours.
func deletesOurs(m netlink.Message) bool {
	const table = unix.NFTA_TABLE_NAME // the first attribute of all kinds
	if attributeText(m, table) == nftTable {
		switch uint16(m.Header.Type) & 0xff {
		case unix.NFT_MSG_DELTABLE, unix.NFT_MSG_DELCHAIN, unix.NFT_MSG_DELRULE, unix.NFT_MSG_DELSET, unix.NFT_MSG_DELSETELEM:
			return true
		}
		return false
	}
	switch uint16(m.Header.Type) & 0xff {
	case unix.NFT_MSG_DELCHAIN:
		return strings.HasPrefix(attributeText(m, unix.NFTA_CHAIN_NAME), chainPrefix)
	case unix.NFT_MSG_DELRULE:
		return strings.HasPrefix(attributeText(m, unix.NFTA_RULE_CHAIN), chainPrefix) || ruleMayBeOurs(m)
	}
	return false
}

func ruleMayBeOurs(m netlink.Message) bool {
	expressions := expressionsOf(m)
	return len(expressions) == 0 || isOurs(commentOf(m, expressions))
}
