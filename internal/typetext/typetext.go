// Package typetext reads the type of a collection from text in Go syntax, as TypeSource prints it,
// without a Go type. The types that it returns have, byte for byte, the descriptors of the Go types.
//
// The text is the type of the collection and the declarations of the types that it names:
//
//	map[string]User
//
//	type User struct {
//		Name string
//		Tags []string
//	}
//
// or a source file whose package comment lists collections and their types, as the files of
// TypeSource do. A type has the name of its package, main if there is no package clause: main.User.
// The comment of a declaration can give another name ("User is stored as shop.User."), with the
// import path of the package if the path is not its name ("User is stored as shop.User, of
// example.org/shop."); so does the import comment of a package clause. The path matters if a named
// type is a part of a handle's type.
//
// Start reading at Parse, then reader.draft.
package typetext

import (
	"cmp"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"regexp"
	"strings"

	"github.com/everheap/everheap/internal/layout"
)

// Kind is the kind of a collection, by its stored name.
type Kind string

// The kinds of collections.
const (
	Map    Kind = "map"
	Sorted Kind = "sorted"
	List   Kind = "list"
	Ref    Kind = "ref"
)

// Collection is the type of a collection.
type Collection struct {
	Kind   Kind
	Key    *layout.Type // nil for a list or a single value
	Value  *layout.Type
	Handle *layout.Type // the type of handles of the collection
}

// Error says what is wrong in a text, and where.
type Error struct {
	Line, Column int // from 1; the column counts bytes
	What         string
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("%d:%d: %s", e.Line, e.Column, e.What) }

// maxSource bounds the bytes of a text.
const maxSource = 1 << 20

// Parse reads the type of a collection. If the text is a source file, name is the name of the
// collection in the package comment. library is the import path of the package with the handles. The
// error is an *Error.
func Parse(text, name, library string) (*Collection, error) {
	if len(text) > maxSource {
		return nil, &Error{1, 1, fmt.Sprintf("the text has %d bytes; shorten it to at most %d", len(text), maxSource)}
	}
	r := &reader{library: library, text: text, fset: token.NewFileSet(), packageName: "main", path: "main",
		declared: map[string]*declaration{}, imports: map[string]string{}, named: map[string]*layout.Draft{}, shared: map[string]*layout.Draft{}, at: map[*layout.Draft]token.Pos{}, numbers: map[*layout.Draft]int{}}
	expr, err := r.read(name)
	if err != nil {
		return nil, r.locate(err)
	}
	c, err := r.collection(expr)
	if err != nil {
		return nil, r.locate(err)
	}
	return c, nil
}

// posError is an error at a place.
type posError struct {
	pos  token.Pos
	what string
}

// Error implements error.
func (e *posError) Error() string { return e.what }

func errorAt(n ast.Node, format string, args ...any) error {
	return &posError{n.Pos(), fmt.Sprintf(format, args...)}
}

// declaration is a type that is declared in the text.
type declaration struct {
	spec   *ast.TypeSpec
	stored string // the name by which it is stored
	path   string // of its package
	coded  layout.Kind
	draft  *layout.Draft
}

// reader reads one text.
type reader struct {
	library     string
	text        string
	fset        *token.FileSet
	packageName string
	path        string
	declared    map[string]*declaration
	imports     map[string]string // path by name
	named       map[string]*layout.Draft
	shared      map[string]*layout.Draft // types without a name, by their parts
	at          map[*layout.Draft]token.Pos
	numbers     map[*layout.Draft]int
	depth       int
	parts       int // types read so far
	left        int // bytes left for the name of a handle
	pending     []copied
	lenient     bool // a type that cannot be stored only takes room
}

// locate turns an error into an *Error, with a place in the text.
func (r *reader) locate(err error) error {
	place := func(p token.Position, what string) error {
		if p.Line == 1 && p.Filename == afterClause {
			p.Column -= len(clause)
		}
		return &Error{max(p.Line, 1), max(p.Column, 1), what}
	}
	if list := (scanner.ErrorList)(nil); errors.As(err, &list) {
		return place(list[0].Pos, list[0].Msg)
	}
	if e := (*posError)(nil); errors.As(err, &e) {
		return place(r.fset.Position(e.pos), e.what)
	}
	return &Error{1, 1, err.Error()}
}

// clause is put before the declarations, which the parser then gets as the file afterClause.
const (
	clause      = "package p;"
	afterClause = "declarations"
)

