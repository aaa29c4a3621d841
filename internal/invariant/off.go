//go:build !invariants || !linux

package invariant

// Enabled reports whether the program was built with the tag invariants.
const Enabled = false

// Point does nothing without the tag.
func Point(string) {}

// Hook does nothing without the tag.
func Hook(func(name string)) (remove func()) { return func() {} }

// Assert does nothing without the tag.
func Assert(bool, string) {}

// Poison does nothing without the tag.
func Poison([]byte) {}
