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
// Layout, one bucket each:
//
//	attachments  network \0 container \0 ifname \0 part -> Record as JSON
//	addresses    network \0 address(16)              -> attachment key
//	bitmaps      network \0 first address(16)        -> 512 bytes, one bit for each of 4096 addresses
//	spent        as bitmaps, of addresses that were given back
//	cursors      network \0 start(16) end(16)        -> the address given out last(16)
//	ports        protocol(1) port(2) host address(16) -> attachment key
//	changes      generation(8)                       -> attachment key
//	holders      directory \0 container \0 ifname \0 address(16) -> (empty)
//	stamps       directory                           -> modification time(8)
//	remotes      network \0 container \0 \0 @node   -> Record of another host's container, as JSON
//	meta         "generation"                        -> uint64
package ledger
