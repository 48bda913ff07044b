package forward

import (
	"crypto/rand"
	"encoding/binary"
)

// dice deals random numbers that nobody can foresee: message IDs and source
// ports are what keeps forged replies out (RFC 5452 section 9.2). The kernel
// is asked for many at once.
type dice struct {
	pool [512]byte
	used int // bytes of pool that are spent, from the front; 0: none filled
}

func (d *dice) uint16() uint16 {
	if d.used == 0 || d.used == len(d.pool) {
		rand.Read(d.pool[:]) //nolint:errcheck // never fails, it ends the program instead
		d.used = 0
	}
	d.used += 2
	return binary.BigEndian.Uint16(d.pool[d.used-2:])
}
