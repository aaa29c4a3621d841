package shell

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/cmd/everheap/internal/query"
	"github.com/everheap/everheap/cmd/everheap/internal/rawjson"
)

// completer completes the word before the cursor.
type completer struct {
	s *session
	t io.Writer
}

// completions are the candidates for the text from an offset of the line on.
type completions struct {
	from   int
	list   []string
	suffix string // appended if there is only one candidate
}

// Limits of the entries examined and the candidates shown for one key press.
const (
	mostKeysSeen = 5000
	mostKeys     = 200
	mostListed   = 60
)

// key implements the callback of term.Terminal.
func (c *completer) key(line string, pos int, key rune) (string, int, bool) {
	if key != '\t' {
		return "", 0, false
	}
	found := c.s.complete(line[:pos])
	if len(found.list) == 0 {
		return line, pos, true
	}
	text := found.list[0]
	for _, other := range found.list[1:] {
		for !strings.HasPrefix(strings.ToLower(other), strings.ToLower(text)) {
			_, n := utf8.DecodeLastRuneInString(text)
			text = text[:len(text)-n]
		}
	}
	if len(found.list) == 1 {
		text += found.suffix
	} else if len(text) <= pos-found.from {
		c.list(found.list)
		return line, pos, true
	}
	return line[:found.from] + text + line[pos:], found.from + len(text), true
}

// list shows the candidates, in columns.
func (c *completer) list(list []string) {
	more := len(list) - mostListed
	if more > 0 {
		list = list[:mostListed]
	}
	wide := 0
	for _, text := range list {
		wide = max(wide, utf8.RuneCountInString(text)+2)
	}
	columns := max(1, max(c.s.width, 20)/wide)
	var b strings.Builder
	for i, text := range list {
		b.WriteString(text)
		if (i+1)%columns == 0 || i == len(list)-1 {
			b.WriteByte('\n')
			continue
		}
		b.WriteString(strings.Repeat(" ", wide-utf8.RuneCountInString(text)))
	}
	if more > 0 {
		fmt.Fprintf(&b, "… and %d more\n", more)
	}
	_, _ = io.WriteString(c.t, b.String())
}

// complete returns the candidates for the end of a line.
func (s *session) complete(line string) (found completions) {
	open := strings.Count(strings.ReplaceAll(line, `\"`, ""), `"`)%2 == 1
	if open {
		found.from = strings.LastIndexByte(line, '"')
	} else {
		found.from = strings.LastIndexAny(line, " \t(),=<>!") + 1
	}
	var before []query.Token
	for at := 0; ; {
		t, err := query.Next(line[:found.from], at)
		if err != nil || t.Kind == query.End {
			break
		}
		before, at = append(before, t), t.After
	}
	_ = s.read(func(tx *everheap.Tx) error { // without a space there are no candidates
		s.candidates(tx, line, before, &found)
		return nil
	})
	begin := line[found.from:]
	found.list = slices.DeleteFunc(found.list, func(text string) bool {
		return len(text) < len(begin) || !strings.EqualFold(text[:len(begin)], begin)
	})
	slices.Sort(found.list)
	found.list = slices.Compact(found.list)
	return found
}

// candidates finds the candidates after some tokens.
func (s *session) candidates(tx *everheap.Tx, line string, before []query.Token, found *completions) {
	found.suffix = " "
	if len(before) == 0 {
		for _, v := range verbs[1:] {
			found.list = append(found.list, v.name)
		}
		found.list = append(found.list, names(tx)...)
		return
	}
	verb := strings.ToLower(before[0].Text)
	name := before[0].Text
	rest := before[1:]
	if isVerb(verb) && before[0].Kind == query.Word {
		if len(rest) == 0 {
			found.list = s.arguments(tx, verb)
			return
		}
		name, rest = rest[0].Text, rest[1:]
	} else {
		verb = ""
	}
	c, err := tx.Collection(name)
	if err != nil {
		return
	}
	switch verb {
	case "get", "del":
		found.keys(tx, c, line[found.from:])
	case "set":
		s.setValue(tx, c, line, rest, found)
	case "", "count", "keys", "explain":
		clauses(tx, c, line[found.from:], rest, found)
	}
}

// names returns the names of the collections, in quotes where they need them.
func names(tx *everheap.Tx) (list []string) {
	infos, err := tx.Collections()
	if err != nil {
		return nil
	}
	for _, i := range infos {
		name := i.Name
		if t, err := query.Next(name, 0); err != nil || t.Kind != query.Word || t.After != len(name) {
			name = string(rawjson.String(name))
		}
		list = append(list, name)
	}
	return list
}

// arguments returns the candidates after a verb.
func (s *session) arguments(tx *everheap.Tx, verb string) []string {
	switch verb {
	case "begin", "commit", "rollback", "ls", "create", ".quit":
		return nil
	case ".mode":
		return []string{"table", "json"}
	case ".help":
		list := slices.Collect(maps.Keys(topics))
		for _, v := range verbs[1:] {
			list = append(list, v.name)
		}
		return list
	case "use":
		if s.Spaces == nil {
			return nil
		}
		return s.Spaces()
	}
	return names(tx)
}

// keys finds the keys of a collection that begin with a text.
func (found *completions) keys(tx *everheap.Tx, c *everheap.Collection, begin string) {
	if c.KeyType() == "" {
		return
	}
	seen := 0
	add := func(key []byte) bool {
		text := string(key)
		if s, ok := rawjson.Plain(key); ok && c.StringKeys() && !strings.HasPrefix(begin, `"`) {
			if t, err := query.Next(s, 0); err == nil && t.Kind == query.Word && t.After == len(s) {
				text = s
			}
		}
		if strings.HasPrefix(text, begin) {
			found.list = append(found.list, text)
		}
		seen++
		return seen < mostKeysSeen && len(found.list) < mostKeys
	}
	in := c.As(everheap.JSON)
	if c.Kind() == "sorted" && c.StringKeys() {
		for k := range in.Prefix(tx, strings.Trim(begin, `"`)) {
			if !add(k) {
				break
			}
		}
		return
	}
	for k := range in.Keys(tx) {
		if !add(k) {
			break
		}
	}
}

