// Package query is the language in which the shell asks for entries:
//
//	users where Age > 30 and City = "Oslo" order by Name limit 10
//
// A query is the name of a collection, followed by clauses in any order: a range of keys (from, to,
// prefix, reverse), a condition on key and fields (where), columns (show), an order, a limit.
// Parse reads it, Bind finds its fields in the stored types, and Run answers it.
//
// Start reading at Query.
package query

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Error says what is wrong with a text, and where.
type Error struct {
	At   int // offset in the text, in bytes
	What string
}

// Error implements error.
func (e *Error) Error() string { return e.What }

// errorf returns an error at a place.
func errorf(at int, format string, args ...any) error {
	return &Error{at, fmt.Sprintf(format, args...)}
}

// Kind is the kind of a token.
type Kind int

// The kinds.
const (
	End      Kind = iota
	Word          // a name, a number, a word of the language
	Text          // a string in quotes
	JSON          // an object or an array
	Operator      // = != < <= > >= ( ) ,
)

// Token is a piece of a text.
type Token struct {
	Kind  Kind
	Text  string // of a string without its quotes
	At    int    // offset of its beginning
	After int    // offset of its end
}

// Is reports whether the token is a word of the language, in any case.
func (t Token) Is(word string) bool { return t.Kind == Word && strings.EqualFold(t.Text, word) }

// Next returns the token that begins at or after a byte of a text.
func Next(text string, at int) (Token, error) {
	for at < len(text) {
		r, n := utf8.DecodeRuneInString(text[at:])
		if !unicode.IsSpace(r) {
			break
		}
		at += n
	}
	if at >= len(text) {
		return Token{Kind: End, At: len(text), After: len(text)}, nil
	}
	switch c := text[at]; c {
	case '"', '\'':
		return quoted(text, at)
	case '{', '[':
		end := jsonEnd(text, at)
		if end < 0 {
			return Token{}, errorf(at, "the %c is not closed", c)
		}
		return Token{JSON, text[at:end], at, end}, nil
	case '(', ')', ',', '=':
		return Token{Operator, text[at : at+1], at, at + 1}, nil
	case '!', '<', '>':
		end := at + 1
		if end < len(text) && (text[end] == '=' || c == '<' && text[end] == '>') {
			end++
		}
		op := text[at:end]
		switch op {
		case "<>":
			op = "!="
		case "!":
			return Token{}, errorf(at, "a ! stands alone; write != or not")
		}
		return Token{Operator, op, at, end}, nil
	}
	end := at
	for end < len(text) {
		r, n := utf8.DecodeRuneInString(text[end:])
		if unicode.IsSpace(r) || strings.ContainsRune(`(),=<>!"'{`, r) {
			break
		}
		end += n
	}
	return Token{Word, text[at:end], at, end}, nil
}

// quoted reads a string: in double quotes as JSON, in single quotes as it is.
func quoted(text string, at int) (Token, error) {
	quote := text[at]
	for i := at + 1; i < len(text); i++ {
		switch {
		case text[i] == '\\' && quote == '"':
			i++
		case text[i] == quote && quote == '\'' && i+1 < len(text) && text[i+1] == '\'':
			i++
		case text[i] == quote:
			t := Token{Text, text[at+1 : i], at, i + 1}
			if quote == '\'' {
				t.Text = strings.ReplaceAll(t.Text, "''", "'")
			} else if strings.Contains(t.Text, `\`) {
				if err := json.Unmarshal([]byte(text[at:i+1]), &t.Text); err != nil {
					return Token{}, errorf(at, "the string is none of JSON: %v", err)
				}
			}
			return t, nil
		}
	}
	return Token{}, errorf(at, "the string does not end: a %c is missing", quote)
}

// jsonEnd returns the end of the object or array that begins at an offset, or -1.
func jsonEnd(text string, at int) int {
	depth := 0
	for i := at; i < len(text); i++ {
		switch text[i] {
		case '"':
			for i++; i < len(text) && text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
			if i >= len(text) {
				return -1
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return -1
}
