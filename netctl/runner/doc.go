// Package runner holds the words of the container runner: what a container is
// asked to be (Config), what it is at the moment (State), and what the runner
// wants from networking (Networks). The packages below it do the work:
//
//	store      records, names and locks on disk
//	spec       Config -> OCI runtime specification, without touching anything
//	etc        the container's hosts and resolv.conf, likewise
//	rootfs     the overlay, and safe looks into it
//	namespace  network namespaces bound to files; work in the host's mount namespace
//	engine     the only importer of runc's libcontainer
//	grace      begins what a start waits for the longest
//	monitor    the process that makes one container, stays with it and undoes it
//	events     what happened, for `netctl events`
//	logfile    the container's output on disk, in the Kubernetes CRI format
//	attach     one socket between a terminal and the monitor
//	lifecycle  what commands call: create, start, stop, remove, list
//
// Nothing here is a daemon. A container's monitor is its parent process; a
// command line talks to it by a lock (is it alive), a file (its state) and a
// socket (its output), and everything else is done by the command itself.
package runner
