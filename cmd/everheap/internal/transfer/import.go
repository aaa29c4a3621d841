package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/cmd/everheap/internal/rawjson"
)

// Options are the options of an import.
type Options struct {
	Shape
	// Collection is the name of the collection; "" for an export of a whole space.
	Collection string
	// Source names the source, so that an import can continue after the death of a process; "" for an
	// import that cannot.
	Source string
	// Again imports the source from the beginning, including rows that were imported before.
	Again bool
	// Continue skips bad rows.
	Continue bool
	// Progress is called now and then with the bytes read and the rows stored.
	Progress func(offset, rows uint64)
}

// Report is the outcome of an import.
type Report struct {
	Rows    uint64 // rows stored
	Earlier uint64 // rows that earlier runs had stored
	Bad     uint64 // rows left out, in earlier runs, too
	Lines   []LineError
	Anew    bool // the source differs from the one imported before
}

// LineError says what is wrong with a line.
type LineError struct {
	Line uint64
	Err  error
}

// Error implements error.
func (e *LineError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

// Unknown reports whether a value in an interface is of a type that only programs know.
func (e *LineError) Unknown() bool {
	j := (*everheap.JSONError)(nil)
	return errors.As(e.Err, &j) && strings.Contains(j.What, " is not known: let a program that has registered it ")
}

// Unwrap returns what is wrong.
func (e *LineError) Unwrap() error { return e.Err }

// mostLines is the maximum number of bad lines in a report.
const mostLines = 1000

// Limits of one transaction, and of one chunk.
const (
	batchRows  = 8192
	batchBytes = 4 << 20
	chunkRows  = 512
	chunkBytes = 256 << 10
)

// patience is how long a transaction waits for more rows.
const patience = 50 * time.Millisecond

// row is the text of a row, or the error for a bad one.
type row struct {
	line uint64
	text []byte
	bad  error
}

// chunk is some rows that are read, parsed and stored together.
type chunk struct {
	target *target
	rows   []row
	size   int
	err    error    // that ended the reading; io.EOF at the end
	end    position // after the chunk

	parsed  chan struct{} // closed when the rows are parsed
	entries []everheap.Entry
	lines   []uint64 // of entries
	errs    []LineError
}

// importer is an import in progress.
type importer struct {
	s      *everheap.Space
	opt    Options
	src    *source
	target *target
	key    []byte // of the position; nil if the import keeps none
	was    position
	report Report
}

// Import reads rows and stores them, in transactions of some thousand rows. The error of a bad row is
// a *LineError; the rows before it are stored. ctx ends the import between two transactions.
func Import(ctx context.Context, s *everheap.Space, in io.ReadSeeker, opt Options) (Report, error) {
	if err := opt.Check(); err != nil {
		return Report{}, err
	}
	if opt.Collection == "" && (opt.Format != JSON || opt.Bare || opt.Key != "") {
		return Report{}, errors.New("only an export of a whole space, as JSON lines, is imported without the name of a collection")
	}
	im := &importer{s: s, opt: opt}
	if err := im.prepare(in); err != nil {
		return im.report, err
	}
	err := im.run(ctx)
	if err == nil {
		err = s.Sync(ctx)
	}
	return im.report, err
}

// prepare finds the collection, and the place to begin.
func (im *importer) prepare(in io.ReadSeeker) error {
	var into *everheap.Collection
	if im.opt.Collection != "" {
		c, err := im.s.Collection(im.opt.Collection)
		if err != nil {
			return err
		}
		into = c
	}
	var was *position
	if im.opt.Source != "" {
		im.key = positionKey(into, im.opt.Source)
		var err error
		if im.opt.Again {
			err = im.s.Update(context.Background(), func(tx *everheap.Tx) error { return forget(tx, im.key) })
		} else {
			err = im.s.View(func(tx *everheap.Tx) (err error) { was, err = load(tx, im.key); return err })
		}
		if err != nil {
			return err
		}
	}
	err := im.begin(in, into, was)
	if !errors.Is(err, errOtherSource) {
		return err
	}
	_, seekErr := in.Seek(0, io.SeekStart)
	if !was.Done || seekErr != nil {
		return fmt.Errorf("%s differs from that of which %d rows were imported at %s; to import it from its beginning: --again", im.opt.Source, was.Rows, was.Time)
	}
	im.report.Anew = true
	err = im.s.Update(context.Background(), func(tx *everheap.Tx) error { return forget(tx, im.key) })
	if err != nil {
		return err
	}
	return im.begin(in, into, nil)
}

// begin reads the header, and skips what was imported before.
func (im *importer) begin(in io.Reader, into *everheap.Collection, was *position) error {
	im.src = newSource(in)
	if into != nil {
		im.target = newTarget(into, &im.opt.Shape)
	}
	if im.opt.Format == CSV {
		if err := im.header(); err != nil {
			return err
		}
	}
	if was == nil {
		return nil
	}
	if err := im.src.skip(was); err != nil {
		return err
	}
	im.was = *was
	im.report.Earlier, im.report.Bad = was.Rows, was.Bad
	if into == nil && was.Current != "" {
		return im.switchTo(was.Current, "")
	}
	return nil
}

// header reads the header of a CSV.
func (im *importer) header() (err error) {
	names := im.opt.Columns
	if len(names) == 0 {
		text, bad, err := im.src.record(nil, im.opt.delimiter())
		switch {
		case err == io.EOF:
			return errors.New("the file is empty: a CSV begins with a header; if it has none: --columns NAME,NAME…")
		case err != nil:
			return err
		case bad != nil:
			return &LineError{1, bad}
		}
		row, _, err := cells(text, im.opt.delimiter(), nil, nil)
		if err != nil {
			return &LineError{1, err}
		}
		for _, cell := range row {
			names = append(names, string(cell))
		}
	}
	if im.target.columns, err = im.opt.match(im.target.c, names); err != nil {
		return &LineError{1, err}
	}
	return nil
}

// switchTo switches to another collection, and creates it if it is missing.
func (im *importer) switchTo(name, spec string) error {
	c, err := im.s.Collection(name)
	if errors.Is(err, everheap.ErrNotFound) && spec != "" {
		c, err = im.s.Create(name, spec)
	}
	if err == nil {
		im.target = newTarget(c, &im.opt.Shape)
	}
	return err
}

// run reads, parses on all processors, and stores in order. After an error it does not wait for more
// input.
func (im *importer) run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	workers := max(1, runtime.GOMAXPROCS(0))
	todo, ordered := make(chan *chunk, workers), make(chan *chunk, 4*workers)
	go im.read(ctx, todo, ordered)
	for range workers {
		go func() {
			var r reader
			for c := range todo {
				c.parse(&r)
			}
		}()
	}
	return im.store(ctx, ordered)
}

