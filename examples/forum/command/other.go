//go:build !linux

// Package command is the command line of the forum. It needs Linux, as spaces do.
package command
