package main

// The verbs that export rows from a space and import rows into one.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/cmd/everheap/internal/transfer"
)

// shapeFlags are the flags for the format of rows.
type shapeFlags struct {
	Format    string `help:"json: a line of JSON a row, {\"key\":…,\"value\":…}; or csv, with a header. By default what the name of the file says, and otherwise json." placeholder:"FORMAT"`
	Delimiter string `help:"Character between the cells of CSV; by default a comma, and a tab if the file is called .tsv." placeholder:"C"`
	Bare      bool   `help:"A line of JSON is the value alone."`
}

// shape returns the format of the rows of a file.
func (f shapeFlags) shape(file string) (transfer.Shape, error) {
	s := transfer.ShapeOf(file)
	if f.Format != "" {
		s.Format = transfer.Format(f.Format)
	}
	switch {
	case f.Delimiter == `\t`:
		s.Delimiter = '\t'
	case len(f.Delimiter) == 1:
		s.Delimiter = f.Delimiter[0]
	case f.Delimiter != "":
		return s, fmt.Errorf("the delimiter must be one ASCII character, not %q", f.Delimiter)
	}
	s.Bare = f.Bare
	return s, s.Check()
}

// exportCmd writes rows.
type exportCmd struct {
	spaceArg
	Name   string `arg:"" optional:"" help:"Name of the map, list or single value; without it, export all of them with their types, for everheap import --all."`
	Output string `short:"o" help:"File to write; it is replaced once all is written. By default standard output." placeholder:"FILE" default:"-"`
	At     string `help:"Read the version of this checkpoint." placeholder:"CHECKPOINT"`
	shapeFlags
}

