// Package answer writes the reply to a question about a name of ours, out of
// what package names knows of it.
//
// There are two writers of the same replies. The one on the DNS library writes
// all of them and is the truth. The other one writes those that make up nearly
// all of the traffic (addresses, and "no such thing") straight into the buffer
// that is sent; a test compares the two on whatever the fuzzer thinks of.
package answer
