//go:build race

package everheap_test

// raceEnabled says that the tests run under the race detector, several times as slow.
const raceEnabled = true
