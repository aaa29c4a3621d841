//go:build !unix

package live

const noFollow = 0
