package transfer

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/cmd/everheap/internal/rawjson"
)

// heading is the line before the rows of a collection, in an export of several.
type heading struct {
	Collection string `json:"collection"`
	Type       string `json:"type"` // as Space.Create takes it
}

// Export writes the rows of a collection, in one version. It calls step after each row; an error of
// step ends the export.
func Export(tx *everheap.Tx, c *everheap.Collection, w io.Writer, shape Shape, step func() error) error {
	if err := shape.Check(); err != nil {
		return err
	}
	out := bufio.NewWriterSize(w, 1<<18)
	var err error
	if shape.Format == CSV {
		err = exportCSV(tx, c, out, shape.delimiter(), step)
	} else {
		err = exportJSON(tx, c, out, shape.Bare, step)
	}
	if err != nil {
		return err
	}
	return out.Flush()
}

// ExportAll writes all collections of a space as JSON lines, each after a line with its name and
// type. It calls begin before each collection; begin returns the step for Export.
func ExportAll(s *everheap.Space, tx *everheap.Tx, w io.Writer, begin func(c everheap.CollectionInfo) func() error) error {
	list, err := tx.Collections()
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(w, 1<<18)
	for _, info := range list {
		if info.Name == Positions {
			continue
		}
		c, err := tx.Collection(info.Name)
		if err != nil {
			return err
		}
		source, err := s.TypeSource(info.Name)
		if err != nil {
			return err
		}
		line, err := json.Marshal(heading{info.Name, string(source)})
		if err != nil {
			return err
		}
		if _, err := out.Write(append(line, '\n')); err != nil {
			return err
		}
		if err := exportJSON(tx, c, out, false, begin(info)); err != nil {
			return fmt.Errorf("%s: %w", info.Name, err)
		}
	}
	return out.Flush()
}

// exportJSON writes JSON lines.
func exportJSON(tx *everheap.Tx, c *everheap.Collection, out *bufio.Writer, bare bool, step func() error) error {
	var line []byte
	for key, value := range c.AllJSON(tx) {
		line = line[:0]
		switch {
		case bare:
			line = append(line, value...)
		case hasKeys(c):
			line = append(append(append(line, `{"key":`...), key...), `,"value":`...)
			line = append(append(line, value...), '}')
		default:
			line = append(append(append(line, `{"value":`...), value...), '}')
		}
		if _, err := out.Write(append(line, '\n')); err != nil {
			return err
		}
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// exportCSV writes CSV with a header.
func exportCSV(tx *everheap.Tx, c *everheap.Collection, out *bufio.Writer, delimiter byte, step func() error) error {
	columns := columnsOf(c)
	var line []byte
	for i, col := range columns {
		if i > 0 {
			line = append(line, delimiter)
		}
		line = appendCell(line, []byte(col.name), delimiter, len(columns) == 1)
	}
	if _, err := out.Write(append(line, '\n')); err != nil {
		return err
	}
	var fields []rawjson.Member
	for key, value := range c.AllJSON(tx) {
		var err error
		if line, fields, err = appendRow(line[:0], columns, key, value, delimiter, fields); err != nil {
			return err
		}
		if _, err := out.Write(append(line, '\n')); err != nil {
			return err
		}
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// appendRow appends the cells of a row.
func appendRow(line []byte, columns []column, key, value []byte, delimiter byte, fields []rawjson.Member) ([]byte, []rawjson.Member, error) {
	at, whole := 0, false
	for i, col := range columns {
		var cell []byte
		switch {
		case col.isKey:
			cell = col.key.encode(key)
		case col.name == wholeColumn && col.field == nil:
			if whole {
				cell = value
			}
		case col.field == nil:
			cell = col.kind.encode(value)
		default:
			if at == 0 && !whole {
				var err error
				if fields, err = rawjson.Members(value, fields); err != nil {
					return line, fields, err
				}
				whole = len(fields) == 0 || fields[0].Name != col.field[0]
			}
			if !whole {
				cell = col.kind.encode(fields[at].Value)
				at++
			}
		}
		if i > 0 {
			line = append(line, delimiter)
		}
		line = appendCell(line, cell, delimiter, len(columns) == 1)
	}
	return line, fields, nil
}
