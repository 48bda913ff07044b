package etcd

import "time"

// AskEvery changes how often a silent stream is asked how far it is.
func (s *Store) AskEvery(d time.Duration) { s.progress = d }
