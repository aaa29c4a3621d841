package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/everheap/everheap"
)

// rebaseCmd gives a space another window.
type rebaseCmd struct {
	spaceArg
	Base address `help:"First address of the window, a multiple of its size; by default a free place." placeholder:"ADDR"`
}

// address is an address on the command line: 0x4400000000.
type address uint64

// UnmarshalText implements encoding.TextUnmarshaler.
func (a *address) UnmarshalText(b []byte) error {
	n, err := strconv.ParseUint(string(b), 0, 64)
	if err != nil || n == 0 {
		return fmt.Errorf("%q is not an address; write it like 0x440000000000", b)
	}
	*a = address(n)
	return nil
}

// Run implements the verb.
func (c *rebaseCmd) Run(ctx context.Context, std *streams) error {
	dir, err := c.dir()
	if err != nil {
		return err
	}
	before, err := everheap.Describe(dir)
	if err != nil {
		return err
	}
	if err := everheap.Rebase(ctx, dir, uint64(c.Base)); err != nil {
		return unlessWritable(err)
	}
	after, err := everheap.Describe(dir)
	if err != nil {
		return err
	}
	if after.Base == before.Base {
		fmt.Fprintf(std.out, "the window of %s is at %#x already\n", size(after.Window), after.Base)
		return nil
	}
	fmt.Fprintf(std.out, "the window of %s was at %#x and is at %#x\n", size(after.Window), before.Base, after.Base)
	return nil
}
