package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// readText reads a file of the repository.
func readText(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The program in README.md is the one that example_test.go runs.
func TestReadme_ProgramIsTheExample(t *testing.T) {
	inRoot(t)
	program := strings.NewReplacer(
		"package everheap_test\n", "package main\n",
		"func Example() {\n", "func main() {\n",
	).Replace(readText(t, "example_test.go"))
	output := regexp.MustCompile(`(?m)^\t// Output:.*\n`)
	if !output.MatchString(program) {
		t.Fatal("example_test.go has no output that is compared")
	}
	program = output.ReplaceAllString(program, "")
	if !strings.Contains(readText(t, "README.md"), "```go\n"+program+"```\n") {
		t.Errorf("README.md does not show the program of example_test.go, which is:\n%s", program)
	}
}

func TestReadme_Short(t *testing.T) {
	inRoot(t)
	if n := strings.Count(readText(t, "README.md"), "\n"); n >= 150 {
		t.Errorf("README.md has %d lines", n)
	}
}

// Every local file that a document links to is there.
func TestDocuments_LinksLead(t *testing.T) {
	inRoot(t)
	link := regexp.MustCompile(`\]\(([^)#:\s"]+)(#[^)]*)?\)`)
	for _, doc := range documents {
		for _, m := range link.FindAllStringSubmatch(readText(t, doc), -1) {
			if _, err := os.Stat(m[1]); err != nil {
				t.Errorf("%s links to %s: %v", doc, m[1], err)
			}
		}
	}
}

// documents are the texts whose names of code are verified.
var documents = []string{"README.md", "ARCHITECTURE.md", "FORMAT.md", "CONTRIBUTING.md", "CHANGELOG.md", "BENCHMARKS.md"}

// symbols are the declared names of one package: functions, types, variables,
// constants, and Type.Method and Type.Field; functions and methods once more, with ().
type symbols map[string]bool

// declaredSymbols parses the package in a directory, test files included.
func declaredSymbols(t *testing.T, dir string) symbols {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	s := symbols{}
	for _, path := range files {
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			s.add(d)
		}
	}
	return s
}

// add enters the names that a declaration declares.
func (s symbols) add(d ast.Decl) {
	if fn, ok := d.(*ast.FuncDecl); ok {
		name := fn.Name.Name
		if fn.Recv != nil {
			name = receiver(fn.Recv.List[0].Type) + "." + name
		}
		s[name], s[name+"()"] = true, true
		return
	}
	for _, spec := range d.(*ast.GenDecl).Specs {
		switch spec := spec.(type) {
		case *ast.ValueSpec:
			for _, name := range spec.Names {
				s[name.Name] = true
			}
		case *ast.TypeSpec:
			s[spec.Name.Name] = true
			if st, ok := spec.Type.(*ast.StructType); ok {
				for _, field := range st.Fields.List {
					for _, name := range field.Names {
						s[spec.Name.Name+"."+name.Name] = true
					}
				}
			}
		}
	}
}

// receiver returns the name of the type of a receiver.
func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

// codeNames are the declared names of all packages, by directory.
type codeNames map[string]symbols

// declaredEverywhere parses all packages.
func declaredEverywhere(t *testing.T) codeNames {
	t.Helper()
	_, packages := sourceImports(t)
	names := codeNames{}
	for _, dir := range packages {
		names[dir] = declaredSymbols(t, dir)
	}
	return names
}

// find returns the full name, with its package, of what a comment in a directory calls name: a
// declared name of the package; a method or field, without its type; or either of them in another
// package, whose name comes first. It returns "" if there is none.
func (names codeNames) find(dir, name string) string {
	if full := names[dir].find(name); full != "" {
		return filepath.Base(dir) + "." + full
	}
	pkg, rest, ok := strings.Cut(name, ".")
	for other, s := range names {
		if ok && filepath.Base(other) == pkg {
			if full := s.find(rest); full != "" {
				return pkg + "." + full
			}
		}
	}
	return ""
}

// find returns the declared name that is name, or, if there is one alone, that ends in it.
func (s symbols) find(name string) string {
	if s[name] {
		return name
	}
	found := ""
	for full := range s {
		if strings.HasSuffix(full, "."+name) && (found == "" || full < found) {
			found = full
		}
	}
	return found
}

