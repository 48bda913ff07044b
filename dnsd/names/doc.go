// Package names decides what a question means: who asks, which networks that
// client is on, and whether the name belongs to one of their containers.
//
// It is pure: no sockets, no clock, no messages. A Table turns the ledger's
// changes into Snapshots. A Snapshot never changes once it is made, so any
// number of readers use it without a lock while the next one is built; most of
// it is shared with the one before, and so publishing one change among
// 10,000 names costs microseconds.
//
// For a container C on network N with name X the resolver owns, in any case:
//
//	X            from any client on N
//	X.N          from any client on N
//	X.N.<base>   from any client on N
//	X.<base>     from any client on N
//	PTR          of C's addresses on N, to name.N.<base>
//
// Among a client's networks the one it was attached to first and that knows X
// answers, alone: answers of several networks are never mixed.
package names
