// Package resolvconf reads the host's resolv.conf, and reads it again whenever
// it changes: the containers' questions go where the host's go, today.
package resolvconf
