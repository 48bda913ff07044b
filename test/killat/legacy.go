//go:build !amd64

package main

// legacy are calls that this architecture never had.
func legacy() map[uint64]string { return nil }