// read reads the source in chunks, and sends them to the parsers (todo) and to the storing goroutine
// (ordered).
func (im *importer) read(ctx context.Context, todo, ordered chan<- *chunk) {
	defer close(ordered)
	defer close(todo)
	for {
		c := im.fill()
		for _, to := range []chan<- *chunk{todo, ordered} {
			select {
			case to <- c:
			case <-ctx.Done():
				return
			}
		}
		if c.err != nil {
			return
		}
	}
}

// fill reads a chunk. A chunk ends before the line that names another collection.
func (im *importer) fill() *chunk {
	c := &chunk{target: im.target, parsed: make(chan struct{})}
	for len(c.rows) < chunkRows && c.size < chunkBytes && !(len(c.rows) > 0 && im.src.idle()) {
		if im.opt.Collection == "" && im.src.atHeading() {
			if len(c.rows) > 0 {
				break
			}
			if c.err = im.heading(); c.err != nil {
				break
			}
			c.target = im.target
			continue
		}
		var r row
		if r, c.err = im.row(); c.err != nil {
			break
		}
		if len(r.text) > 0 || r.bad != nil {
			c.rows = append(c.rows, r)
			c.size += len(r.text)
		}
	}
	src := im.src
	c.end = position{Offset: src.offset, Line: src.line, Open: src.open, Sum: src.sum(), Done: c.err == io.EOF}
	if im.target != nil {
		c.end.Current = im.target.c.Name()
	}
	return c
}

// row reads the text of the next row; none for an empty line.
func (im *importer) row() (r row, err error) {
	r.line = im.src.line + 1
	if im.opt.Format == CSV {
		r.text, r.bad, err = im.src.record(nil, im.opt.delimiter())
		if len(bytes.TrimRight(r.text, "\r\n")) == 0 {
			r.text = nil
		}
		return r, err
	}
	r.text, err = im.src.next(nil)
	r.text = rawjson.Space(r.text)
	if err == nil && im.target == nil && len(r.text) > 0 {
		err = &LineError{r.line, errors.New("no line before it names the collection; give the name, or the file that everheap export SPACE has written")}
	}
	return r, err
}

// heading reads the line that names the collection of the rows after it.
func (im *importer) heading() error {
	text, err := im.src.next(nil)
	if err != nil {
		return err
	}
	name, spec, ok := parseHeading(text)
	if !ok {
		return &LineError{im.src.line, errors.New(`the line should be {"collection":"NAME","type":"…"}`)}
	}
	if err := im.switchTo(name, spec); err != nil {
		return &LineError{im.src.line, err}
	}
	return nil
}

// parse reads the rows of a chunk.
func (c *chunk) parse(r *reader) {
	defer close(c.parsed)
	for _, row := range c.rows {
		err := row.bad
		if err == nil {
			var e everheap.Entry
			if e, err = r.parse(c.target, row.text); err == nil {
				c.entries, c.lines = append(c.entries, e), append(c.lines, row.line)
				continue
			}
		}
		c.errs = append(c.errs, LineError{row.line, err})
	}
	c.rows = nil
}
