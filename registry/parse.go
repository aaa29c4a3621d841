package registry

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The file is TOML, restricted to what a registry needs, so that each line is a statement: a table
// header, or key = value, where a value is a one-line string, an integer or a boolean. Every file
// that the parser accepts means the same to any other reader of TOML; for other files the error names
// the line.

// lineKind says what a line of the file is.
type lineKind uint8

const (
	lineBlank lineKind = iota
	lineComment
	lineHeader // [a.b]
	lineAssign // key = value
)

// line is one line of the file: its text, and its meaning.
type line struct {
	text       string   // without its end
	eol        string   // "\n", "\r\n", or "" at the end of the file
	kind       lineKind //
	table      []string // lineHeader: the path; lineAssign: the table of the key
	key        string   // lineAssign
	val        value    // lineAssign
	start, end int      // lineAssign: where in text the value stands
}

// value is a string, an int64 or a bool.
type value any

// parseLines splits data into lines and parses each. The result joined is data.
func parseLines(data string) ([]line, int, error) {
	var lines []line
	var table []string
	seen := newPaths()
	for n := 1; data != ""; n++ {
		text, rest, found := strings.Cut(data, "\n")
		eol := ""
		if found {
			eol = "\n"
			if strings.HasSuffix(text, "\r") {
				text, eol = text[:len(text)-1], "\r\n"
			}
		}
		data = rest
		l, err := parseLine(text)
		if err != nil {
			return nil, n, err
		}
		l.eol = eol
		switch l.kind {
		case lineHeader:
			table = l.table
			err = seen.addTable(table)
		case lineAssign:
			l.table = table
			err = seen.addValue(table, l.key)
		}
		if err != nil {
			return nil, n, err
		}
		lines = append(lines, l)
	}
	return lines, 0, nil
}

// parseLine parses one line on its own.
func parseLine(text string) (line, error) {
	l := line{text: text}
	if err := checkText(text); err != nil {
		return l, err
	}
	s := scanner{text: text}
	s.space()
	switch s.peek() {
	case 0:
		l.kind = lineBlank
		return l, nil
	case '#':
		l.kind = lineComment
		return l, nil
	case '[':
		l.kind = lineHeader
		var err error
		if l.table, err = s.header(); err != nil {
			return l, err
		}
	default:
		l.kind = lineAssign
		if err := s.assign(&l); err != nil {
			return l, err
		}
	}
	s.space()
	if c := s.peek(); c != 0 && c != '#' {
		return l, fmt.Errorf("unexpected %q at the end of the line; a line holds one statement, and comments start with #", s.rest())
	}
	return l, nil
}

// checkText refuses characters that TOML does not allow on any line.
func checkText(text string) error {
	if !utf8.ValidString(text) {
		return fmt.Errorf("not valid UTF-8; save the file as UTF-8")
	}
	for _, c := range text {
		if c < ' ' && c != '\t' || c == 0x7f {
			return fmt.Errorf("control character %U; remove it", c)
		}
	}
	return nil
}

// paths has the tables and keys that a file has defined so far, so that a second definition is
// refused. The map's key is the path's quoted keys, joined, which is unique.
type paths map[string]pathKind

type pathKind uint8

const (
	pathValue    pathKind = iota + 1
	pathTable             // has a header of its own
	pathImplicit          // exists because a longer header names it
)

func newPaths() paths { return paths{"": pathTable} }

func pathString(path []string) string {
	var b strings.Builder
	for _, k := range path {
		b.WriteString(strconv.Quote(k))
	}
	return b.String()
}

// addTable records a header.
func (p paths) addTable(path []string) error {
	for i := 1; i < len(path); i++ {
		switch at := pathString(path[:i]); p[at] {
		case 0:
			p[at] = pathImplicit
		case pathValue:
			return fmt.Errorf("[%s]: %s has a value already, so it cannot be a table", formatPath(path), formatPath(path[:i]))
		}
	}
	at := pathString(path)
	switch p[at] {
	case pathValue:
		return fmt.Errorf("[%s] has a value already, so it cannot be a table", formatPath(path))
	case pathTable:
		return fmt.Errorf("[%s] is defined twice; merge the two, or rename one", formatPath(path))
	}
	p[at] = pathTable
	return nil
}

// addValue records a key.
func (p paths) addValue(table []string, key string) error {
	at := pathString(table) + strconv.Quote(key)
	if p[at] != 0 {
		return fmt.Errorf("%s is defined twice; remove one", formatKey(key))
	}
	p[at] = pathValue
	return nil
}

// scanner reads one line from left to right.
type scanner struct {
	text string
	pos  int
}

func (s *scanner) rest() string { return s.text[s.pos:] }

// peek returns the next byte, 0 at the end; a line holds no zero byte.
func (s *scanner) peek() byte {
	if s.pos < len(s.text) {
		return s.text[s.pos]
	}
	return 0
}

func (s *scanner) space() {
	for s.peek() == ' ' || s.peek() == '\t' {
		s.pos++
	}
}

// header reads [key.key].
func (s *scanner) header() ([]string, error) {
	s.pos++
	if s.peek() == '[' {
		return nil, fmt.Errorf("arrays of tables ([[...]]) are not used here; write [spaces.NAME]")
	}
	var path []string
	for {
		s.space()
		key, err := s.key()
		if err != nil {
			return nil, err
		}
		path = append(path, key)
		s.space()
		switch s.peek() {
		case '.':
			s.pos++
		case ']':
			s.pos++
			return path, nil
		default:
			return nil, fmt.Errorf("a table is written [spaces.NAME]; the closing ] is missing")
		}
	}
}

