//go:build !invariants || !linux

package invariant

// Enabled reports whether the program was built with the tag invariants.
const Enabled = false

// Point does nothing without the tag.
func Point(string) {}

// Assert does nothing without the tag.
func Assert(bool, string) {}

// Poison does nothing without the tag.
func Poison([]byte) {}