// Run implements the verb.
func (c *exportCmd) Run(ctx context.Context, std *streams) error {
	shape, err := c.shape(c.Output)
	if err != nil {
		return err
	}
	if c.Name == "" && (shape.Format != transfer.JSON || shape.Bare || c.At != "") {
		return errors.New("all collections together are exported as JSON lines with keys, and of the newest version; for anything else give a NAME")
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	var rows uint64
	write := func(w io.Writer) error {
		return c.read(std, func(s *everheap.Space) error { return c.write(ctx, s, w, shape, std, &rows) })
	}
	if c.Output == "-" {
		err = write(std.out)
	} else {
		var n uint64
		if n, err = writeFile(c.Output, write); err == nil {
			fmt.Fprintf(std.out, "%s: %s, %s\n", c.Output, plural(rows, "row"), size(n))
		}
	}
	if err != nil && ctx.Err() != nil {
		return &exitError{exitInterrupted, errors.New("interrupted")}
	}
	return err
}

// write writes the rows of one version.
func (c *exportCmd) write(ctx context.Context, s *everheap.Space, w io.Writer, shape transfer.Shape, std *streams, rows *uint64) error {
	view := s.View
	if c.At != "" {
		view = func(fn func(tx *everheap.Tx) error) error { return s.ViewAt(c.At, fn) }
	}
	var bar *transfer.Bar
	step := func() error {
		if *rows++; *rows%256 == 0 {
			bar.Show(*rows, *rows)
			return ctx.Err()
		}
		return nil
	}
	var failed error // complete: returned without wrapping
	err := view(func(tx *everheap.Tx) error {
		failed = func() error {
			total, err := c.count(tx)
			if err != nil {
				return err
			}
			bar = transfer.NewBar(progressTo(std, c.Output == "-" && isTerminal(std.out)), total)
			defer bar.Clear()
			if c.Name == "" {
				return transfer.ExportAll(s, tx, w, func(everheap.CollectionInfo) func() error { return step })
			}
			m, err := collection(tx, c.Name)
			if err != nil {
				return err
			}
			return transfer.Export(tx, m, w, shape, step)
		}()
		return nil
	})
	return errors.Join(err, failed)
}

// count returns the number of rows.
func (c *exportCmd) count(tx *everheap.Tx) (n uint64, err error) {
	list, err := tx.Collections()
	for _, i := range list {
		if c.Name == i.Name || c.Name == "" && i.Name != transfer.Positions {
			n += i.Len
		}
	}
	return n, err
}

// progressTo returns the writer for progress: a terminal, unless the rows go there.
func progressTo(std *streams, rows bool) io.Writer {
	if rows || !isTerminal(std.err) {
		return nil
	}
	return std.err
}

// importCmd reads rows.
type importCmd struct {
	spaceArg
	Name string `arg:"" optional:"" help:"Name of the map, list or single value."`
	File string `arg:"" optional:"" help:"File to read; by default, and for -, standard input."`
	All  bool   `help:"Import what everheap export has written without a NAME: the file follows SPACE. Collections that are not there are created."`
	shapeFlags
	Key      string            `help:"Column of the CSV, or field of the JSON object, that is the key." placeholder:"COLUMN"`
	Map      map[string]string `help:"The column is this field; - leaves it out. Columns are found by the names of fields, whatever their case, and by paths such as Home.City." placeholder:"COLUMN=FIELD" mapsep:"none"`
	Columns  []string          `help:"Names of the columns of a CSV without a header." placeholder:"NAME,..."`
	Continue bool              `help:"Leave out bad rows, report them at the end, and exit with 1."`
	Again    bool              `help:"Import from the beginning, whatever was imported of the file before."`
	Resume   string            `help:"Keep the position of standard input under this name: the same input goes on where it ended. The positions of files are kept under their paths." placeholder:"ID"`
}

// Run implements the verb.
func (c *importCmd) Run(ctx context.Context, std *streams) error {
	if c.All {
		if c.File != "" {
			return errors.New("with --all give the file alone, without a NAME")
		}
		c.Name, c.File = "", c.Name
	} else if c.Name == "" {
		return errors.New("into what? give the NAME of a map, list or single value, or --all for the export of a whole space")
	}
	if c.File == "" {
		c.File = "-"
	}
	opt, err := c.options()
	if err != nil {
		return err
	}
	in, total, err := c.input(std, &opt)
	if err != nil {
		return err
	}
	if f, ok := in.(io.Closer); ok && c.File != "-" {
		defer f.Close()
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	bar := transfer.NewBar(progressTo(std, false), total)
	opt.Progress = bar.Show
	return c.with(func(s *everheap.Space) error {
		if !c.All {
			if _, err := s.Collection(c.Name); errors.Is(err, everheap.ErrNotFound) {
				return c.missing(in, opt.Shape)
			}
		}
		begun := time.Now()
		report, err := transfer.Import(ctx, s, in, opt)
		bar.Clear()
		return c.report(std, ctx, &report, time.Since(begun), err)
	})
}

// options returns the options of the flags.
func (c *importCmd) options() (opt transfer.Options, err error) {
	opt.Shape, err = c.shape(c.File)
	opt.Key, opt.Fields, opt.Columns = c.Key, c.Map, c.Columns
	opt.Collection, opt.Continue, opt.Again = c.Name, c.Continue, c.Again
	if err == nil {
		err = opt.Check()
	}
	return opt, err
}

// input opens the source, and sets its name.
func (c *importCmd) input(std *streams, opt *transfer.Options) (in io.ReadSeeker, total uint64, err error) {
	if c.File == "-" {
		opt.Source = c.Resume
		if opt.Source != "" {
			opt.Source = "standard input " + opt.Source
		}
		if f, ok := std.in.(io.ReadSeeker); ok {
			return f, 0, nil
		}
		return noSeek{std.in}, 0, nil
	}
	if c.Resume != "" {
		return nil, 0, errors.New("--resume is for standard input; the position of a file is kept under its path")
	}
	f, err := os.Open(c.File)
	if err != nil {
		return nil, 0, err
	}
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		total = uint64(info.Size())
	}
	opt.Source, err = filepath.Abs(c.File)
	return f, total, err
}

// noSeek is a source that cannot be read again from its beginning.
type noSeek struct{ io.Reader }

// Seek implements io.Seeker.
func (noSeek) Seek(int64, int) (int64, error) { return 0, errors.ErrUnsupported }

// missing returns the error for a missing collection, with the command that creates it.
func (c *importCmd) missing(in io.Reader, shape transfer.Shape) error {
	text := fmt.Sprintf("%s has nothing named %q; create it first", c.Space, c.Name)
	if spec := transfer.Guess(in, shape); spec != "" {
		return fmt.Errorf("%s, as its rows look: everheap create %s %s '%s'", text, c.Space, shellWord(c.Name), strings.ReplaceAll(spec, "'", `'\''`))
	}
	return fmt.Errorf("%s: everheap create %s %s TYPE, where TYPE is, for example, 'map[string]User; type User struct { Name string; Age int }'", text, c.Space, shellWord(c.Name))
}

// shellWord quotes an argument for a shell if it needs that.
func shellWord(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !strings.ContainsRune("-_./:@%+,=", r) && (r < '0' || r > '9' && r < 'A' || r > 'Z' && r < 'a' || r > 'z')
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// report prints the outcome of an import.
func (c *importCmd) report(std *streams, ctx context.Context, r *transfer.Report, took time.Duration, err error) error {
	for _, l := range r.Lines {
		fmt.Fprintf(std.err, "everheap: %s: %v\n", c.File, &l)
	}
	if more := r.Bad - uint64(len(r.Lines)); len(r.Lines) > 0 && more > 0 {
		fmt.Fprintf(std.err, "everheap: and %s\n", plural(more, "other bad row"))
	}
	if r.Anew {
		fmt.Fprintf(std.err, "everheap: %s is not what was imported before under that name: it was imported from its beginning\n", c.File)
	}
	goesOn := "the same command goes on from there"
	if c.File == "-" && c.Resume == "" {
		goesOn = "--resume ID would have kept the position"
	}
	if err != nil && ctx.Err() != nil {
		return &exitError{exitInterrupted, fmt.Errorf("interrupted: %s stored; %s", areStored(r.Rows), goesOn)}
	}
	if l := (*transfer.LineError)(nil); errors.As(err, &l) {
		elsewhere := ""
		if l.Unknown() {
			elsewhere = "; or copy the space with everheap backup, which takes all types along"
		}
		return fmt.Errorf("%s: %w (%s stored; mend the line, and %s%s; or leave bad rows out: --continue)", c.File, err, areStored(r.Rows), goesOn, elsewhere)
	}
	if err != nil {
		return fmt.Errorf("%w (%s stored)", err, areStored(r.Rows))
	}
	text := fmt.Sprintf("%s in %.1f s", plural(r.Rows, "row"), took.Seconds())
	if r.Earlier > 0 {
		text += fmt.Sprintf("; %s imported before", wasOrWere(r.Earlier, "row"))
		if r.Rows == 0 {
			text += " (--again imports them once more)"
		}
	}
	fmt.Fprintln(std.out, text)
	if r.Bad > 0 {
		return fmt.Errorf("%s left out", wasOrWere(r.Bad, "bad row"))
	}
	return nil
}

// areStored returns a number of rows with its verb.
func areStored(n uint64) string {
	if n == 1 {
		return "1 row is"
	}
	return plural(n, "row") + " are"
}

// wasOrWere returns a number of things with its verb.
func wasOrWere(n uint64, thing string) string {
	if n == 1 {
		return "1 " + thing + " was"
	}
	return plural(n, thing) + " were"
}
