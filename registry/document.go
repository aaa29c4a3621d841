package registry

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// fileComment is the first line of a file that this package creates.
const fileComment = "# Everheap spaces: name -> directory. Edit freely; paths may be relative to this file."

// spacesTable is the table that holds the entries.
const spacesTable = "spaces"

// The keys of an entry.
const (
	keyDir  = "dir"
	keyBase = "base"
	keySize = "size"
)

// document is a parsed registry file, which can be edited line by line.
type document struct {
	file    string  // path of the file, for relative directories and for errors
	lines   []line  // the file, when joined
	entries []Entry // the entries in the lines, in their order
}

// parse reads a registry file. It fails with *SyntaxError.
func parse(file string, data []byte) (*document, error) {
	lines, n, err := parseLines(string(data))
	if err != nil {
		return nil, &SyntaxError{File: file, Line: n, Problem: err.Error()}
	}
	d := &document{file: file, lines: lines}
	for i := range lines {
		if err := d.checkPlace(&lines[i]); err != nil {
			return nil, &SyntaxError{File: file, Line: i + 1, Problem: err.Error()}
		}
		if lines[i].kind == lineHeader && isEntry(lines[i].table) {
			e, n, err := d.readEntry(i)
			if err != nil {
				return nil, &SyntaxError{File: file, Line: n + 1, Problem: err.Error()}
			}
			d.entries = append(d.entries, e)
		}
	}
	return d, nil
}

// bytes returns the file.
func (d *document) bytes() []byte {
	var b strings.Builder
	for _, l := range d.lines {
		b.WriteString(l.text)
		b.WriteString(l.eol)
	}
	return []byte(b.String())
}

// isEntry reports whether path is [spaces.NAME].
func isEntry(path []string) bool { return len(path) == 2 && path[0] == spacesTable }

// checkPlace refuses statements about spaces outside of entries.
func (d *document) checkPlace(l *line) error {
	switch l.kind {
	case lineHeader:
		if l.table[0] == spacesTable && len(l.table) > 2 {
			return fmt.Errorf("[%s] lies inside of an entry; if it is an entry, write its name in quotes: [%s]",
				formatPath(l.table), formatPath([]string{spacesTable, strings.Join(l.table[1:], ".")}))
		}
		if isEntry(l.table) {
			return ValidName(l.table[1])
		}
	case lineAssign:
		if len(l.table) == 0 && l.key == spacesTable || len(l.table) == 1 && l.table[0] == spacesTable {
			return fmt.Errorf("%s = ... stands outside of an entry; a space is a table [spaces.NAME] with a line dir = \"...\"", formatKey(l.key))
		}
	}
	return nil
}

// readEntry reads the entry whose header is line h. With an error it returns the line of the error.
func (d *document) readEntry(h int) (Entry, int, error) {
	e := Entry{Name: d.lines[h].table[1]}
	at := h
	for i := h + 1; i < len(d.lines) && d.lines[i].kind != lineHeader; i++ {
		l := &d.lines[i]
		if l.kind != lineAssign {
			continue
		}
		var err error
		switch l.key {
		case keyDir:
			e.Dir, err = d.readDir(l.val)
		case keyBase:
			at = i
			e.Base, err = readNumber(l.val, parseBase)
		case keySize:
			e.Size, err = readNumber(l.val, parseSize)
		}
		if err != nil {
			return e, i, fmt.Errorf("%s of space %q: %w", l.key, e.Name, err)
		}
	}
	if e.Dir == "" {
		return e, h, fmt.Errorf("space %q has no directory; add a line dir = \"...\" below its header", e.Name)
	}
	if err := validWindow(e.Base, e.Size); err != nil {
		return e, at, fmt.Errorf("space %q: %w", e.Name, err)
	}
	return e, 0, nil
}

// readDir returns the absolute directory that the value of dir names.
func (d *document) readDir(v value) (string, error) {
	dir, ok := v.(string)
	if !ok {
		return "", fmt.Errorf("%v is not a string; write the path in quotes", v)
	}
	if err := validDir(dir); err != nil {
		return "", err
	}
	if dir == "~" || strings.HasPrefix(dir, "~/") {
		return "", fmt.Errorf("%q: ~ has no meaning here; write the path in full", dir)
	}
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(filepath.Dir(d.file), dir)
	}
	return filepath.Clean(dir), nil
}

// readNumber reads a number, or a string that parse understands.
func readNumber(v value, parse func(string) (uint64, error)) (uint64, error) {
	switch v := v.(type) {
	case int64:
		if v >= 0 {
			return uint64(v), nil
		}
	case string:
		return parse(v)
	}
	return 0, fmt.Errorf("%v cannot be used; write a number, or a string such as \"0x440000000000\" or \"64GiB\"", v)
}

// entry returns the entry called name.
func (d *document) entry(name string) (Entry, bool) {
	for _, e := range d.entries {
		if e.Name == name {
			return e, true
		}
	}
	return Entry{}, false
}

// holder returns an entry other than name whose window overlaps [base, base+size).
func (d *document) holder(name string, base, size uint64) Entry {
	for _, e := range d.entries {
		if e.Name != name && e.overlaps(base, size) {
			return e
		}
	}
	return Entry{}
}

// windowTaken reports whether a new space called name cannot have the window.
func (d *document) windowTaken(name string, base, size uint64) bool {
	return base == 0 || base+size < base || d.holder(name, base, size) != Entry{}
}

