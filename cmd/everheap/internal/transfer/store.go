package transfer

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/everheap/everheap"
)

// batch is the rows of one transaction.
type batch struct {
	target  *target
	entries []everheap.Entry
	lines   []uint64
	errs    []LineError
	size    int
	end     position
	some    bool // the batch has rows or at least a new position
}

// add adds the rows of a chunk.
func (b *batch) add(c *chunk) {
	b.target, b.some = c.target, true
	b.entries, b.lines = append(b.entries, c.entries...), append(b.lines, c.lines...)
	b.errs = append(b.errs, c.errs...)
	b.size += c.size
	b.end = c.end
}

// store stores the chunks in order.
func (im *importer) store(ctx context.Context, ordered <-chan *chunk) error {
	var b batch
	for {
		c, err := im.receive(ctx, ordered, &b)
		if err != nil {
			return err
		}
		unread := c.err != nil && c.err != io.EOF // the chunk has no valid end position
		stop := unread || len(c.errs) > 0 && !im.opt.Continue
		if stop || b.some && b.target != c.target {
			if err := im.commit(ctx, &b); err != nil {
				return err
			}
		}
		switch {
		case unread:
			return c.err
		case stop:
			return &c.errs[0]
		}
		b.add(c)
		if c.err != nil || len(b.entries) >= batchRows || b.size >= batchBytes {
			if err := im.commit(ctx, &b); err != nil {
				return err
			}
		}
		if c.err == io.EOF {
			return nil
		}
	}
}

// receive waits for a parsed chunk. If that takes long, it stores the batch meanwhile.
func (im *importer) receive(ctx context.Context, ordered <-chan *chunk, b *batch) (*chunk, error) {
	var late <-chan time.Time
	if b.some {
		late = time.After(patience)
	}
	for {
		select {
		case c, ok := <-ordered:
			if !ok {
				return nil, context.Cause(ctx)
			}
			<-c.parsed
			return c, nil
		case <-late:
			if err := im.commit(ctx, b); err != nil {
				return nil, err
			}
			late = nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// mostAttempts is how often a transaction is tried that fails because the process was suspended.
const mostAttempts = 5

// commit stores a batch and the position after it.
func (im *importer) commit(ctx context.Context, b *batch) error {
	if !b.some {
		return nil
	}
	var errs []LineError
	var err error
	for range mostAttempts {
		errs = nil
		err = im.s.Update(ctx, func(tx *everheap.Tx) (err error) {
			if errs, err = im.rows(tx, b); err != nil || im.key == nil {
				return err
			}
			b.end.Rows = im.was.Rows + uint64(len(b.entries)-len(errs))
			b.end.Bad = im.was.Bad + uint64(len(b.errs)+len(errs))
			return b.end.store(tx, im.key, im.was.Offset)
		})
		if !errors.Is(err, everheap.ErrSuspended) {
			break
		}
	}
	if err != nil {
		return err
	}
	im.was = b.end
	r := &im.report
	r.Rows += uint64(len(b.entries) - len(errs))
	r.Bad += uint64(len(b.errs) + len(errs))
	for _, e := range append(b.errs, errs...) {
		if len(r.Lines) < mostLines {
			r.Lines = append(r.Lines, e)
		}
	}
	if im.opt.Progress != nil {
		im.opt.Progress(b.end.Offset, r.Rows)
	}
	*b = batch{entries: b.entries[:0], lines: b.lines[:0]}
	return nil
}

// rows stores the entries of a batch, without bad ones if opt.Continue is set.
func (im *importer) rows(tx *everheap.Tx, b *batch) (errs []LineError, err error) {
	for i := 0; i < len(b.entries); i++ {
		n, err := b.target.c.Store(tx, b.entries[i:]...)
		if i += n; err == nil {
			return errs, nil
		}
		bad := LineError{b.lines[i], err}
		if !badRow(err) {
			return nil, err
		}
		if !im.opt.Continue {
			return nil, &bad
		}
		errs = append(errs, bad)
	}
	return errs, nil
}

// badRow reports whether an error is about one row, so that other rows can be stored.
func badRow(err error) bool {
	return errors.Is(err, everheap.ErrNaN) || errors.Is(err, everheap.ErrDangling) || errors.Is(err, everheap.ErrTooLarge) ||
		errors.Is(err, everheap.ErrNotFound) || errors.Is(err, everheap.ErrDuplicate)
}
