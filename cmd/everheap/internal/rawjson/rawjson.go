// Package rawjson splits JSON into parts without decoding them: the caller decodes the parts, since
// it knows their types.
//
// A string that is not UTF-8 is {"$bytes": base64}; see Collection of the package everheap.
package rawjson

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// Member is a member of a JSON object: its value is the raw text.
type Member struct {
	Name  string
	Value []byte
}

// Members splits a JSON object into its members, without decoding their values. It accepts any bytes.
func Members(text []byte, list []Member) ([]Member, error) {
	list = list[:0]
	rest, ok := bytes.CutPrefix(Space(text), []byte("{"))
	if !ok {
		return nil, errors.New("the line is not a JSON object")
	}
	rest = Space(rest)
	if after, empty := bytes.CutPrefix(rest, []byte("}")); empty {
		return list, atEnd(after)
	}
	for {
		n := Span(rest)
		if n < 2 || rest[0] != '"' {
			return nil, errors.New("a name in quotes is expected in the object")
		}
		m := Member{Name: string(rest[1 : n-1])}
		if bytes.IndexByte(rest[:n], '\\') >= 0 {
			if err := json.Unmarshal(rest[:n], &m.Name); err != nil {
				return nil, err
			}
		}
		if rest, ok = bytes.CutPrefix(Space(rest[n:]), []byte(":")); !ok {
			return nil, fmt.Errorf("a colon is missing after %q", m.Name)
		}
		rest = Space(rest)
		if n = Span(rest); n == 0 {
			return nil, fmt.Errorf("the value of %q is missing, or does not end", m.Name)
		}
		m.Value = rest[:n:n]
		for i := range list {
			if list[i].Name == m.Name {
				return nil, fmt.Errorf("the name %q occurs twice", m.Name)
			}
		}
		list = append(list, m)
		rest = Space(rest[n:])
		if after, more := bytes.CutPrefix(rest, []byte(",")); more {
			rest = Space(after)
			continue
		}
		if rest, ok = bytes.CutPrefix(rest, []byte("}")); !ok {
			return nil, errors.New("the object does not end, or a comma is missing")
		}
		return list, atEnd(rest)
	}
}

// atEnd returns an error if rest has more than white space.
func atEnd(rest []byte) error {
	if len(Space(rest)) > 0 {
		return errors.New("text follows the object; give one object a line")
	}
	return nil
}

// Space skips white space.
func Space(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t' || b[0] == '\n' || b[0] == '\r') {
		b = b[1:]
	}
	return b
}

// Span returns the length of the value at the beginning of text; 0 if there is no complete value.
func Span(text []byte) int {
	if len(text) == 0 {
		return 0
	}
	depth := 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '"':
			n := stringEnd(text[i:])
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

// stringEnd returns the length of the string at the beginning of text; 0 if it has no end.
func stringEnd(text []byte) int {
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

// Plain returns the text of a JSON string.
func Plain(b []byte) (s string, ok bool) {
	if len(b) == 0 {
		return "", false
	}
	if b[0] == '"' {
		if bytes.IndexByte(b, '\\') < 0 {
			return string(b[1 : len(b)-1]), true
		}
		return s, json.Unmarshal(b, &s) == nil
	}
	var wrapped struct {
		Bytes []byte `json:"$bytes"`
	}
	if b[0] == '{' && json.Unmarshal(b, &wrapped) == nil && wrapped.Bytes != nil {
		return string(wrapped.Bytes), true
	}
	return "", false
}

// String formats a string as JSON, even if it is not UTF-8.
func String[T string | []byte](s T) []byte {
	if !utf8.ValidString(string(s)) {
		return fmt.Appendf(nil, `{"$bytes":"%s"}`, base64.StdEncoding.EncodeToString([]byte(s)))
	}
	b := make([]byte, 0, len(s)+2)
	b = append(b, '"')
	for i := range len(s) {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ':
			b = fmt.Appendf(b, `\u%04x`, c)
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}
