// Package resolver puts the parts together for one request: read it, find out
// who asks, look the name up, and answer, forward or refuse.
package resolver