// clauses completes a query.
func clauses(tx *everheap.Tx, c *everheap.Collection, begin string, rest []query.Token, found *completions) {
	all := []string{"where", "order by", "limit", "show", "from", "to", "prefix", "reverse"}
	if len(rest) == 0 {
		found.list = all
		return
	}
	last := rest[len(rest)-1]
	clause := clauseOf(rest)
	is := func(words ...string) bool { return slices.ContainsFunc(words, last.Is) }
	operator := last.Kind == query.Operator
	switch {
	case is("from", "to", "prefix"):
		found.keys(tx, c, begin)
	case is("where", "and", "or", "not", "show", "by"), operator && last.Text == "(" && !inList(rest), operator && last.Text == "," && clause != "where":
		found.fields(c, begin)
	case is("order"):
		found.list = []string{"by"}
	case is("is"):
		found.list = []string{"null", "not null"}
	case is("starts", "ends"):
		found.list = []string{"with"}
	case clause == "where" && len(rest) > 1 && last.Kind == query.Word && beforeField(rest[len(rest)-2]):
		found.list = []string{"=", "!=", "<", "<=", ">", ">=", "in (", "contains", "starts with", "ends with", "is null", "is not null"}
	case operator && last.Text != ")", is("contains", "with", "limit"):
	case clause == "where":
		found.list = append(all[1:], "and", "or")
	case clause == "order":
		found.list = append(all[:1:1], append([]string{"desc", "asc"}, all[2:]...)...)
	default:
		found.list = all
	}
}

// clauseOf returns the first word of the clause with the last token.
func clauseOf(rest []query.Token) string {
	for i := len(rest) - 1; i >= 0; i-- {
		for _, word := range []string{"where", "order", "show", "from", "to", "prefix", "limit", "reverse"} {
			if rest[i].Is(word) {
				return word
			}
		}
	}
	return ""
}

// inList reports whether the last token opens a list of values.
func inList(rest []query.Token) bool { return len(rest) > 1 && rest[len(rest)-2].Is("in") }

// beforeField reports whether a field follows a token.
func beforeField(t query.Token) bool {
	return t.Is("where") || t.Is("and") || t.Is("or") || t.Is("not") || t.Kind == query.Operator && t.Text == "("
}

// fields finds the paths that begin with a text.
func (found *completions) fields(c *everheap.Collection, begin string) {
	t := query.Target(c.ValueInfo())
	done := ""
	for {
		step, rest, more := strings.Cut(begin, ".")
		if !more {
			break
		}
		i := slices.IndexFunc(t.Fields, func(f everheap.FieldInfo) bool { return strings.EqualFold(f.Name, step) })
		if i < 0 {
			return
		}
		done += t.Fields[i].Name + "."
		t = query.Target(t.Fields[i].Type)
		begin = rest
	}
	for _, f := range t.Fields {
		found.list = append(found.list, done+f.Name)
	}
	if done == "" {
		found.list = append(found.list, "not")
		if c.KeyType() != "" {
			found.list = append(found.list, "key")
		}
		if len(t.Fields) == 0 {
			found.list = append(found.list, "value")
		}
	}
}

// setValue completes a key, or the name of a field in a value.
func (s *session) setValue(tx *everheap.Tx, c *everheap.Collection, line string, rest []query.Token, found *completions) {
	at := strings.IndexByte(line, '{')
	if at < 0 {
		if len(rest) == 0 {
			found.keys(tx, c, line[found.from:])
		}
		return
	}
	if found.from = strings.LastIndexByte(line, '"'); found.from < at {
		return
	}
	t := objectAt(c.ValueInfo(), line[at:found.from])
	if t == nil {
		return
	}
	found.suffix = ": "
	for _, f := range t.Fields {
		found.list = append(found.list, `"`+f.Name+`"`)
	}
}

// objectAt returns the type of the object in which a piece of JSON ends, if the name of a member
// comes next, else nil.
func objectAt(t *everheap.TypeInfo, text string) *everheap.TypeInfo {
	stack := []*everheap.TypeInfo{}
	next := query.Target(t) // of the value that follows
	var name string
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '{', '[':
			if next == nil {
				return nil
			}
			stack = append(stack, next)
			if text[i] == '[' {
				next = elemOf(next)
			}
		case '}', ']':
			if len(stack) == 0 {
				return nil
			}
			stack = stack[:len(stack)-1]
		case '"':
			n := rawjson.Span([]byte(text[i:]))
			if n == 0 {
				return nil
			}
			name, _ = rawjson.Plain([]byte(text[i : i+n]))
			i += n - 1
		case ':':
			next = nil
			if top := stack[max(len(stack)-1, 0):]; len(top) > 0 {
				for _, f := range top[0].Fields {
					if f.Name == name {
						next = query.Target(f.Type)
					}
				}
			}
		}
	}
	text = strings.TrimRight(text, " ")
	if len(stack) == 0 || !strings.HasSuffix(text, "{") && !strings.HasSuffix(text, ",") {
		return nil
	}
	return stack[len(stack)-1]
}

// elemOf returns the type of elements, or nil.
func elemOf(t *everheap.TypeInfo) *everheap.TypeInfo {
	if t.Elem == nil {
		return nil
	}
	return query.Target(t.Elem)
}
