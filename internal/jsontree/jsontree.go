// Package jsontree reads JSON as package encoding/json decodes it to an any, with json.Number for numbers,
// in a fraction of the time: whoever imports a million rows reads each of them so. What it does not
// understand at once it leaves to that package, whose errors are those of Read.
//
// Start reading at Read.
package jsontree

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
)

// Read reads one value that is UTF-8.
func Read(data []byte) (any, error) {
	r := reader{text: string(data)} // strings and numbers are parts of it
	r.space()
	if v, ok := r.value(); ok {
		if r.space(); r.at == len(r.text) {
			return v, nil
		}
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("want one value, got more text after it")
	}
	return v, nil
}

// reader reads JSON, up to what it does not understand.
type reader struct {
	text  string
	at    int
	depth int
}

// mostNested is how deeply arrays and objects nest that it reads.
const mostNested = 1000

// peek returns the byte that is next; 0 at the end.
func (r *reader) peek() byte {
	if r.at < len(r.text) {
		return r.text[r.at]
	}
	return 0
}

func (r *reader) space() {
	for c := r.peek(); c == ' ' || c == '\t' || c == '\n' || c == '\r'; c = r.peek() {
		r.at++
	}
}

// take goes on behind a byte, and what space there is, if it is next.
func (r *reader) take(c byte) bool {
	if r.peek() != c {
		return false
	}
	r.at++
	r.space()
	return true
}

// value reads a value.
func (r *reader) value() (v any, ok bool) {
	switch c := r.peek(); {
	case c == '"':
		return r.str()
	case c == '-' || c >= '0' && c <= '9':
		return r.number()
	case c == '{' || c == '[':
		if r.depth++; r.depth > mostNested {
			return nil, false
		}
		if r.at++; c == '{' {
			v, ok = r.object()
		} else {
			v, ok = r.array()
		}
		r.depth--
		return v, ok
	}
	for _, w := range words {
		if strings.HasPrefix(r.text[r.at:], w.text) {
			r.at += len(w.text)
			return w.value, true
		}
	}
	return nil, false
}

// words are the values that are one.
var words = [3]struct {
	text  string
	value any
}{{"null", nil}, {"true", true}, {"false", false}}

// object reads an object, behind its brace.
func (r *reader) object() (any, bool) {
	m := map[string]any{}
	r.space()
	for !r.take('}') {
		if len(m) > 0 && !r.take(',') || r.peek() != '"' {
			return nil, false
		}
		name, ok := r.str()
		if r.space(); !ok || !r.take(':') {
			return nil, false
		}
		v, ok := r.value()
		if r.space(); !ok {
			return nil, false
		}
		m[name.(string)] = v
	}
	return m, true
}

// array reads an array, behind its bracket.
func (r *reader) array() (any, bool) {
	list := []any{}
	r.space()
	for !r.take(']') {
		if len(list) > 0 && !r.take(',') {
			return nil, false
		}
		v, ok := r.value()
		if r.space(); !ok {
			return nil, false
		}
		list = append(list, v)
	}
	return list, true
}

// str reads a string. One with escapes is left to encoding/json, which knows them all.
func (r *reader) str() (any, bool) {
	from, escaped := r.at, false
	for r.at++; r.at < len(r.text); r.at++ {
		switch c := r.text[r.at]; {
		case c == '\\':
			escaped = true
			r.at++
		case c < ' ':
			return nil, false
		case c == '"':
			r.at++
			if !escaped {
				return r.text[from+1 : r.at-1], true
			}
			var s string
			return s, json.Unmarshal([]byte(r.text[from:r.at]), &s) == nil
		}
	}
	return nil, false
}

// number reads a number.
func (r *reader) number() (any, bool) {
	from := r.at
	digits := func() bool {
		at := r.at
		for c := r.peek(); c >= '0' && c <= '9'; c = r.peek() {
			r.at++
		}
		return r.at > at
	}
	if r.peek() == '-' {
		r.at++
	}
	if r.peek() == '0' {
		r.at++
	} else if !digits() {
		return nil, false
	}
	if r.peek() == '.' {
		if r.at++; !digits() {
			return nil, false
		}
	}
	if c := r.peek(); c == 'e' || c == 'E' {
		r.at++
		if c := r.peek(); c == '+' || c == '-' {
			r.at++
		}
		if !digits() {
			return nil, false
		}
	}
	return json.Number(r.text[from:r.at]), true
}
