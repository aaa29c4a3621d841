//go:build linux

package command

import "io"

func runDay(args []string, out, errOut io.Writer) error   { return nil }
func runPages(args []string, out, errOut io.Writer) error { return nil }
