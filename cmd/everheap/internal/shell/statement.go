package shell

import (
	"fmt"
	"slices"
	"strings"

	"github.com/everheap/everheap/cmd/everheap/internal/query"
)

// statement is a parsed line.
type statement struct {
	verb  string
	name  string // of a collection or space; may be ""
	keys  []*query.Literal
	value string // as written
	at    int    // offset of the value
	query *query.Query
}

// verbs has the verbs of statements, with their arguments.
var verbs = []struct{ name, args, help string }{
	{"COLLECTION", "[CLAUSES]", "entries; .help query says of clauses"},
	{"get", "COLLECTION [KEY…]", "values, by their keys"},
	{"set", "COLLECTION [KEY] VALUE", "store a value; without a key append it"},
	{"del", "COLLECTION KEY…", "delete keys"},
	{"count", "COLLECTION [CLAUSES]", "how many entries"},
	{"keys", "COLLECTION [CLAUSES]", "their keys"},
	{"explain", "COLLECTION [CLAUSES]", "by what entries would be found"},
	{"watch", "[COLLECTION]", "changes as they happen, until ctrl-C"},
	{"begin", "", "begin a transaction"},
	{"commit", "", "end it, and show others its changes"},
	{"rollback", "", "end it, and drop its changes"},
	{"ls", "", "the collections of the space"},
	{"types", "[COLLECTION]", "the stored types as Go source"},
	{"create", "NAME TYPE", "create a collection; types are Go"},
	{"rename", "COLLECTION NAME", "give a collection another name"},
	{"drop", "COLLECTION", "remove a collection"},
	{"use", "SPACE", "go to another space"},
	{".mode", "table|json", "how entries are shown"},
	{".help", "[TOPIC]", "what can be done here"},
	{".quit", "", "leave; ctrl-D does, too"},
}

// isVerb reports whether a word is a verb.
func isVerb(word string) bool {
	return slices.ContainsFunc(verbs[1:], func(v struct{ name, args, help string }) bool { return v.name == word })
}

// parse reads a line; nil if the line is empty. An error with a place in the line is a *query.Error.
func parse(line string) (*statement, error) {
	trimmed := strings.TrimSpace(line)
	if trimmed == "" || strings.HasPrefix(trimmed, "#") || strings.HasPrefix(trimmed, "--") {
		return nil, nil
	}
	t, err := query.Next(line, 0)
	if err != nil {
		return nil, err
	}
	verb := strings.ToLower(t.Text)
	switch {
	case t.Kind == query.Word && verb == "help", verb == "?":
		verb = ".help"
	case t.Kind == query.Word && (verb == "exit" || verb == "quit"):
		verb = ".quit"
	case t.Kind == query.Word && strings.HasPrefix(verb, ".") && !isVerb(verb):
		return nil, fmt.Errorf("there is no %s; .help says what there is", t.Text)
	}
	if t.Kind != query.Word || !isVerb(verb) {
		s := &statement{verb: "select"}
		return s, s.readQuery(line, 0)
	}
	s := &statement{verb: verb}
	return s, s.rest(line, t.After)
}

// rest reads the arguments of the verb.
func (s *statement) rest(line string, at int) (err error) {
	switch s.verb {
	case "begin", "commit", "rollback", "ls", ".quit":
		return nothing(line, at)
	case "count", "keys", "explain":
		return s.readQuery(line, at)
	case "get", "del":
		if at, err = s.readName(line, at, true); err != nil {
			return err
		}
		if err := s.readKeys(line, at); err != nil {
			return err
		}
		if s.verb == "del" && len(s.keys) == 0 {
			return at1(line, "del needs keys: del %s KEY…", s.name)
		}
		return nil
	case "set":
		if at, err = s.readName(line, at, true); err != nil {
			return err
		}
		return s.readValue(line, at)
	case "create", "rename":
		if at, err = s.readName(line, at, true); err != nil {
			return err
		}
		s.value, s.at = strings.TrimSpace(line[at:]), at
		if s.value == "" && s.verb == "create" {
			return at1(line, "create needs a type: create %s map[string]int", s.name)
		}
		if s.verb == "rename" {
			t, err := query.Next(line, at)
			if err != nil {
				return err
			}
			if s.value = t.Text; s.value == "" {
				return at1(line, "rename needs the new name")
			}
			return nothing(line, t.After)
		}
		return nil
	}
	// At most one word: watch, types, drop, use, .mode, .help.
	if at, err = s.readName(line, at, s.verb == "drop" || s.verb == "use" || s.verb == ".mode"); err != nil {
		return err
	}
	return nothing(line, at)
}