// checkWindow enforces RG3 for e. Two names of one directory share its window.
func (d *document) checkWindow(e Entry) error {
	if e.Base == 0 {
		return nil
	}
	for _, other := range d.entries {
		if other.Name != e.Name && other.Dir != e.Dir && other.overlaps(e.Base, e.Size) {
			return &WindowError{Entry: e, Other: other}
		}
	}
	return nil
}

// set makes the entry of e.Name equal to e, and touches no other line.
func (d *document) set(e Entry) error {
	if old, ok := d.entry(e.Name); ok {
		d.update(old, e)
	} else {
		d.add(e)
	}
	return d.reparse()
}

// reparse reads entries again from the edited lines.
func (d *document) reparse() error {
	again, err := parse(d.file, d.bytes())
	if err != nil {
		return err
	}
	*d = *again
	return nil
}

// setting is a key of an entry and the value to write; "" means that the key is absent.
type setting struct{ key, text string }

// settings returns the lines of an entry.
func settings(e Entry) []setting {
	list := []setting{{keyDir, formatString(e.Dir)}, {keyBase, ""}, {keySize, ""}}
	if e.Base != 0 {
		list[1].text = formatString(formatBase(e.Base))
	}
	if e.Size != 0 {
		list[2].text = formatString(formatSize(e.Size))
	}
	return list
}

// add appends an entry to the file.
func (d *document) add(e Entry) {
	eol := d.eol()
	if len(d.lines) == 0 {
		d.lines = append(d.lines, line{text: fileComment, eol: eol})
	} else {
		d.lines[len(d.lines)-1].eol = eol
		if d.lines[len(d.lines)-1].kind != lineBlank {
			d.lines = append(d.lines, line{eol: eol})
		}
	}
	d.lines = append(d.lines, line{text: "[" + formatPath([]string{spacesTable, e.Name}) + "]", eol: eol})
	for _, s := range settings(e) {
		if s.text != "" {
			d.lines = append(d.lines, line{text: s.key + " = " + s.text, eol: eol})
		}
	}
}

// update changes the values of an entry that differ. An equal value that is written differently stays
// as it is.
func (d *document) update(old, e Entry) {
	same := map[string]bool{keyDir: old.Dir == e.Dir, keyBase: old.Base == e.Base, keySize: old.Size == e.Size}
	for _, s := range settings(e) {
		if same[s.key] {
			continue
		}
		h, end := d.table(e.Name)
		at := slices.IndexFunc(d.lines[h:end], func(l line) bool { return l.kind == lineAssign && l.key == s.key })
		switch {
		case at < 0 && s.text != "":
			if d.lines[end-1].eol == "" {
				d.lines[end-1].eol = d.eol()
			}
			d.lines = slices.Insert(d.lines, end, line{text: s.key + " = " + s.text, eol: d.eol(), kind: lineAssign, key: s.key})
		case at >= 0 && s.text == "":
			d.lines = slices.Delete(d.lines, h+at, h+at+1)
		case at >= 0:
			l := &d.lines[h+at]
			l.text = l.text[:l.start] + s.text + l.text[l.end:]
		}
	}
}

// remove deletes the entry called name, the comment directly above it, and a blank line if two would
// be left. A comment at the top of the file is about the file, and stays.
func (d *document) remove(name string) bool {
	from, to := d.table(name)
	if from < 0 {
		return false
	}
	first := from
	for first > 0 && d.lines[first-1].kind == lineComment {
		first--
	}
	if first > 0 {
		from = first
	}
	if to == len(d.lines) {
		for from > 0 && d.lines[from-1].kind == lineBlank {
			from--
		}
	} else if from == 0 || d.lines[from-1].kind == lineBlank {
		for to < len(d.lines) && d.lines[to].kind == lineBlank {
			to++
		}
	}
	d.lines = slices.Delete(d.lines, from, to)
	d.entries = slices.DeleteFunc(d.entries, func(e Entry) bool { return e.Name == name })
	return true
}

// table returns the lines [from, to) of the entry called name: from its header to its last
// key; lines after it may be a comment on the next table. It returns -1 if the file has no such
// entry.
func (d *document) table(name string) (from, to int) {
	from = slices.IndexFunc(d.lines, func(l line) bool {
		return l.kind == lineHeader && isEntry(l.table) && l.table[1] == name
	})
	if from < 0 {
		return -1, -1
	}
	to = from + 1
	for i := to; i < len(d.lines) && d.lines[i].kind != lineHeader; i++ {
		if d.lines[i].kind == lineAssign {
			to = i + 1
		}
	}
	return from, to
}

// eol returns the end of line that the file uses.
func (d *document) eol() string {
	if len(d.lines) > 0 && d.lines[0].eol != "" {
		return d.lines[0].eol
	}
	return "\n"
}

// formatPath formats a path for a header.
func formatPath(path []string) string {
	keys := make([]string, len(path))
	for i, k := range path {
		keys[i] = formatKey(k)
	}
	return strings.Join(keys, ".")
}

// formatKey formats a key, in quotes if it needs them.
func formatKey(key string) string {
	for i := range len(key) {
		if !isBareKeyByte(key[i]) {
			return formatString(key)
		}
	}
	if key == "" {
		return `""`
	}
	return key
}

// formatString formats a string as TOML: in double quotes, with control characters escaped.
func formatString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteRune(c)
		case c < ' ' || c == 0x7f:
			b.WriteString(`\u00` + string("0123456789abcdef"[c>>4]) + strconv.FormatUint(uint64(c&15), 16))
		default:
			b.WriteRune(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}
