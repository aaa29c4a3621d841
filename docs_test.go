package everheap_test

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
	if n := strings.Count(readText(t, "README.md"), "\n"); n >= 150 {
		t.Errorf("README.md has %d lines", n)
	}
}

// Every local file that a document links to is there.
func TestDocuments_LinksLead(t *testing.T) {
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
var documents = []string{"README.md", "ARCHITECTURE.md", "FORMAT.md", "CONTRIBUTING.md", "CHANGELOG.md"}

// symbols are the declared names of one package: functions, types, variables,
// constants, and Type.Method and Type.Field.
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
		if fn.Recv == nil {
			s[fn.Name.Name] = true
			return
		}
		s[receiver(fn.Recv.List[0].Type)+"."+fn.Name.Name] = true
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

// Every name of code in the documents exists: `pkg.Name`, `pkg.Type.Name`. So
// they cannot speak of what was renamed.
func TestDocuments_SymbolsExist(t *testing.T) {
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
	text := readText(t, "ARCHITECTURE.md")
	for _, row := range layers {
		for _, pkg := range row {
			if pkg != "." && !strings.HasPrefix(pkg, "cmd/everheap/") && !strings.Contains(text, "`"+pkg+"`") {
				t.Errorf("ARCHITECTURE.md does not mention `%s`", pkg)
			}
		}
	}
}