// assign reads key = value.
func (s *scanner) assign(l *line) (err error) {
	if l.key, err = s.key(); err != nil {
		return err
	}
	s.space()
	switch s.peek() {
	case '=':
		s.pos++
	case '.':
		return fmt.Errorf("keys with dots are not used here; write the table as [spaces.NAME] and its keys below")
	default:
		return fmt.Errorf("expected = after %s; write key = \"value\"", formatKey(l.key))
	}
	s.space()
	l.start = s.pos
	l.val, err = s.value()
	l.end = s.pos
	return err
}

// key reads a bare or quoted key.
func (s *scanner) key() (string, error) {
	switch s.peek() {
	case '"':
		return s.basicString()
	case '\'':
		return s.literalString()
	}
	start := s.pos
	for isBareKeyByte(s.peek()) {
		s.pos++
	}
	if s.pos == start {
		return "", fmt.Errorf("expected a key at %q; a key is letters, digits, _ and -, or is in quotes", s.rest())
	}
	return s.text[start:s.pos], nil
}

// value reads a value.
func (s *scanner) value() (value, error) {
	switch c := s.peek(); {
	case strings.HasPrefix(s.rest(), `"""`) || strings.HasPrefix(s.rest(), `'''`):
		return nil, fmt.Errorf("strings of several lines are not used here; write it in one pair of quotes")
	case c == '"':
		return s.basicString()
	case c == '\'':
		return s.literalString()
	case c == '[' || c == '{':
		return nil, fmt.Errorf("arrays and inline tables are not used here; a value is a string, a whole number, true or false")
	case c == 0 || c == '#':
		return nil, fmt.Errorf("the value is missing; write key = \"value\"")
	}
	start := s.pos
	for c := s.peek(); c != 0 && c != ' ' && c != '\t' && c != '#'; c = s.peek() {
		s.pos++
	}
	word := s.text[start:s.pos]
	switch word {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	n, ok := parseInteger(word)
	if !ok {
		return nil, fmt.Errorf("%s is not a value; a value is a string in quotes, a whole number, true or false", word)
	}
	return n, nil
}

// basicString reads a string in double quotes.
func (s *scanner) basicString() (string, error) {
	var b strings.Builder
	for s.pos++; ; {
		c := s.peek()
		switch {
		case c == 0:
			return "", fmt.Errorf("a string is not closed; end it with \"")
		case c == '"':
			s.pos++
			return b.String(), nil
		case c != '\\':
			b.WriteByte(c)
			s.pos++
		default:
			r, err := s.escape()
			if err != nil {
				return "", err
			}
			b.WriteRune(r)
		}
	}
}

// escape reads an escape sequence.
func (s *scanner) escape() (rune, error) {
	s.pos++
	c, digits := s.peek(), 0
	if i := strings.IndexByte(`btnfr"\`, c); c != 0 && i >= 0 {
		s.pos++
		return rune("\b\t\n\f\r\"\\"[i]), nil
	}
	switch c {
	case 'u':
		digits = 4
	case 'U':
		digits = 8
	default:
		return 0, fmt.Errorf("unknown escape \\%s in a string; write \\\\ for a backslash, or use '...'", firstRune(s.rest()))
	}
	s.pos++
	if len(s.rest()) >= digits {
		n, err := strconv.ParseUint(s.rest()[:digits], 16, 32)
		// \u0000 is TOML, but no valid string of the registry has a zero byte.
		if err == nil && n != 0 && n <= utf8.MaxRune && utf8.ValidRune(rune(n)) {
			s.pos += digits
			return rune(n), nil
		}
	}
	return 0, fmt.Errorf("\\%c takes %d hexadecimal digits that name a character", c, digits)
}

// literalString reads a string in single quotes, which has no escapes.
func (s *scanner) literalString() (string, error) {
	s.pos++
	text, _, ok := strings.Cut(s.rest(), "'")
	if !ok {
		return "", fmt.Errorf("a string is not closed; end it with '")
	}
	s.pos += len(text) + 1
	return text, nil
}

// parseInteger reads an integer as TOML writes it: no leading zeros, underscores only between
// digits, a sign only before decimal ones, prefixes in lower case, 64 bits signed.
func parseInteger(word string) (int64, bool) {
	digits, base := word, 10
	switch {
	case strings.HasPrefix(word, "0x"):
		digits, base = word[2:], 16
	case strings.HasPrefix(word, "0o"):
		digits, base = word[2:], 8
	case strings.HasPrefix(word, "0b"):
		digits, base = word[2:], 2
	}
	sign := ""
	if base == 10 && digits != "" && (digits[0] == '+' || digits[0] == '-') {
		sign, digits = digits[:1], digits[1:]
	}
	if base == 10 && len(digits) > 1 && digits[0] == '0' {
		return 0, false
	}
	for part := range strings.SplitSeq(digits, "_") {
		if part == "" || strings.ContainsAny(part, "+-") {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(sign+strings.ReplaceAll(digits, "_", ""), base, 64)
	return n, err == nil
}

func isBareKeyByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-'
}

func firstRune(s string) string {
	_, n := utf8.DecodeRuneInString(s)
	return s[:n]
}
