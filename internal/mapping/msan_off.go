//go:build !msan

package mapping

// builtWithMSan says whether the program is built with MemorySanitizer, which reserves the
// zone for itself.
const builtWithMSan = false
