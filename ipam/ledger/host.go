package ledger

// keyMechanism is in the bucket of what there is one of.
const keyMechanism = "firewall"

// Mechanism is the packet filter of this host's attachments where nobody asks
// for another one; "" before the first of them. Rules of different mechanisms
// do not know each other: networks that are to be isolated from one another
// need the same.
func (t *Tx) Mechanism() string { return string(t.get(bucketMeta, []byte(keyMechanism))) }

// SetMechanism changes what Mechanism gives.
func (t *Tx) SetMechanism(name string) error {
	if t.Mechanism() == name {
		return nil
	}
	return t.put(bucketMeta, []byte(keyMechanism), []byte(name))
}
