//go:build !race && unix

package spacetest

// RaceEnabled says that the tests run under the race detector, several times as slow.
const RaceEnabled = false
