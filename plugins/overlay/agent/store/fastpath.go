package store

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// FastPath says whether packets between a network's containers on different nodes
// pass by what else the nodes do with forwarded packets: see wire.FastPath. Each
// node carries it out for itself; what is on the wire is the same.
type FastPath uint8

// Its values. Auto takes it on a node on which nobody else has rules that would
// see the packets.
const (
	FastAuto FastPath = iota
	FastOn
	FastOff
)

// ParseFastPath reads "auto", "true" and "false", and what strconv takes for the
// latter; "" is auto.
func ParseFastPath(text string) (FastPath, error) {
	if text == "" || text == fastAuto {
		return FastAuto, nil
	}
	on, err := strconv.ParseBool(text)
	switch {
	case err != nil:
		return FastAuto, fmt.Errorf("invalid value %q: want auto, true or false", text)
	case on:
		return FastOn, nil
	}
	return FastOff, nil
}

const fastAuto = "auto"

func (f FastPath) String() string {
	switch f {
	case FastOn:
		return "true"
	case FastOff:
		return "false"
	}
	return fastAuto
}

// IsZero leaves auto out of a value: a node of a version that knew true and false
// only reads it as false.
func (f FastPath) IsZero() bool { return f == FastAuto }

// MarshalJSON writes what such a node can read.
func (f FastPath) MarshalJSON() ([]byte, error) {
	if f == FastAuto {
		return []byte("null"), nil
	}
	return []byte(f.String()), nil
}

// UnmarshalJSON reads true, false, null and "auto".
func (f *FastPath) UnmarshalJSON(data []byte) (err error) {
	var value any
	if err := json.Unmarshal(data, &value); err != nil {
		return err
	}
	switch v := value.(type) {
	case nil:
		*f = FastAuto
	case bool:
		*f, err = ParseFastPath(strconv.FormatBool(v))
	case string:
		*f, err = ParseFastPath(v)
	default:
		err = fmt.Errorf("invalid value %s: want \"auto\", true or false", data)
	}
	if err != nil {
		return fmt.Errorf("key fastPath: %w", err)
	}
	return nil
}
