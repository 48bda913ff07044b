package dnsd

import (
	"fmt"
	"strconv"
)

// seconds is a flag that holds a time to live.
type seconds uint32

func (s *seconds) String() string { return fmt.Sprint(uint32(*s)) }

// Set implements flag.Value.
func (s *seconds) Set(text string) error {
	v, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return fmt.Errorf("%q is no number of seconds", text)
	}
	*s = seconds(v)
	return nil
}
