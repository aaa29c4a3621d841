package house

import (
	"cmp"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var updateInvariants = flag.Bool("update-invariants", false, "write INVARIANTS.md anew")

// invariantsFile lists all invariants; it is made of the comments that state them.
const invariantsFile = "INVARIANTS.md"

const invariantsHead = `# The invariants

Each numbered invariant of the project: its first sentence, where it is kept, and what fails without
it. The whole statement, with its reasons, is in the comment of the file that the heading names. This
file is made of the comments: a citation is the identifier in a comment, in a message of an assertion
or a check, in a row of ` + "`test/windows`" + `, or in a mutant of ` + "`internal/explore`" + `.

    go test ./test/house -run TestInvariants -update-invariants

writes it anew. To add an invariant, state it in the comment of the package or file that keeps it, under
the next number of its letter, and cite it where the code keeps it and in the test that fails without it.
A letter belongs to one subject, and an identifier is defined once.
`

var (
	// definition is the first line of an invariant in a comment.
	definition = regexp.MustCompile(`^(?:\t|   - )([A-Z]{1,2}[0-9]{1,2}):? +(\S.*)$`)
	// continuation is a further line of one.
	continuation = regexp.MustCompile(`^(?:\t {3,}|     )(\S.*)$`)
	// citation is an identifier, or the first and the last one of several.
	citation   = regexp.MustCompile(`\b([A-Z]{1,2})([0-9]{1,2})(?: to ([A-Z]{1,2})([0-9]{1,2}))?\b`)
	citedRange = regexp.MustCompile(`\b[A-Z]{1,2}[0-9]{1,2} to [A-Z]{1,2}[0-9]{1,2}\b`)
	// keepersOf is the part of a statement that names the functions that keep it.
	keepersOf = regexp.MustCompile(`\([\w.]+(, [\w.]+)*\)`)
	// cited is a part of a message that cites.
	cited = regexp.MustCompile(`\([^()]*\b[A-Z]{1,2}[0-9]{1,2}\b[^()]*\)`)
)

// An invariantID is a letter, or two, and a number.
type invariantID struct {
	letter string
	number int
}

func (id invariantID) String() string { return id.letter + strconv.Itoa(id.number) }

func parseID(letter, number string) invariantID {
	n, err := strconv.Atoi(number)
	if err != nil {
		panic(err) // the pattern says that it is a number
	}
	return invariantID{letter, n}
}

// citedIDs returns the identifiers that a text cites, those of ranges included.
func citedIDs(text string) (list []invariantID) {
	for _, m := range citation.FindAllStringSubmatch(text, -1) {
		first := parseID(m[1], m[2])
		list = append(list, first)
		if m[3] == first.letter {
			for n := first.number + 1; n <= parseID(m[3], m[4]).number; n++ {
				list = append(list, invariantID{first.letter, n})
			}
		}
	}
	return list
}

// A numbered invariant is one that a comment defines.
type numbered struct {
	id        invariantID
	statement string
	file      string
	keepers   map[string]bool // symbols, files and other invariants that cite it
	evidence  map[string]bool // what fails without it
}

// invariantList is what the comments of all files say.
type invariantList struct {
	t       *testing.T
	code    codeNames
	defined map[invariantID]*numbered
	cites   []invariantCite
}

// An invariantCite is one citation.
type invariantCite struct {
	id       invariantID
	file, by string
	evidence bool
}

// collectInvariants reads all Go files but those of the benchmarks in modules of their own, which
// call their queries so.
func collectInvariants(t *testing.T) *invariantList {
	t.Helper()
	l := &invariantList{t: t, code: declaredEverywhere(t), defined: map[invariantID]*numbered{}}
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			_, err := os.Stat(filepath.Join(file, "go.mod"))
			if err == nil && strings.HasPrefix(file, "bench") || file != "." && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".")) {
				return filepath.SkipDir
			}
			return nil
		case filepath.Ext(file) != ".go" || file == "test/house/invariants_test.go":
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		l.read(filepath.ToSlash(file), f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range l.cites {
		if n := l.defined[c.id]; n == nil {
			if l.letters()[c.id.letter] {
				t.Errorf("%s: %s cites %s, which is not defined", c.file, c.by, c.id)
			}
		} else if c.evidence {
			n.evidence[c.by] = true
		} else if c.by != "`"+n.file+"`" {
			n.keepers[c.by] = true
		}
	}
	return l
}

