package firewall

import (
	"encoding/binary"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// commits tells when processes have committed transactions to nf_tables.
//
// An iptables-restore of the nft kind that has deleted a rule ends some 10 ms
// after the rule is gone for everybody: closing its socket waits for an RCU
// grace period in which the kernel frees the memory. The kernel announces each
// commit with the process that made it, so nobody has to wait for that end. Our
// lock is still held until then, by the process.
type commits struct {
	conn *netlink.Conn
	park Park
	// by has the process of each commit; nil if nobody listens.
	by chan int
}

// commitsOf listens, in the calling thread's namespace, if one of the inputs
// deletes anything and none only checks. Where it can't, and where numbers of
// processes are not the kernel's own (in a container), the end of the
// processes is what is waited for.
func (t *iptables) commitsOf(input restores) *commits {
	c := &commits{park: t.park}
	deletes := false
	for _, text := range input {
		deletes = deletes || strings.Contains(text, "\n-D ") || strings.Contains(text, "\n-X ")
		if strings.Contains(text, "\n-C ") {
			return c
		}
	}
	if !deletes {
		return c
	}
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return c
	}
	if err := conn.JoinGroup(unix.NFNLGRP_NFTABLES); err != nil {
		_ = conn.Close()
		return c
	}
	c.conn, c.by = conn, make(chan int, 16)
	go c.listen()
	return c
}

// listen ends when the socket is closed, or has lost an announcement.
func (c *commits) listen() {
	for {
		messages, err := c.conn.Receive()
		if err != nil {
			return
		}
		for _, m := range messages {
			pid := attribute(m, unix.NFTA_GEN_PROC_PID)
			if uint16(m.Header.Type)&0xff != unix.NFT_MSG_NEWGEN || len(pid) != 4 {
				continue
			}
			select {
			case c.by <- int(binary.BigEndian.Uint32(pid)):
			default: // nobody waits any more
			}
		}
	}
}

func (c *commits) close() {
	if c.conn != nil {
		c.park.letGo(c.conn, c.conn.Close)
	}
}

// await returns when each process has committed all tables of its input, or
// has ended. It gives the errors of those that failed.
func (c *commits) await(running map[family]*process, input restores) map[family]error {
	type end struct {
		family
		err error
	}
	ended := make(chan end, len(running))
	open := map[family]int{} // tables still to be committed
	for f, p := range running {
		open[f] = strings.Count(input[f], "\nCOMMIT\n")
		go func() { ended <- end{f, p.wait()} }()
	}
	failed := map[family]error{}
	for len(open) > 0 {
		select {
		case e := <-ended:
			if e.err != nil {
				failed[e.family] = e.err
			}
			delete(open, e.family)
		case pid := <-c.by:
			for f, p := range running {
				if p.cmd.Process.Pid == pid && open[f] > 0 {
					if open[f]--; open[f] == 0 {
						delete(open, f)
					}
				}
			}
		}
	}
	return failed
}
