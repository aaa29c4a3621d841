//go:build msan

package mapping

// builtWithMSan is whether MemorySanitizer is in the program; it forbids the
// zone to all mappings but its own.
const builtWithMSan = true
