// Package forward asks upstream servers on behalf of clients, and changes as
// little as possible on the way (RFC 5625): flags, EDNS options and unknown
// types pass through, TCP stays TCP, and a truncated reply stays truncated.
//
// A question that is under way is an exchange. It is sent to the first server
// at once, to the next one a second later while the first may still answer, at
// once if a server refuses or fails, and is given up after 4.5 s: stubs wait
// for five. Clients with the same question at the same time share an exchange.
//
// There is no goroutine for a question. Requests are sent by whoever read
// them, replies are handed on by the reader of the upstream socket, and one
// clock looks after those that nobody answers. All state is under one lock,
// which is never held during a system call that could wait.
package forward