// letters returns the letters of the invariants that are defined.
func (l *invariantList) letters() map[string]bool {
	set := map[string]bool{}
	for id := range l.defined {
		set[id.letter] = true
	}
	return set
}

// isEvidence reports whether a file belongs to the tests: then who cites in it would fail.
func isEvidence(file string) bool {
	dir := path.Dir(file)
	return strings.HasSuffix(file, "_test.go") || strings.HasPrefix(dir, "test") || strings.HasPrefix(dir, "internal/explore")
}

// read takes the definitions and the citations of one file.
func (l *invariantList) read(file string, f *ast.File) {
	rows := rowsOf(f)
	for _, group := range f.Comments {
		rest := l.define(file, group)
		by := citer(file, f, group)
		if strings.Contains(by, "/") && !isEvidence(file) {
			rest = citedRange.ReplaceAllString(rest, "") // the head of a file says where others are defined
		}
		for _, id := range citedIDs(rest) {
			l.cite(id, file, by)
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			for _, part := range cited.FindAllString(lit.Value, -1) {
				for _, id := range citedIDs(part) {
					by := citer(file, f, lit)
					if row := rows.at(lit); row != "" {
						by = row
					}
					l.cite(id, file, by)
				}
			}
		}
		return true
	})
}

func (l *invariantList) cite(id invariantID, file, by string) {
	l.cites = append(l.cites, invariantCite{id, file, by, isEvidence(file)})
}

// define takes the definitions of a comment, and returns the rest of it.
func (l *invariantList) define(file string, group *ast.CommentGroup) (rest string) {
	var now *numbered
	var text []string
	end := func() {
		if now != nil {
			now.statement = strings.Join(text, " ")
			for _, part := range keepersOf.FindAllString(now.statement, -1) {
				for _, name := range named.FindAllString(part, -1) {
					if full := l.code.find(path.Dir(file), name+"()"); full != "" && !l.code[path.Dir(file)].ambiguous(name+"()") {
						now.keepers["`"+strings.TrimSuffix(full, "()")+"`"] = true
					}
				}
			}
			for _, id := range citedIDs(now.statement) {
				if id != now.id {
					l.cite(id, file, now.id.String())
				}
			}
		}
		now, text = nil, nil
	}
	for _, c := range group.List {
		line := strings.TrimPrefix(c.Text, "//")
		if m := definition.FindStringSubmatch(line); m != nil {
			end()
			id := citedIDs(m[1])[0]
			if before := l.defined[id]; before != nil {
				l.t.Errorf("%s is defined in %s and in %s", id, before.file, file)
			}
			now = &numbered{id: id, file: file, keepers: map[string]bool{}, evidence: map[string]bool{}}
			l.defined[id], text = now, []string{m[2]}
		} else if m := continuation.FindStringSubmatch(line); m != nil && now != nil {
			text = append(text, m[1])
		} else {
			end()
			rest += line + "\n"
		}
	}
	end()
	return rest
}

// definesInvariant reports whether a comment defines one.
func definesInvariant(group *ast.CommentGroup) bool {
	return slices.ContainsFunc(group.List, func(c *ast.Comment) bool {
		return definition.MatchString(strings.TrimPrefix(c.Text, "//"))
	})
}

// citer names what a node of a file belongs to: a symbol, or else the file.
func citer(file string, f *ast.File, n ast.Node) string {
	pkg := strings.TrimSuffix(f.Name.Name, "_test")
	if dir := path.Dir(file); strings.HasPrefix(dir, "test") {
		pkg = dir // some have the name of another package
	}
	in := func(outer, doc ast.Node) bool {
		return outer.Pos() <= n.Pos() && n.End() <= outer.End() || doc == n
	}
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if !in(d, d.Doc) {
				continue
			}
			name := d.Name.Name
			if d.Recv != nil {
				name = receiver(d.Recv.List[0].Type) + "." + name
			}
			return "`" + pkg + "." + name + "`"
		case *ast.GenDecl:
			if name := specOf(d, n, in); name != "" {
				return "`" + pkg + "." + name + "`"
			}
		}
	}
	return "`" + file + "`"
}

