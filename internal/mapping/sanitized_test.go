//go:build race || asan

package mapping

// sanitized is whether a sanitizer reserves terabytes of addresses itself.
const sanitized = true
