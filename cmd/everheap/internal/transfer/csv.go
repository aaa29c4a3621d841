package transfer

import (
	"bytes"
	"errors"
	"fmt"
)

// The CSV is that of RFC 4180, for any bytes: a cell that contains a delimiter, a quote or the end of
// a line is in quotes, and quotes inside are doubled. The reader of encoding/csv is not usable here:
// it drops carriage returns within cells.

// appendCell appends a cell, in quotes if it needs them. A lone empty cell has quotes, since an empty
// line is not a record.
func appendCell(dst, cell []byte, delimiter byte, lone bool) []byte {
	plain := !(lone && len(cell) == 0)
	for i, c := range cell {
		if c == delimiter || c == '"' || c == '\n' || c == '\r' || c == ' ' && (i == 0 || i == len(cell)-1) {
			plain = false
			break
		}
	}
	if plain {
		return append(dst, cell...)
	}
	dst = append(dst, '"')
	for _, c := range cell {
		if c == '"' {
			dst = append(dst, '"')
		}
		dst = append(dst, c)
	}
	return append(dst, '"')
}

// Errors of records.
var (
	errBareQuote = errors.New(`a quote stands in the middle of a cell; put the cell in quotes, and write "" for a quote in it`)
	errAfterCell = errors.New("text follows the closing quote of a cell; write \"\" for a quote in a cell")
	errOpenQuote = errors.New("a cell begins with a quote, and no other ends it")
)

// quoted is the state at the end of a line of a record.
type quoted int

const (
	cellStart quoted = iota
	inPlain
	inQuotes
	afterQuote // the closing one, or the first of two
)

// scan reads a line of a record, and returns the state at its end: in quotes, the record continues on
// the next line.
func scan(line []byte, state quoted, delimiter byte) (quoted, error) {
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch state {
		case inQuotes:
			n := bytes.IndexByte(line[i:], '"')
			if n < 0 {
				return inQuotes, nil
			}
			i += n
			state = afterQuote
		case afterQuote:
			switch {
			case c == '"':
				state = inQuotes
			case c == delimiter:
				state = cellStart
			case c == '\n', c == '\r' && i+1 < len(line) && line[i+1] == '\n', c == '\r' && i+1 == len(line):
				return cellStart, nil
			default:
				return cellStart, errAfterCell
			}
		case cellStart, inPlain:
			switch {
			case c == delimiter:
				state = cellStart
			case c == '"' && state == cellStart:
				state = inQuotes
			case c == '"':
				return cellStart, errBareQuote
			default:
				state = inPlain
			}
		}
	}
	if state == inQuotes {
		return inQuotes, nil
	}
	return cellStart, nil
}

// cells splits a record that scan has passed. The cells share buf, which it returns, perhaps grown.
func cells(record []byte, delimiter byte, row [][]byte, buf []byte) ([][]byte, []byte, error) {
	record = bytes.TrimSuffix(record, []byte("\n"))
	record = bytes.TrimSuffix(record, []byte("\r"))
	row = row[:0]
	if cap(buf) < len(record) { // it must not move once it has cells
		buf = make([]byte, 0, 2*len(record))
	}
	buf = buf[:0]
	for {
		start := len(buf)
		if len(record) > 0 && record[0] == '"' {
			record = record[1:]
			for {
				n := bytes.IndexByte(record, '"')
				if n < 0 {
					return nil, buf, errOpenQuote
				}
				buf = append(buf, record[:n]...)
				if record = record[n+1:]; len(record) == 0 || record[0] != '"' {
					break
				}
				buf = append(buf, '"')
				record = record[1:]
			}
			row = append(row, buf[start:len(buf):len(buf)])
			if len(record) == 0 {
				return row, buf, nil
			}
			if record[0] != delimiter {
				return nil, buf, errAfterCell
			}
			record = record[1:]
			continue
		}
		n := bytes.IndexByte(record, delimiter)
		if n < 0 {
			return append(row, record), buf, nil
		}
		row = append(row, record[:n:n])
		record = record[n+1:]
	}
}

// tooFew returns the error for a record whose number of cells differs from the header.
func tooFew(got, want int) error {
	return fmt.Errorf("%s, and the header has %d", counted(got, "cell"), want)
}

// counted returns a number of things.
func counted(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
