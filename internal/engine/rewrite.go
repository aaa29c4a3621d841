package engine

import (
	"context"
	"path/filepath"

	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/member"
	"github.com/everheap/everheap/internal/relocate"
	"github.com/everheap/everheap/internal/spacefile"
)

// Rebase gives the closed space in a directory the window at base. Every block keeps
// its place in the file.
func Rebase(ctx context.Context, dir string, base uint64, o Options) error {
	return rewriteError("rebase", dir, relocate.Rebase(ctx, dir, base, o.rewriting()))
}

// Compact packs the closed space in a directory into as few extents as can hold it. It returns how
// many bytes its files took on disk before, and how many they take now.
func Compact(ctx context.Context, dir string, o Options) (before, after int64, err error) {
	before = spacefile.DiskBytes(dir)
	err = relocate.Compact(ctx, dir, o.rewriting())
	return before, spacefile.DiskBytes(dir), rewriteError("compact", dir, err)
}

// Resize rewrites the closed space in a directory for another window, at base, so that it may hold
// the given number of bytes.
func Resize(ctx context.Context, dir string, bytes, base, window uint64, o Options) error {
	return rewriteError("resize", dir, relocate.Resize(ctx, dir, spacefile.LimitOf(bytes), base, window, o.rewriting()))
}

// rewriting returns the part of the options that rewrites a space.
func (o *Options) rewriting() relocate.Options {
	return relocate.Options{System: o.system(), Guard: member.Guarded}
}

// rewriteError wraps an error of a rewriting.
func rewriteError(op, dir string, err error) error {
	if err == nil {
		return nil
	}
	return &failure.OpError{Op: op, Space: filepath.Base(dir), Err: failure.Kind(dir, err)}
}
