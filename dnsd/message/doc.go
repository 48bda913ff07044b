// Package message reads requests and writes the parts of replies that need no
// knowledge of names.
//
// Requests come from containers that may be hostile, so the reader is strict:
// what it accepts can be answered or passed on as it is, and nothing in it
// points outside of itself, forward or in circles. It reads only what a
// resolver needs (the header, the question, EDNS) and copies nothing but the
// name, in lower case.
package message