// read splits the text into the type of the collection and the declarations.
func (r *reader) read(name string) (ast.Expr, error) {
	first, firstAt, end := r.firstToken()
	switch first {
	case "":
		return nil, &posError{token.NoPos, "the text is empty; write a type such as map[string]int"}
	case "package":
		return r.readFile(name)
	}
	text := []byte(r.text)
	if first == "sorted" {
		copy(text[firstAt:], "map   ")
	}
	if first == "type" || first == "import" {
		return nil, r.offsetError(firstAt, "write the type of the collection first, such as map[string]User, and then the declarations")
	}
	expr, err := parser.ParseExprFrom(r.fset, "", text[:end], 0)
	if err != nil {
		return nil, err
	}
	if first == "sorted" {
		if m, ok := expr.(*ast.MapType); ok {
			expr = &sortedType{m}
		}
	}
	if end < len(text) && text[end] == ';' {
		end++
	}
	for i := range end {
		if text[i] != '\n' {
			text[i] = ' '
		}
	}
	f, err := parser.ParseFile(r.fset, afterClause, clause+string(text), parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	return expr, r.declarations(f)
}

// sortedType is the type of a sorted collection, which Go syntax lacks.
type sortedType struct{ *ast.MapType }

// offsetError is an error at a byte of the text.
func (r *reader) offsetError(at int, what string) error {
	before := r.text[:at]
	line := 1 + strings.Count(before, "\n")
	return scanner.ErrorList{{Pos: token.Position{Line: line, Column: at - strings.LastIndexByte(before, '\n')}, Msg: what}}
}

// firstToken returns the first token of the text, its offset, and the offset of the end of the first
// statement.
func (r *reader) firstToken() (first string, at, end int) {
	var s scanner.Scanner
	file := token.NewFileSet().AddFile("", -1, len(r.text))
	s.Init(file, []byte(r.text), nil, 0)
	depth := 0
	for {
		pos, tok, lit := s.Scan()
		offset := file.Offset(pos)
		switch tok {
		case token.EOF:
			return first, at, len(r.text)
		case token.LPAREN, token.LBRACE, token.LBRACK:
			depth++
		case token.RPAREN, token.RBRACE, token.RBRACK:
			depth--
		case token.SEMICOLON:
			if depth <= 0 && first != "" {
				return first, at, offset
			}
			continue
		}
		if first == "" {
			first, at = cmp.Or(lit, tok.String()), offset
		}
	}
}

// listed matches a line of the package comment with a collection and its type.
var listed = regexp.MustCompile(`(?m)^\s*(?://)?\t(.*)\t(.*)$`)

// readFile reads a whole source file.
func (r *reader) readFile(name string) (ast.Expr, error) {
	f, err := parser.ParseFile(r.fset, "", r.text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	r.packageName = f.Name.Name
	r.path = f.Name.Name
	for _, g := range f.Comments {
		for _, c := range g.List {
			if p, ok := strings.CutPrefix(c.Text, "// import "); ok && r.fset.Position(c.Pos()).Line == r.fset.Position(f.Name.Pos()).Line {
				r.path = strings.Trim(strings.TrimSpace(p), `"`)
			}
		}
	}
	if err := r.declarations(f); err != nil {
		return nil, err
	}
	var comment string
	if f.Doc != nil {
		for _, c := range f.Doc.List {
			comment += c.Text + "\n"
		}
	}
	for _, m := range listed.FindAllStringSubmatch(comment, -1) {
		if m[1] != name && m[1] != fmt.Sprintf("%q", name) {
			continue
		}
		expr, err := parser.ParseExprFrom(r.fset, "", m[2], 0)
		if err != nil {
			return nil, errorAt(f.Doc, "the package comment does not give a type of %s: %v", name, err)
		}
		return expr, nil
	}
	return nil, errorAt(f, "the package comment does not list a collection %q; write the type of the collection before the declarations, and no package clause", name)
}

// storedAs matches the stored name in the comment of a declaration.
var storedAs = regexp.MustCompile(`(?s)^\S+ is stored as (.*?)(?:, of ([^\s,]+))?(?:, by its own method: this has the bytes)?\.\s*$`)

// declarations notes the types declared in a file.
func (r *reader) declarations(f *ast.File) error {
	methods := map[string]map[string]bool{}
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil || len(d.Recv.List) != 1 {
				return errorAt(d, "remove the function: only types can be declared")
			}
			on := d.Recv.List[0].Type
			if p, ok := on.(*ast.StarExpr); ok {
				on = p.X
			}
			if id, ok := on.(*ast.Ident); ok {
				if methods[id.Name] == nil {
					methods[id.Name] = map[string]bool{}
				}
				methods[id.Name][d.Name.Name] = true
			}
		case *ast.GenDecl:
			if err := r.general(d); err != nil {
				return err
			}
		}
	}
	for name, has := range methods {
		d := r.declared[name]
		switch {
		case d == nil:
		case has["MarshalBinary"] && has["UnmarshalBinary"]:
			d.coded = layout.Binary
		case has["MarshalText"] && has["UnmarshalText"]:
			d.coded = layout.Text
		}
	}
	return nil
}

// general notes the types or imports of one declaration.
func (r *reader) general(d *ast.GenDecl) error {
	for _, s := range d.Specs {
		switch s := s.(type) {
		case *ast.ImportSpec:
			path := strings.Trim(s.Path.Value, `"`)
			name := path[strings.LastIndexByte(path, '/')+1:]
			if s.Name != nil {
				name = s.Name.Name
			}
			r.imports[name] = path
		case *ast.TypeSpec:
			if s.TypeParams != nil {
				return errorAt(s, "write the type %s out for each of its arguments: types with parameters cannot be stored", s.Name.Name)
			}
			if r.declared[s.Name.Name] != nil {
				return errorAt(s, "%s is declared twice", s.Name.Name)
			}
			decl := &declaration{spec: s, stored: r.packageName + "." + s.Name.Name, path: r.path}
			doc := s.Doc
			if doc == nil {
				doc = d.Doc
			}
			if doc != nil {
				first := strings.SplitN(doc.Text(), "\n\n", 2)[0]
				if m := storedAs.FindStringSubmatch(first); m != nil {
					decl.stored = m[1]
					decl.path = cmp.Or(m[2], packageOf(m[1]))
				}
			}
			r.declared[s.Name.Name] = decl
		default:
			return errorAt(s, "remove the declaration of values: only types can be declared")
		}
	}
	return nil
}

