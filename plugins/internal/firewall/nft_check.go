package firewall

import (
	"bytes"
	"context"
	"fmt"
)

// Check is part of Backend. It asks for the attachment's elements by key, and
// counts the rules of the network and of the shared part.
func (t *nftables) Check(ctx context.Context, r Rules) error {
	s, err := t.openWhole(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	for _, f := range r.families() {
		if err := s.check(f, nftWanted(f, r)); err != nil {
			return err
		}
	}
	return nil
}

func (s *nftSession) check(f family, want nftWant) error {
	now, err := s.read(f).rules()
	if err != nil {
		return err
	}
	counted := map[block]int{}
	for _, p := range want.rules {
		b := block{p.chain.name, p.comment}
		counted[b]++
		if counted[b] > len(now.blocks[b]) {
			return fmt.Errorf("%s rule is missing: %s %s: %s", f, nftTable, p.chain.name, nftRule(f, p.rule))
		}
	}
	for _, e := range want.elements {
		value, found, err := s.read(f).value(e.set, e.key)
		if err != nil {
			return fmt.Errorf("look up in set %s: %w", e.set, err)
		}
		if !found || !bytes.Equal(value, e.value) {
			return fmt.Errorf("%s element is missing: %s %s: %s", f, nftTable, e.set, nftElement(f, e))
		}
	}
	return nil
}
