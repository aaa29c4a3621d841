//go:build !race && unix

package spacetest

// RaceEnabled says whether the tests run under the race detector, which is several times slower.
const RaceEnabled = false