// packageOf returns the package of a stored name, which may have type arguments.
func packageOf(stored string) string {
	head, _, _ := strings.Cut(stored, "[")
	pkg, _, _ := strings.Cut(head, ".")
	return pkg
}

// collection reads the type of the collection.
func (r *reader) collection(e ast.Expr) (*Collection, error) {
	for {
		p, ok := e.(*ast.ParenExpr)
		if !ok {
			break
		}
		e = p.X
	}
	var kind Kind
	var key, value ast.Expr
	switch t := e.(type) {
	case *sortedType:
		kind, key, value = Sorted, t.Key, t.Value
	case *ast.MapType:
		kind, key, value = Map, t.Key, t.Value
	case *ast.ArrayType:
		if t.Len == nil {
			kind, value = List, t.Elt
		}
	case *ast.StarExpr:
		kind, value = Ref, t.X
	case *ast.IndexExpr, *ast.IndexListExpr:
		name, args, ok := r.handleOf(e)
		if !ok {
			break
		}
		handle := handles[name]
		if len(args) != handle.args {
			return nil, errorAt(e, "everheap.%s has %d type arguments, and not %d", name, handle.args, len(args))
		}
		kind, value = handle.kind, args[len(args)-1]
		if len(args) == 2 {
			key = args[0]
		}
	}
	if kind == "" {
		return nil, errorAt(e, "a collection is map[K]V, sorted[K]V, []T, or *T for a single value")
	}
	parts := []ast.Expr{value}
	if key != nil {
		k, err := r.compile(key)
		if err != nil {
			return nil, err
		}
		keyErr := k.KeyError()
		if kind == Sorted {
			keyErr = k.OrderError()
		}
		if keyErr != nil {
			return nil, errorAt(key, "%s", strings.TrimPrefix(keyErr.Error(), "everheap: "))
		}
		parts = []ast.Expr{key, value}
	}
	if _, err := r.compile(value); err != nil {
		return nil, err
	}
	d, err := r.handleDraft(names[kind], parts)
	if err != nil {
		return nil, err
	}
	t, err := d.Compile()
	if err != nil {
		return nil, &posError{e.Pos(), err.Error()}
	}
	return &Collection{Kind: kind, Key: t.Key(), Value: t.Elem(), Handle: t}, nil
}

// names has the names of the handle types, by the kinds of collections.
var names = map[Kind]string{Map: "Map", Sorted: "Sorted", List: "List", Ref: "Ref"}

// compile reads a type and completes it.
func (r *reader) compile(e ast.Expr) (*layout.Type, error) {
	d, err := r.draft(e)
	if err == nil {
		err = r.complete()
	}
	if err != nil {
		return nil, err
	}
	t, err := d.Compile()
	if de := (*layout.DraftError)(nil); errors.As(err, &de) {
		pos := r.at[de.At]
		if pos == token.NoPos {
			pos = e.Pos()
		}
		return nil, &posError{pos, de.Advice}
	}
	return t, err
}

// handles has the types of handles, and Dict, which is neither a handle nor a collection.
var handles = map[string]struct {
	kind   Kind
	layout layout.Kind
	args   int
}{"Map": {Map, layout.Map, 2}, "Sorted": {Sorted, layout.Sorted, 2}, "List": {List, layout.List, 1}, "Ref": {Ref, layout.Ref, 1}, "Dict": {"", layout.Dict, 2}}

// handleOf reports whether an expression is a type in handles, and returns its name and arguments.
func (r *reader) handleOf(e ast.Expr) (name string, args []ast.Expr, ok bool) {
	var x ast.Expr
	switch t := e.(type) {
	case *ast.IndexExpr:
		x, args = t.X, []ast.Expr{t.Index}
	case *ast.IndexListExpr:
		x, args = t.X, t.Indices
	default:
		return "", nil, false
	}
	s, ok := x.(*ast.SelectorExpr)
	if !ok {
		return "", nil, false
	}
	pkg, isIdent := s.X.(*ast.Ident)
	if !isIdent || r.pathOf(pkg.Name) != r.library {
		return "", nil, false
	}
	_, ok = handles[s.Sel.Name]
	return s.Sel.Name, args, ok
}

// pathOf returns the import path of a package, by its name in the text.
func (r *reader) pathOf(name string) string {
	if p, ok := r.imports[name]; ok {
		return p
	}
	return map[string]string{"time": "time", "netip": "net/netip", "json": "encoding/json", "everheap": r.library}[name]
}