// at1 returns an error at the end of a line.
func at1(line, format string, args ...any) error {
	return &query.Error{At: len(line), What: fmt.Sprintf(format, args...)}
}

// nothing returns an error if another token follows.
func nothing(line string, at int) error {
	t, err := query.Next(line, at)
	if err == nil && t.Kind != query.End {
		err = &query.Error{At: t.At, What: fmt.Sprintf("%q is too much here", t.Text)}
	}
	return err
}

// readName reads a name.
func (s *statement) readName(line string, at int, needed bool) (int, error) {
	t, err := query.Next(line, at)
	switch {
	case err != nil:
		return at, err
	case t.Kind == query.Word || t.Kind == query.Text:
		s.name = t.Text
	case t.Kind != query.End:
		return at, &query.Error{At: t.At, What: fmt.Sprintf("a name is expected, and not %q", t.Text)}
	case needed && s.verb == ".mode":
		return at, at1(line, "which mode? table or json")
	case needed && s.verb == "use":
		return at, at1(line, "which space?")
	case needed:
		return at, at1(line, "which collection? ls lists them")
	}
	return t.After, nil
}

// readQuery reads the name of a collection and clauses.
func (s *statement) readQuery(line string, at int) error {
	at, err := s.readName(line, at, true)
	if err == nil {
		s.query, err = query.Parse(line, at, s.name)
	}
	return err
}

// readKeys reads keys up to the end of the line.
func (s *statement) readKeys(line string, at int) error {
	for {
		l, after, err := literal(line, at)
		if err != nil || l == nil {
			return err
		}
		s.keys = append(s.keys, l)
		at = after
	}
}

// literal reads a key; nil at the end.
func literal(line string, at int) (*query.Literal, int, error) {
	t, err := query.Next(line, at)
	if err != nil || t.Kind == query.End {
		return nil, at, err
	}
	l, err := query.LiteralOf(t)
	return l, t.After, err
}

// readValue reads a key and a value, or a value alone.
func (s *statement) readValue(line string, at int) error {
	t, err := query.Next(line, at)
	if err != nil {
		return err
	}
	if t.Kind == query.End {
		return at1(line, "set needs a value: set %s KEY VALUE", s.name)
	}
	if rest := strings.TrimSpace(line[t.After:]); rest != "" {
		l, err := query.LiteralOf(t)
		if err != nil {
			return err
		}
		s.keys = append(s.keys, l)
		s.value, s.at = rest, t.After
		return nil
	}
	s.value, s.at = strings.TrimSpace(line[at:]), at
	return nil
}

// unfinished reports whether the statement continues on the next line: a bracket or a string is open,
// or the line ends with a backslash.
func unfinished(line string) bool {
	if strings.HasSuffix(strings.TrimRight(line, " \t"), `\`) {
		return true
	}
	depth, in := 0, byte(0)
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case in != 0 && c == '\\' && in == '"':
			i++
		case in != 0:
			if c == in {
				in = 0
			}
		case c == '"':
			in = c
		case c == '{' || c == '[' || c == '(':
			depth++
		case c == '}' || c == ']' || c == ')':
			depth--
		}
	}
	return depth > 0
}

// joined returns the lines of a statement as one.
func joined(lines []string) string {
	for i, l := range lines[:len(lines)-1] {
		lines[i] = strings.TrimSuffix(strings.TrimRight(l, " \t"), `\`)
	}
	return strings.Join(lines, " ")
}
