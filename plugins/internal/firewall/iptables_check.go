package firewall

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// check asks iptables for every rule of r, in one process per family that
// changes nothing.
func (t *iptables) check(ctx context.Context, l *lock, r Rules) error {
	input := restores{}
	for _, f := range families() {
		input[f] = checkFamily(wanted(f, r))
	}
	var errs []error
	for f, err := range t.restore(ctx, l, input) {
		errs = append(errs, nameMissing(f, input[f], err))
	}
	return errors.Join(errs...)
}

func checkFamily(want []placed) string {
	tables := []script{{table: filter}, {table: nat}}
	for i := range tables {
		for _, p := range want {
			if p.table == tables[i].table {
				tables[i].add("-C", p)
			}
		}
	}
	return join(tables...)
}

// nameMissing turns the number of a line that failed into its rule.
func nameMissing(f family, input string, err error) error {
	line, found := failedLine(input, err)
	if !found || errors.Is(err, ErrBusy) {
		return err
	}
	return fmt.Errorf("%s rule is missing: %s", f, strings.TrimPrefix(line, "-C "))
}
