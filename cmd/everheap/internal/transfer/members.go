package transfer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// member is a member of a JSON object: its value is what stands there.
type member struct {
	name  string
	value []byte
}

// members splits a JSON object into its members, without looking into their values: those are
// read by who knows their types. It accepts any bytes.
func members(text []byte, list []member) ([]member, error) {
	list = list[:0]
	rest, ok := bytes.CutPrefix(space(text), []byte("{"))
	if !ok {
		return nil, errors.New("the line is no JSON object")
	}
	rest = space(rest)
	if after, empty := bytes.CutPrefix(rest, []byte("}")); empty {
		return list, atEnd(after)
	}
	for {
		n := span(rest)
		if n < 2 || rest[0] != '"' {
			return nil, errors.New("a name in quotes is expected in the object")
		}
		m := member{name: string(rest[1 : n-1])}
		if bytes.IndexByte(rest[:n], '\\') >= 0 {
			if err := json.Unmarshal(rest[:n], &m.name); err != nil {
				return nil, err
			}
		}
		if rest, ok = bytes.CutPrefix(space(rest[n:]), []byte(":")); !ok {
			return nil, fmt.Errorf("a colon is missing after %q", m.name)
		}
		rest = space(rest)
		if n = span(rest); n == 0 {
			return nil, fmt.Errorf("the value of %q is missing, or does not end", m.name)
		}
		m.value = rest[:n:n]
		for i := range list {
			if list[i].name == m.name {
				return nil, fmt.Errorf("the name %q occurs twice", m.name)
			}
		}
		list = append(list, m)
		rest = space(rest[n:])
		if after, more := bytes.CutPrefix(rest, []byte(",")); more {
			rest = space(after)
			continue
		}
		if rest, ok = bytes.CutPrefix(rest, []byte("}")); !ok {
			return nil, errors.New("the object does not end, or a comma is missing")
		}
		return list, atEnd(rest)
	}
}

// atEnd returns an error if anything but space is left.
func atEnd(rest []byte) error {
	if len(space(rest)) > 0 {
		return errors.New("text follows the object; give one object a line")
	}
	return nil
}

// space skips white space.
func space(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t' || b[0] == '\n' || b[0] == '\r') {
		b = b[1:]
	}
	return b
}

// span returns the length of the value that text begins with; 0 if there is none, or it does
// not end.
func span(text []byte) int {
	if len(text) == 0 {
		return 0
	}
	depth := 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '"':
			n := stringSpan(text[i:])
			if n == 0 {
				return 0
			}
			i += n - 1
			if depth == 0 {
				return i + 1
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ':', ' ', '\t', '\n', '\r':
			if depth == 0 {
				return i
			}
		}
	}
	if depth > 0 {
		return 0
	}
	return len(text)
}

// stringSpan returns the length of the string that text begins with; 0 if it does not end.
func stringSpan(text []byte) int {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return 0
}
