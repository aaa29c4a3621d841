package query

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/everheap/everheap/cmd/everheap/internal/rawjson"
)

// Query is a parsed query.
type Query struct {
	Collection string
	From, To   *Literal // keys; To is excluded
	Prefix     *Literal // of keys
	Reverse    bool
	Where      Expr // nil for all
	Show       []*Path
	Order      []Order
	Limit      int  // -1: none
	AnyOrder   bool // the rows may come in any order, as for counting them
}

// Order is a part of an order.
type Order struct {
	By   *Path
	Down bool
}

// Expr is a condition.
type Expr interface{ expr() }

// And, Or, Not and Compare are the conditions.
type (
	And     struct{ A, B Expr }
	Or      struct{ A, B Expr }
	Not     struct{ A Expr }
	Compare struct {
		Path *Path
		Op   string // = != < <= > >= in contains starts ends
		With []Literal
	}
)

func (*And) expr()     {}
func (*Or) expr()      {}
func (*Not) expr()     {}
func (*Compare) expr() {}

// Path is a place in an entry: key, value, or a field, with steps further in.
type Path struct {
	Text  string
	At    int
	steps []step
	bound
}

// step is a step from a value to a part of it.
type step struct {
	name  string
	index int // index of an element, if name is empty
}

// Literal is a value in a text.
type Literal struct {
	JSON []byte
	Bare string // a word without quotes: a key may be one, a value not
	At   int
}

// words has the words that begin clauses: a collection with such a name needs quotes.
var words = []string{"from", "to", "prefix", "reverse", "where", "show", "order", "limit"}

// maxDepth bounds the nesting of conditions.
const maxDepth = 200

// parser reads tokens.
type parser struct {
	text  string
	tok   Token
	depth int
}

// next goes to the next token.
func (p *parser) next() (err error) {
	p.tok, err = Next(p.text, p.tok.After)
	return err
}

// Parse reads a query from an offset of a text, after the name of its collection.
func Parse(text string, at int, collection string) (*Query, error) {
	p := parser{text: text, tok: Token{After: at}}
	q := &Query{Collection: collection, Limit: -1}
	if err := p.next(); err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for p.tok.Kind != End {
		word := strings.ToLower(p.tok.Text)
		if p.tok.Kind == Word && seen[word] {
			return nil, errorf(p.tok.At, "%s stands twice", word)
		}
		seen[word] = true
		if err := p.clause(q, word); err != nil {
			return nil, err
		}
	}
	if q.Prefix != nil && (q.From != nil || q.To != nil) {
		return nil, errorf(at, "give a prefix, or from and to, not both")
	}
	return q, nil
}

// clause reads a clause.
func (p *parser) clause(q *Query, word string) (err error) {
	at := p.tok.At
	if p.tok.Kind != Word {
		word = ""
	}
	found := p.tok.Text
	if err := p.next(); err != nil {
		return err
	}
	switch word {
	case "from":
		q.From, err = p.literal(true)
	case "to":
		q.To, err = p.literal(true)
	case "prefix":
		q.Prefix, err = p.literal(true)
	case "reverse":
		q.Reverse = true
	case "where":
		q.Where, err = p.or()
	case "show":
		q.Show, err = p.paths()
	case "order":
		if !p.tok.Is("by") {
			return errorf(p.tok.At, "by is expected after order: order by FIELD")
		}
		if err = p.next(); err == nil {
			q.Order, err = p.order()
		}
	case "limit":
		n, convErr := strconv.Atoi(p.tok.Text)
		if p.tok.Kind != Word || convErr != nil || n < 0 {
			return errorf(p.tok.At, "a number is expected after limit")
		}
		q.Limit = n
		err = p.next()
	default:
		return errorf(at, "%s is not understood here; what can follow: %s", show(found), strings.Join(words, ", "))
	}
	return err
}

// show quotes a piece of a text for an error.
func show(text string) string {
	if text == "" {
		return "the end"
	}
	return strconv.Quote(text)
}

// or reads a condition.
func (p *parser) or() (Expr, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, errorf(p.tok.At, "the condition is nested too deeply")
	}
	defer func() { p.depth-- }()
	a, err := p.and()
	for err == nil && p.tok.Is("or") {
		if err = p.next(); err != nil {
			break
		}
		var b Expr
		if b, err = p.and(); err == nil {
			a = &Or{a, b}
		}
	}
	return a, err
}

// and reads conditions that must all hold.
func (p *parser) and() (Expr, error) {
	a, err := p.not()
	for err == nil && p.tok.Is("and") {
		if err = p.next(); err != nil {
			break
		}
		var b Expr
		if b, err = p.not(); err == nil {
			a = &And{a, b}
		}
	}
	return a, err
}

// not reads one condition.
func (p *parser) not() (Expr, error) {
	switch {
	case p.tok.Is("not"):
		if p.depth++; p.depth > maxDepth {
			return nil, errorf(p.tok.At, "the condition is nested too deeply")
		}
		defer func() { p.depth-- }()
		if err := p.next(); err != nil {
			return nil, err
		}
		a, err := p.not()
		return &Not{a}, err
	case p.tok.Kind == Operator && p.tok.Text == "(":
		at := p.tok.At
		if err := p.next(); err != nil {
			return nil, err
		}
		a, err := p.or()
		if err != nil {
			return nil, err
		}
		if p.tok.Kind != Operator || p.tok.Text != ")" {
			return nil, errorf(at, "the ( is not closed")
		}
		return a, p.next()
	}
	return p.compare()
}

