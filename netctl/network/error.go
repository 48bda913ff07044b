package network

import (
	"errors"
	"fmt"
	"strings"
)

// ErrPredefined means that the network always exists and can't be changed.
var ErrPredefined = errors.New("predefined network")

// ErrForeign means that another tool wrote the network's list.
var ErrForeign = errors.New("not made by netctl")

// A NotFoundError says that there is no such network, and which there are.
type NotFoundError struct {
	Ref   string
	Known []string
}

func (e *NotFoundError) Error() string { return "no such network: " + e.Ref }

// An AmbiguousError says that several IDs begin alike.
type AmbiguousError struct {
	Ref        string
	Candidates []Network
}

func (e *AmbiguousError) Error() string {
	var list []string
	for _, n := range e.Candidates {
		list = append(list, fmt.Sprintf("%s (%s)", n.ShortID(), n.Name))
	}
	return fmt.Sprintf("network ID %s is ambiguous: %s", e.Ref, strings.Join(list, ", "))
}
