// Package ledger is the one record, per host and per boot, of every attachment:
// its addresses, host ports, names and the request that made it. ADD, DEL,
// CHECK, GC, the resolver, inspect and reload read it; nobody keeps a second copy.
//
// It is a bbolt file named after the boot, because namespaces die with the boot
// and with them every attachment: the first opener removes the files of earlier
// boots, so that no address can stay reserved over a restart (plugins#252,
// cni#204). For the same reason nothing is fsynced: a power cut ends the boot,
// and what a killed process has written is safe in the page cache.
//
// Processes take turns by a blocking flock on a file beside it. (bbolt's own
// lock is polled every 50 ms and is never contended here.) A transaction holds
// no lock while links are made or rules are written.
//
// Layout, one bucket each (format.go has the number of the format, and what the
// one before it was):
//
//	attachments  network \0 container \0 ifname \0 part -> Record as JSON
//	chunks       network \0 first address(16)        -> taken and spent, for each of 4096 addresses; see chunk.go
//	cursors      network \0 start(16) end(16)        -> the address given out last(16)
//	ports        protocol(1) port(2) host address(16) -> attachment key
//	history      generation(8)                       -> attachment keys, up to the one of that generation; see changes.go
//	holders      directory \0 container \0 ifname \0 address(16) -> empty, or 1 where a record has the address
//	stamps       directory                           -> modification time(8)
//	remotes      network \0 container \0 \0 @node   -> Record of another host's container, as JSON
//	meta         "format"                            -> number(1)
//	             "recent"                            -> generation(8), keys of the newest changes as in history
//	             "firewall"                          -> the host's mechanism
//
// What an ADD or a DEL costs is the number of pages it writes, 4 KB each: a path
// from the root to a leaf of each tree. A bucket of less than 1 KB is no tree, but
// a part of the page with the root of all, and that is written anyway. So there
// is one tree that grows with the attachments, theirs, and one with the published
// ports; the rest is kept small: nobody keeps an index of who has an address.
package ledger
