package netctl

import (
	"regexp"
	"slices"
	"strings"
)

// filters are the conditions of --filter: different keys must all hold, of one
// key's values any, but of labels all (docker's code, whatever its page says).
type filters map[string][]string

// parseFilters reads KEY=VALUE pairs and refuses keys that are not known. A
// key such as label! asks for the opposite.
func parseFilters(pairs []string, known ...string) (filters, error) {
	f := filters{}
	for _, pair := range pairs {
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, usageError("invalid filter %q: want KEY=VALUE", pair)
		}
		key = strings.ToLower(strings.TrimSpace(key))
		if !slices.Contains(known, key) {
			return nil, usageError("unknown filter %s (known: %s)", key, strings.Join(known, ", "))
		}
		f[key] = append(f[key], strings.TrimSpace(value))
	}
	return f, nil
}

// any holds if the key wasn't given or one of its values satisfies match.
func (f filters) any(key string, match func(value string) bool) bool {
	values, given := f[key]
	return !given || slices.ContainsFunc(values, match)
}

// equals holds if the key wasn't given or has is one of its values.
func (f filters) equals(key, has string) bool {
	return f.any(key, func(value string) bool { return value == has })
}

// contains holds if the key wasn't given or one of its values is a part of one
// of the spellings, or a regular expression that is found in it.
func (f filters) contains(key string, spellings ...string) bool {
	return f.any(key, func(value string) bool {
		pattern, err := regexp.Compile(value)
		return slices.ContainsFunc(spellings, func(has string) bool {
			return strings.Contains(has, value) || err == nil && pattern.MatchString(has)
		})
	})
}

// labels holds for a set of labels with all of the wanted and none of the
// unwanted ones; a value is KEY or KEY=VALUE.
func (f filters) labels(has map[string]string) bool {
	match := func(want string) bool {
		key, value, exact := strings.Cut(want, "=")
		is, ok := has[key]
		return ok && (!exact || is == value)
	}
	for _, want := range f["label"] {
		if !match(want) {
			return false
		}
	}
	return !slices.ContainsFunc(f["label!"], match)
}

// labelText is how tables show labels.
func labelText(labels map[string]string) string {
	var list []string
	for key, value := range labels {
		list = append(list, key+"="+value)
	}
	slices.Sort(list)
	return strings.Join(list, ",")
}