// ambiguous reports whether several declared names end in name, and none is it.
func (s symbols) ambiguous(name string) bool {
	n := 0
	for full := range s {
		if strings.HasSuffix(full, "."+name) {
			n++
		}
	}
	return n > 1 && !s[name]
}

// named is a word of a comment that is written as a name of code is.
var named = regexp.MustCompile(`\b[A-Za-z]\w*(?:\.[A-Za-z]\w*)*\b`)

// codeNamesIn returns the words of a comment that can be nothing but names of code of this module: those
// with a capital in the middle, and those with a point between a package, or a type, and
// a name. Where the comment says where to start reading, all words with a capital are.
func (names codeNames) codeNamesIn(text string) (list []string) {
	_, start, _ := strings.Cut(text, "Start reading at ")
	packages := map[string]bool{}
	for dir := range names {
		packages[filepath.Base(dir)] = true
	}
	for _, w := range named.FindAllString(text, -1) {
		first, second, dotted := strings.Cut(w, ".")
		switch {
		case strings.HasSuffix(w, ".md"), strings.HasSuffix(w, ".toml"):
		case dotted && second == "go", !dotted && camel.MatchString(w):
			list = append(list, w)
		case dotted && (packages[first] || first[0] < 'a'):
			list = append(list, w)
		}
	}
	for _, w := range named.FindAllString(start, -1) {
		if w[0] < 'a' && !strings.Contains(w, ".") {
			list = append(list, w)
		}
	}
	return list
}

// camel is a name that begins small, and has a capital in the middle.
var camel = regexp.MustCompile(`^[a-z]+[A-Z]\w*$`)

// Package comments, and comments that define invariants, name code that exists: so nobody
// looks for a function that was renamed.
func TestComments_SymbolsExist(t *testing.T) {
	inRoot(t)
	names := declaredEverywhere(t)
	found := 0
	for dir := range names {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range files {
			f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, group := range f.Comments {
				if group != f.Doc && !definesInvariant(group) {
					continue
				}
				for _, w := range names.codeNamesIn(group.Text()) {
					found++
					if _, err := os.Stat(filepath.Join(dir, w)); names.find(dir, w) == "" && err != nil && !foreignNames[w] {
						t.Errorf("%s: a comment speaks of %s, which does not exist", path, w)
					}
				}
			}
		}
	}
	if found < 100 {
		t.Errorf("only %d names of code were found; the test no longer sees them", found)
	}
}

// foreignNames look like names of code, and are none.
var foreignNames = map[string]bool{"NAME.new": true}

// Every name of code in the documents exists: `pkg.Name`, `pkg.Type.Name`. So
// they cannot speak of what was renamed.
func TestDocuments_SymbolsExist(t *testing.T) {
	inRoot(t)
	_, packages := sourceImports(t)
	dirs := map[string]string{"everheap": "."}
	for _, dir := range packages {
		if dir != "." && !strings.HasPrefix(dir, "cmd/") {
			dirs[filepath.Base(dir)] = dir
		}
	}
	name := regexp.MustCompile("`([a-z]+)\\.([A-Za-z]\\w*(?:\\.[A-Za-z]\\w*)?)(?:\\([^`]*\\))?`")
	parsed := map[string]symbols{}
	found := 0
	for _, doc := range documents {
		for _, m := range name.FindAllStringSubmatch(readText(t, doc), -1) {
			dir, ok := dirs[m[1]]
			if !ok {
				continue // of the standard library, or a file
			}
			if parsed[dir] == nil {
				parsed[dir] = declaredSymbols(t, dir)
			}
			found++
			if !parsed[dir][m[2]] {
				t.Errorf("%s speaks of `%s.%s`, which does not exist", doc, m[1], m[2])
			}
		}
	}
	if found < 30 {
		t.Errorf("only %d names of code were found; the test no longer sees them", found)
	}
}

// ARCHITECTURE.md names each package of the library.
func TestArchitecture_NamesEveryPackage(t *testing.T) {
	inRoot(t)
	text := readText(t, "ARCHITECTURE.md")
	for _, row := range layers {
		for _, pkg := range row {
			if pkg != "." && !strings.HasPrefix(pkg, "cmd/everheap/") && !strings.Contains(text, "`"+pkg+"`") {
				t.Errorf("ARCHITECTURE.md does not mention `%s`", pkg)
			}
		}
	}
}
