// Package listen has the sockets on which questions arrive: for every gateway
// address UDP and TCP on port 53, bound to the device that carries the network,
// so that a container of another network can't even reach them.
//
// A UDP socket's reader answers what it reads itself, there is no goroutine
// for a packet. There are several sockets for an address (SO_REUSEPORT), among
// which the kernel spreads the clients. A TCP connection has one goroutine;
// replies that come later are written by whoever brings them.
package listen
