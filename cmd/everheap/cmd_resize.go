package main

import (
	"context"
	"fmt"
	"math/bits"
	"strconv"
	"strings"

	"github.com/everheap/everheap"
)

// resizeCmd changes the maximum size of a space.
type resizeCmd struct {
	spaceArg
	Size byteCount `arg:"" help:"New maximum of the heap: 512MiB, 64GiB, 1TiB, or bytes; at least 64 MiB."`
	JSON bool      `name:"json" help:"Print JSON."`
}

// byteCount is a number of bytes on the command line: 512MiB.
type byteCount uint64

// UnmarshalText implements encoding.TextUnmarshaler.
func (n *byteCount) UnmarshalText(b []byte) error {
	const units = "KMGTPE"
	text := strings.TrimSpace(string(b))
	digits := strings.TrimRight(text, "iB"+units)
	unit := strings.TrimSuffix(strings.TrimSuffix(text[len(digits):], "B"), "i")
	shift := 0
	if unit != "" {
		shift = 10 * (strings.Index(units, unit) + 1)
	}
	v, err := strconv.ParseUint(strings.TrimSpace(digits), 10, 64)
	if err != nil || len(unit) > 1 || v == 0 || bits.Len64(v)+shift > 63 {
		return fmt.Errorf("%q is not a size; write it like 512MiB or 64GiB, or in bytes", b)
	}
	*n = byteCount(v << shift)
	return nil
}

// resized is the outcome of resize, in the form that it prints.
type resized struct {
	Before uint64 `json:"before"` // maximum size
	After  uint64 `json:"after"`
	Window uint64 `json:"window"` // now
	Base   string `json:"base"`
	Moved  bool   `json:"moved"` // the space was rewritten, for another window
}

// Run implements the verb. It works in place if the window is large enough, else it rewrites the
// closed space.
func (c *resizeCmd) Run(ctx context.Context, std *streams) error {
	dir, err := c.dir()
	if err != nil {
		return err
	}
	before, err := everheap.Describe(dir)
	if err != nil {
		return err
	}
	if err := everheap.Resize(ctx, dir, uint64(c.Size)); err != nil {
		return unlessWritable(err)
	}
	after, err := everheap.Describe(dir)
	if err != nil {
		return err
	}
	done := resized{before.MaxSize, after.MaxSize, after.Window, fmt.Sprintf("%#x", after.Base), after.Base != before.Base}
	if c.JSON {
		return printJSON(std.out, done)
	}
	if done.Before == done.After {
		fmt.Fprintf(std.out, "the maximum size is %s already\n", size(done.After))
		return nil
	}
	where := "in the window"
	if done.Moved {
		where = "written anew, for the window"
	}
	fmt.Fprintf(std.out, "the maximum size was %s and is %s, %s of %s at %s\n", size(done.Before), size(done.After), where, size(done.Window), done.Base)
	return nil
}
