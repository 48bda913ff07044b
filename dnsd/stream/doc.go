// Package stream carries DNS messages over TCP: two bytes of length before
// each (RFC 1035 section 4.2.2), many in flight at once, answered in any order
// (RFC 7766).
package stream
