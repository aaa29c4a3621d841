package invariant

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// pointCalls returns the names that the library passes to Point, with the file of each call.
func pointCalls(t *testing.T) map[string]string {
	t.Helper()
	calls := map[string]string{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) != 1 {
				return true
			}
			if !isPoint(call.Fun) {
				return true
			}
			name, ok := call.Args[0].(*ast.BasicLit)
			if !ok {
				t.Errorf("%s: the name of a point must be a constant", path)
				return true
			}
			text, err := strconv.Unquote(name.Value)
			if err != nil {
				t.Error(err)
			}
			calls[text] = path
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return calls
}

// isPoint reports whether an expression is invariant.Point.
func isPoint(e ast.Expr) bool {
	fn, ok := e.(*ast.SelectorExpr)
	if !ok || fn.Sel.Name != "Point" {
		return false
	}
	pkg, ok := fn.X.(*ast.Ident)
	return ok && pkg.Name == "invariant"
}

// Points lists exactly the points in the sources. No test arms a point that is not listed,
// and the kill loop waits in vain at a listed point that no process passes.
func TestPoints_ArePassed(t *testing.T) {
	if _, err := os.Stat("../live/live.go"); err != nil {
		t.Skip("there are no sources on this machine")
	}
	calls := pointCalls(t)
	for name, path := range calls {
		if !slices.Contains(Points, name) {
			t.Errorf("%s passes the point %q, which is not in Points", path, name)
		}
	}
	for i, name := range Points {
		if calls[name] == "" {
			t.Errorf("nothing passes the point %q", name)
		}
		if slices.Contains(Points[:i], name) {
			t.Errorf("the point %q is listed twice", name)
		}
	}
}

// Tests that hold a process at a point, or leave a point out, name existing points: after a
// point was renamed they would wait in vain, or leave nothing out.
func TestPoints_AreThoseOfTests(t *testing.T) {
	if _, err := os.Stat("../live/live.go"); err != nil {
		t.Skip("there are no sources on this machine")
	}
	compared := regexp.MustCompile(`(?:[!=]=|case) ("[a-z]+\.[a-z]+"(?:, "[a-z]+\.[a-z]+")*)`)
	seen := 0
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(text), "invariant.Hook(") && !strings.Contains(string(text), "invariant.Points") && !strings.Contains(string(text), "point string") {
			return err
		}
		for _, m := range compared.FindAllStringSubmatch(string(text), -1) {
			for _, quoted := range strings.Split(m[1], ", ") {
				seen++
				if name := strings.Trim(quoted, `"`); !slices.Contains(Points, name) && !strings.HasPrefix(name, "test.") { // flags of go test excepted
					t.Errorf("%s compares a point with %q, which is not in Points", path, name)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 20 {
		t.Errorf("only %d names of points were found in tests: this test no longer finds the others", seen)
	}
}