// specOf names the declaration of a group, or the field of a struct in it, that a node belongs to.
func specOf(d *ast.GenDecl, n ast.Node, in func(outer, doc ast.Node) bool) string {
	for _, spec := range d.Specs {
		switch spec := spec.(type) {
		case *ast.ValueSpec:
			if in(spec, spec.Doc) || spec.Comment == n || in(d, d.Doc) && len(d.Specs) == 1 {
				return spec.Names[0].Name
			}
		case *ast.TypeSpec:
			if !in(spec, spec.Doc) && spec.Comment != n && d.Doc != n {
				continue
			}
			if s, ok := spec.Type.(*ast.StructType); ok {
				for _, field := range s.Fields.List {
					if (in(field, field.Doc) || field.Comment == n) && len(field.Names) > 0 {
						return spec.Name.Name + "." + field.Names[0].Name
					}
				}
			}
			return spec.Name.Name
		}
	}
	return ""
}

// A row is an entry of one of the tables of the tests: a mutant, or a window.
type row struct {
	lit  *ast.CompositeLit
	name string
}

type rows []row

// rowsOf returns the rows of the tables in a file.
func rowsOf(f *ast.File) (list rows) {
	tables := map[string]map[string]string{
		"explore": {"Name": "mutant"},
		"windows": {"point": "window"},
	}
	fields := tables[f.Name.Name]
	ast.Inspect(f, func(n ast.Node) bool {
		lit, ok := n.(*ast.CompositeLit)
		if !ok || lit.Type != nil {
			return true
		}
		for _, e := range lit.Elts {
			kv, ok := e.(*ast.KeyValueExpr)
			if !ok {
				continue
			}
			key, ok := kv.Key.(*ast.Ident)
			if !ok || fields[key.Name] == "" {
				continue
			}
			if value, ok := kv.Value.(*ast.BasicLit); ok {
				list = append(list, row{lit, fields[key.Name] + " `" + strings.Trim(value.Value, `"`) + "`"})
			}
		}
		return true
	})
	return list
}

// at returns the name of the row that a node is in, or "".
func (list rows) at(n ast.Node) string {
	for _, r := range list {
		if r.lit.Pos() <= n.Pos() && n.End() <= r.lit.End() {
			return r.name
		}
	}
	return ""
}

// firstSentence returns the beginning of a statement that is a sentence.
func firstSentence(s string) string {
	if m := regexp.MustCompile(`^.*?[a-z)0-9F]\.( [A-Z]| \(|$)`).FindString(s); m != "" {
		s = m[:strings.LastIndexByte(m, '.')+1]
	}
	return strings.ReplaceAll(s, "|", `\|`)
}

// noTest is what the table says of an invariant that no test cites.
const noTest = "**none**"

// render writes the list as INVARIANTS.md shows it.
func (l *invariantList) render() string {
	var b strings.Builder
	b.WriteString(invariantsHead)
	all := slices.SortedFunc(maps.Values(l.defined), func(a, b *numbered) int {
		return cmp.Or(cmp.Compare(a.id.letter, b.id.letter), cmp.Compare(a.id.number, b.id.number))
	})
	list := func(set map[string]bool, none string) string {
		if len(set) == 0 {
			return none
		}
		return strings.Join(slices.Sorted(maps.Keys(set)), ", ")
	}
	heading := ""
	for _, n := range all {
		if h := n.id.letter + " in `" + n.file + "`"; h != heading {
			heading = h
			fmt.Fprintf(&b, "\n## %s\n\n| | statement | kept and cited in | fails without it |\n|---|---|---|---|\n", h)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", n.id, firstSentence(n.statement), list(n.keepers, ""), list(n.evidence, noTest))
	}
	return b.String()
}

// INVARIANTS.md is what the comments say; no identifier is defined twice, and none is
// cited that is not defined.
func TestInvariants_FileUpToDate(t *testing.T) {
	inRoot(t)
	l := collectInvariants(t)
	if len(l.defined) < 100 {
		t.Errorf("only %d invariants were found; the test no longer sees them", len(l.defined))
	}
	want := l.render()
	if *updateInvariants {
		if err := os.WriteFile(invariantsFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if readText(t, invariantsFile) != want {
		t.Errorf("%s does not list the invariants as the comments state them; run: go test ./test/house -run TestInvariants -update-invariants", invariantsFile)
	}
}

// The documents cite invariants that are defined.
func TestInvariants_DocumentsCiteDefined(t *testing.T) {
	inRoot(t)
	l := collectInvariants(t)
	for _, doc := range documents {
		for _, id := range citedIDs(readText(t, doc)) {
			if l.letters()[id.letter] && l.defined[id] == nil {
				t.Errorf("%s cites %s, which is not defined", doc, id)
			}
		}
	}
}
