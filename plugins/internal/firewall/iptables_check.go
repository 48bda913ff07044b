package firewall

import (
	"context"
	"errors"
	"fmt"
	"strconv"
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

// nameMissing turns iptables-restore's "line 7 failed" (or "occurred at line:
// 7", its parser's word for a chain that is not there) into the rule of line 7.
func nameMissing(f family, input string, err error) error {
	_, text, _ := strings.Cut(err.Error(), " line")
	text = strings.TrimLeft(text, ": ")
	end := strings.IndexFunc(text, func(r rune) bool { return r < '0' || r > '9' })
	number, notFound := strconv.Atoi(text[:max(0, end)])
	lines := strings.Split(input, "\n")
	if notFound != nil || number < 1 || number > len(lines) || errors.Is(err, ErrBusy) {
		return err
	}
	return fmt.Errorf("%s rule is missing: %s", f, strings.TrimPrefix(lines[number-1], "-C "))
}
