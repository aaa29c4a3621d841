// Package transfer writes collections as JSON lines or CSV, and reads them back, without loss.
//
// A row is an entry of a map, an element of a list, or a single value. A row of JSON lines is
// {"key":…,"value":…}, or the value alone (bare). A row of CSV has a cell for the key and one
// for each field of the value; see columns. Export and import are streams: their memory does not grow
// with the number of rows.
//
// An import keeps its position in the space (see position). When a process dies, the next import of
// the same source continues there, and every row is stored exactly once.
//
// Start reading at Export and Import.
package transfer

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/everheap/everheap"
)

// Format is the format of rows.
type Format string

// The formats.
const (
	JSON Format = "json"
	CSV  Format = "csv"
)

// Shape is the format of rows with its details.
type Shape struct {
	Format    Format
	Delimiter byte              // of cells; 0 is a comma
	Bare      bool              // JSON lines are values, without their keys
	Key       string            // column or field with the key; "" for the usual one
	Fields    map[string]string // from names of columns to fields; - leaves a column out
	Columns   []string          // names of the columns of a CSV without a header
}

// ShapeOf guesses the format from the name of a file.
func ShapeOf(file string) Shape {
	switch strings.ToLower(filepath.Ext(file)) {
	case ".csv":
		return Shape{Format: CSV}
	case ".tsv":
		return Shape{Format: CSV, Delimiter: '\t'}
	}
	return Shape{Format: JSON}
}

// delimiter returns the delimiter of cells.
func (s *Shape) delimiter() byte {
	if s.Delimiter == 0 {
		return ','
	}
	return s.Delimiter
}

// Check returns an error if the fields contradict each other.
func (s *Shape) Check() error {
	switch {
	case s.Format != JSON && s.Format != CSV:
		return fmt.Errorf("there is no format %q; there are json and csv", s.Format)
	case s.Format == JSON && len(s.Columns) > 0:
		return errors.New("only CSV has columns to name")
	case s.Format == JSON && s.Delimiter != 0:
		return errors.New("only CSV has a delimiter")
	case s.Format == CSV && s.Bare:
		return errors.New("only JSON lines can be bare")
	case s.delimiter() == '"' || s.delimiter() == '\n' || s.delimiter() == '\r' || s.delimiter() >= 0x80:
		return errors.New("the delimiter must be one ASCII character, and neither a quote nor the end of a line")
	}
	return nil
}

// singleValue is the kind of a single value, which has no keys.
const singleValue = "ref"

// hasKeys reports whether rows of a collection have keys; the elements of a list only have positions.
func hasKeys(c *everheap.Collection) bool { return c.Kind() == "map" || c.Kind() == "sorted" }
