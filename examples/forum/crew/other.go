//go:build !linux

// Package crew runs several processes that serve one port. It needs Linux, as spaces do.
package crew
