// Package dnsd is the resolver of the containers: it answers the names of the
// ledger's attachments on the gateway address of each network, and passes
// everything else on to the host's servers.
//
// It has no state of its own. The ledger is the truth; whoever changes it tells
// the resolver over a socket in the state directory, and gets an answer when
// the change is live. A resolver that is killed is started again by its guard,
// a parent process, and is complete at once. It starts when the first name is
// there, and ends by itself a while after the last one is gone.
//
//	names     what a question means, from an immutable snapshot
//	message   reads requests, strictly
//	answer    writes replies about our own names
//	forward   asks upstream servers
//	resolver  puts these together for one request
//	listen    the sockets of the networks
//	inside    sockets in a container's own namespace
//	client    what others use to start and tell the resolver
//
// The control socket takes a line and answers:
//
//	sync GENERATION [NETWORK [CONTAINER]]
//	                            ok GENERATION [GATEWAY:PORT ...], when it is live
//	                            and NETWORK is listened for, and CONTAINER in its
//	                            own namespace, by sockets that come along; the
//	                            gateways are those with another port than 53.
//	                            Else error TEXT
//	quit-if-idle                bye PID [PID], the processes that end now, or
//	                            busy COUNT
//	status                      JSON
//	records [NETWORK]           JSON
//	lookup CONTAINER NAME       JSON: what the name is to the container, and why
//	metrics                     Prometheus text format
package dnsd
