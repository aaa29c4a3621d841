//go:build !race && !asan

package mapping

// sanitized says whether the program has a sanitizer that reserves terabytes of addresses.
const sanitized = false