// compare reads a comparison.
func (p *parser) compare() (Expr, error) {
	path, err := p.path()
	if err != nil {
		return nil, err
	}
	c := &Compare{Path: path}
	op := p.tok
	switch {
	case op.Kind == Operator && op.Text != "(" && op.Text != ")" && op.Text != ",":
		c.Op = op.Text
	case op.Is("contains"), op.Is("starts"), op.Is("ends"):
		c.Op = strings.ToLower(op.Text)
	case op.Is("in"):
		return c, p.list(c)
	case op.Is("is"):
		return p.isNull(c)
	default:
		return nil, errorf(op.At, "after %s a comparison is expected (=, !=, <, <=, >, >=, in, contains, starts, ends, is null), and not %s", path.Text, show(op.Text))
	}
	if err := p.next(); err != nil {
		return nil, err
	}
	if (c.Op == "starts" || c.Op == "ends") && p.tok.Is("with") {
		if err := p.next(); err != nil {
			return nil, err
		}
	}
	l, err := p.literal(false)
	if err == nil {
		c.With = []Literal{*l}
	}
	return c, err
}

// list reads the values after in.
func (p *parser) list(c *Compare) error {
	c.Op = "in"
	if err := p.next(); err != nil {
		return err
	}
	if p.tok.Kind != Operator || p.tok.Text != "(" {
		return errorf(p.tok.At, "a list is expected after in: in (1, 2)")
	}
	for {
		if err := p.next(); err != nil {
			return err
		}
		l, err := p.literal(false)
		if err != nil {
			return err
		}
		c.With = append(c.With, *l)
		switch {
		case p.tok.Kind == Operator && p.tok.Text == ",":
		case p.tok.Kind == Operator && p.tok.Text == ")":
			return p.next()
		default:
			return errorf(p.tok.At, "a comma or ) is expected in the list, and not %s", show(p.tok.Text))
		}
	}
}

// isNull reads is null, and is not null.
func (p *parser) isNull(c *Compare) (Expr, error) {
	if err := p.next(); err != nil {
		return nil, err
	}
	c.Op = "="
	if p.tok.Is("not") {
		c.Op = "!="
		if err := p.next(); err != nil {
			return nil, err
		}
	}
	if !p.tok.Is("null") {
		return nil, errorf(p.tok.At, "null is expected after is, and not %s", show(p.tok.Text))
	}
	c.With = []Literal{{JSON: []byte("null"), At: p.tok.At}}
	return c, p.next()
}

// literal reads a value. A key may be a word.
func (p *parser) literal(key bool) (*Literal, error) {
	l := &Literal{At: p.tok.At}
	switch t := p.tok; t.Kind {
	case Text:
		l.JSON = rawjson.String(t.Text)
	case JSON:
		if !json.Valid([]byte(t.Text)) {
			return nil, errorf(t.At, "this is not JSON: %s", t.Text)
		}
		l.JSON = []byte(t.Text)
	case Word:
		l.JSON = []byte(t.Text)
		if !json.Valid(l.JSON) {
			if !key {
				return nil, errorf(t.At, "%s is not a value; a text has quotes: \"%s\"", t.Text, t.Text)
			}
			l.JSON = rawjson.String(t.Text)
		}
		l.Bare = t.Text
	default:
		return nil, errorf(t.At, "a value is expected, and not %s", show(t.Text))
	}
	return l, p.next()
}

// paths reads a list of paths.
func (p *parser) paths() (list []*Path, err error) {
	for {
		path, err := p.path()
		if err != nil {
			return nil, err
		}
		list = append(list, path)
		if p.tok.Kind != Operator || p.tok.Text != "," {
			return list, nil
		}
		if err := p.next(); err != nil {
			return nil, err
		}
	}
}

// order reads an order.
func (p *parser) order() (list []Order, err error) {
	for {
		path, err := p.path()
		if err != nil {
			return nil, err
		}
		o := Order{By: path}
		if p.tok.Is("desc") || p.tok.Is("asc") {
			o.Down = p.tok.Is("desc")
			if err := p.next(); err != nil {
				return nil, err
			}
		}
		list = append(list, o)
		if p.tok.Kind != Operator || p.tok.Text != "," {
			return list, nil
		}
		if err := p.next(); err != nil {
			return nil, err
		}
	}
}

// path reads a path: Name, Home.City, Tags[0].
func (p *parser) path() (*Path, error) {
	t := p.tok
	if t.Kind != Word {
		return nil, errorf(t.At, "a field is expected, and not %s", show(t.Text))
	}
	path := &Path{Text: t.Text, At: t.At}
	rest := t.Text
	for {
		end := strings.IndexAny(rest, ".[")
		if end < 0 {
			end = len(rest)
		}
		if end == 0 {
			return nil, errorf(t.At, "%s is not a field", t.Text)
		}
		path.steps = append(path.steps, step{name: rest[:end]})
		rest = rest[end:]
		for strings.HasPrefix(rest, "[") {
			close := strings.IndexByte(rest, ']')
			if close < 0 {
				return nil, errorf(t.At, "%s: the [ is not closed", t.Text)
			}
			n, err := strconv.Atoi(rest[1:close])
			if err != nil || n < 0 {
				return nil, errorf(t.At, "%s: an index is expected between [ and ]", t.Text)
			}
			path.steps = append(path.steps, step{index: n})
			rest = rest[close+1:]
		}
		if rest == "" {
			return path, p.next()
		}
		if rest[0] != '.' {
			return nil, errorf(t.At, "%s is not a field", t.Text)
		}
		rest = rest[1:]
	}
}

// LiteralOf returns a token as a value. A word is accepted, too: as a key it is a string.
func LiteralOf(t Token) (*Literal, error) {
	p := parser{text: t.Text, tok: t}
	p.tok.After = len(p.text) // nothing follows
	return p.literal(true)
}
