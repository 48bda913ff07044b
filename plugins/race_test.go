//go:build race

package plugins_test

// race tells that the tests are built with the race detector.
const race = true
