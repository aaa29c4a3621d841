package explore

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// instrumented has the packages, below internal, whose sources Instrument rewrites.
var instrumented = []string{"live", "heap", "engine", "journal", "spacefile", "queue", "member", "locks", "durable", "turn", "checkpoint", "upkeep", "collect", "view", "audit", "watch", "expiry", "subscription", "changes"}

// unseen has functions that Instrument does not rewrite: they run in threads that the
// schedule does not drive, or they read only the bounds of the memory in use, which only
// rise, or they only look whether the words are there at all.
var unseen = []string{"runPulse", "Writing", "live.wakeHeart", "live.begun", "Tick", "Now", "live.lead", "Pinned", "describe", "runBackground", "RunJournal", "readAhead",
	"Verify", "VerifyAlone", "Plausible", "PayloadSize", "sprawls", "sound", "accept",
	"Assure", "signed", "Carved", "live.Look", "holdsOwn", "live.attach", "live.Lose", "unmap", "beat"}

// own has parts of the names of words that only one process can see, and that only one of
// its threads uses in an exploration.
var own = []string{".pulse.", ".clock", ".used", "hint", ".slots.claimed", ".pinned", "place.", ".failure", ".resuming"}

// pointers has the names of pointers to words.
var pointers = []string{"s.maker", "s.position"}

// constants has values that are small enough for an exploration. These constants decide how
// soon something is done, never whether it is right.
var constants = map[string]map[string]string{
	"live":    {"graceTicks": "1", "lockSpins": "1", "maxLocalSlots": "64", "sharedSlots": "60"}, // four slots that are not shared
	"heap":    {"reclaimBatch": "1", "keepBytes": "0"},
	"queue":   {"spins": "1 << 30"},
	"durable": {"spoolBytes": "1", "restLooks": "2", "usedLooks": "2"},
	"upkeep":  {"activeLooks": "2", "moveLook": "8"},

	"spacefile": {"gatePatience": "time.Hour"},
}

// always has changes that Instrument makes in every build. No heartbeat runs by its own
// clock: so in every run a process that stands still has none, and a process may die before
// its first one. A copier for the journal can be stopped before it copies. The end of a hold
// is a step. In a scenario that says so, the least amount of memory is worth moving or
// cutting off, in as many transactions as possible.
var always = []Change{
	{"live/live.go",
		"\tif !v.pulse.on.Load() {\n",
		"\tif false {\n"},
	{"live/slots.go",
		"\tclear64(&v.slots.local[i].words.State)\n",
		"\tv.slots.local[i].words.State.Store(0)\n"},
	{"live/live.go",
		"{ clear64(&v.entry.Active) }",
		"{ v.entry.Active.Store(0) }"},
	{"live/live.go",
		"{ set64(&v.entry.Commits, v.entry.Commits.Load()+1) }",
		"{ n := v.entry.Commits.Load(); v.entry.Commits.Store(n + 1) }"},
	{"durable/records.go",
		"\tj.writer.Begin(format.Version(written), before)\n",
		"\texplored.Passed(\"journal.copies\")\n\tj.writer.Begin(format.Version(written), before)\n"},
	{"upkeep/evacuate.go",
		"\treturn uint64(roomyFactor*bytes+roomyBytes) >> format.ExtentShift\n",
		"\treturn explored.AtMost(uint64(roomyFactor*bytes+roomyBytes) >> format.ExtentShift)\n"},
	{"upkeep/evacuate.go",
		"\tlong := end-first > 2*goal+stay\n",
		"\tlong := end-first > 2*goal+stay && !explored.Small\n"},
	{"upkeep/evacuate.go",
		"e.looks%moveLook == 0 && time.Now().After(e.deadline)",
		"e.looks%moveLook == 0 && (explored.Small || time.Now().After(e.deadline))"},
	{"upkeep/evacuate.go",
		"\tif avoidErr := e.u.withLists(",
		"\te.emptied()\n\tif avoidErr := e.u.withLists("},
	{"upkeep/shrink_due.go",
		"\tif w.Carved.Load() <= shrinkBytes ||",
		"\tif w.Carved.Load() <= explored.AtMost(shrinkBytes) ||"},
	{"engine/leave.go",
		"\t\t\tdefer spacefile.CloseLocks(gate) //",
		"\t\t\tgates.Store(sp, gate)\n\t\t\tdefer spacefile.CloseLocks(gate) //"},
	{"expiry/expiry.go",
		"\ttimer := time.NewTimer(giveWay * wrote)\n",
		"\texplored.Yield()\n\ttimer := time.NewTimer(0)\n"},
	{"upkeep/shrink_due.go",
		"{ return shrinkFactor*bytes + shrinkBytes }",
		"{ return explored.AtMost(shrinkFactor*bytes + shrinkBytes) }"},
}

// replaced has the calls for which Instrument calls package step instead.
var replaced = map[string]string{
	"oslock.FutexWait": "explored.FutexWait", "oslock.FutexWake": "explored.FutexWake", "oslock.Yield": "explored.Yield", "runtime.Gosched": "explored.Yield",
	"time.Now": "explored.Now", "time.Since": "explored.Since", "time.Until": "explored.Until", "time.Sleep": "explored.Sleep", "time.After": "explored.After",
	"context.WithTimeout": "explored.WithTimeout",
	"invariant.Point":     "explored.Passed",
	"mapping.Map":         "mapShared",
	"member.Stopped":      "explored.Stopped",
	"mapping.Forked":      "explored.Forked",
}

// splice replaces the text between two offsets of a file.
type splice struct {
	from, to int
	text     string
}

// Instrument writes rewritten copies of the library's sources to dir, and an overlay file by
// which the go command uses them. root is the directory of the module.
func Instrument(root, dir string) (overlay string, err error) {
	replace := map[string]string{}
	used := map[string]bool{}
	for _, pkg := range instrumented {
		files, err := filepath.Glob(filepath.Join(root, "internal", pkg, "*.go"))
		if err != nil {
			return "", err
		}
		for _, path := range files {
			if strings.HasSuffix(path, "_test.go") || filepath.Base(path) == "explore.go" {
				continue
			}
			source, err := os.ReadFile(path)
			if err != nil {
				return "", err
			}
			name := pkg + "/" + filepath.Base(path)
			text, err := instrument(pkg, name, mutate(name, string(source), used), used)
			if err != nil {
				return "", err
			}
			copied := filepath.Join(dir, strings.ReplaceAll(name, "/", "_"))
			if err := os.WriteFile(copied, []byte(text), 0o600); err != nil {
				return "", err
			}
			replace[path] = copied
		}
	}
	if err := complete(used); err != nil {
		return "", err
	}
	b, err := json.MarshalIndent(map[string]any{"Replace": replace}, "", "\t")
	if err != nil {
		return "", err
	}
	overlay = filepath.Join(dir, "overlay.json")
	return overlay, os.WriteFile(overlay, b, 0o600)
}

// complete returns an error if a rule did not apply: then the sources have changed, and the
// rule must follow them.
func complete(used map[string]bool) error {
	var missing []string
	for pkg, values := range constants {
		for name := range values {
			if !used[pkg+"."+name] {
				missing = append(missing, "the constant "+pkg+"."+name)
			}
		}
	}
	for _, m := range Mutants {
		for i := range m.Changes {
			if !used[fmt.Sprintf("%s %d", m.Name, i)] {
				missing = append(missing, fmt.Sprintf("the text that the mutant %s changes in %s:\n%s", m.Name, m.Changes[i].File, m.Changes[i].Old))
			}
		}
	}
	for _, c := range always {
		if !used[c.File+c.Old] {
			missing = append(missing, fmt.Sprintf("the text that is changed in %s:\n%s", c.File, c.Old))
		}
	}
	if !used["mapShared"] || !used["closeShared"] || !used["opening"] || !used["explored.Stopped"] || !used["explored.Forked"] || !used["explored.Receive"] {
		missing = append(missing, "where the engine opens a space, maps and unmaps the heap, asks who is stopped and whether this is a fork, and waits for who leads the journal")
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return fmt.Errorf("the rules for instrumenting no longer fit the sources; these are missing, or not unique: %s", strings.Join(missing, "; "))
	}
	return nil
}

// mutate makes the changes of all mutants to a file, each under its condition, and the
// changes in always.
func mutate(name, text string, used map[string]bool) string {
	for _, c := range always {
		if c.File == name && strings.Count(text, c.Old) == 1 {
			used[c.File+c.Old] = true
			text = strings.Replace(text, c.Old, c.New, 1)
		}
	}
	for _, m := range Mutants {
		for i, c := range m.Changes {
			if c.File != name || strings.Count(text, c.Old) != 1 {
				continue
			}
			used[fmt.Sprintf("%s %d", m.Name, i)] = true
			text = strings.Replace(text, c.Old, strings.ReplaceAll(c.New, "MUTANT", fmt.Sprintf("explored.Mutant(%q)", m.Name)), 1)
		}
	}
	return text
}

// instrument rewrites one file.
func instrument(pkg, name, text string, used map[string]bool) (string, error) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return "", err
	}
	w := &rewriter{pkg: pkg, name: name, text: text, fset: fset, used: used}
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Body != nil && !slices.Contains(unseen, d.Name.Name) && !slices.Contains(unseen, pkg+"."+d.Name.Name) {
				ast.Inspect(d.Body, w.visit)
			}
		case *ast.GenDecl:
			if d.Tok == token.CONST {
				w.constants(d)
			}
		}
	}
	if w.err != nil {
		return "", w.err
	}
	return w.apply(f), nil
}

// rewriter collects the edits of one file.
type rewriter struct {
	pkg, name, text string
	fset            *token.FileSet
	used            map[string]bool
	edits           []splice
	err             error
}

// offset returns the offset of a position in the text.
func (w *rewriter) offset(p token.Pos) int { return w.fset.Position(p).Offset }

// source returns the text of a node.
func (w *rewriter) source(n ast.Node) string { return w.text[w.offset(n.Pos()):w.offset(n.End())] }

// replace replaces the text of a node.
func (w *rewriter) replace(n ast.Node, text string) {
	w.edits = append(w.edits, splice{w.offset(n.Pos()), w.offset(n.End()), text})
}

// constants changes the values of constants.
func (w *rewriter) constants(d *ast.GenDecl) {
	for _, spec := range d.Specs {
		v := spec.(*ast.ValueSpec)
		for i, id := range v.Names {
			if value, ok := constants[w.pkg][id.Name]; ok && i < len(v.Values) {
				w.replace(v.Values[i], value)
				w.used[w.pkg+"."+id.Name] = true
			}
		}
	}
}

// visit rewrites a node of a function.
func (w *rewriter) visit(n ast.Node) bool {
	if receive, ok := n.(*ast.UnaryExpr); ok && receive.Op == token.ARROW && w.source(receive.X) == "running" {
		w.replace(receive, "explored.Receive(running, \""+w.name+" running\")")
		w.used["explored.Receive"] = true
		return false
	}
	call, ok := n.(*ast.CallExpr)
	if !ok {
		return true
	}
	if id, ok := call.Fun.(*ast.Ident); ok && id.Name == "Stopped" && w.pkg == "member" {
		w.replace(id, "explored.Stopped")
	}
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return true
	}
	if w.source(call) == "sp.open(ctx)" {
		w.replace(call, "opening(sp, ctx)")
		w.used["opening"] = true
		return false
	}
	if w.source(sel) == "sp.Region.Close" {
		w.replace(call, "closeShared(sp)")
		w.used["closeShared"] = true
		return false
	}
	where := fmt.Sprintf("%q", fmt.Sprintf("%s:%d %s.%s", w.name, w.fset.Position(call.Pos()).Line, w.source(sel.X), sel.Sel.Name))
	if id, ok := sel.X.(*ast.Ident); ok {
		if to, ok := replaced[id.Name+"."+sel.Sel.Name]; ok {
			w.replace(sel, to)
			w.used[to] = true
			return true
		}
		if id.Name == "oslock" {
			w.replace(sel, fmt.Sprintf("explored.Call(%s, %s)", w.source(sel), where))
			return true
		}
	}
	switch sel.Sel.Name {
	case "Load", "Store", "CompareAndSwap", "Add", "Swap", "Or", "And":
		w.atomic(call, sel, where)
	case "Lock":
		if len(call.Args) == 0 {
			w.replace(call, fmt.Sprintf("explored.Lock(%s.TryLock, %s)", w.source(sel.X), where))
		}
	}
	return true
}

// atomic rewrites an operation on a word.
func (w *rewriter) atomic(call *ast.CallExpr, sel *ast.SelectorExpr, where string) {
	x := w.source(sel.X)
	if slices.ContainsFunc(own, func(part string) bool { return strings.Contains(x, part) }) || !w.isAtomic(call, sel) {
		return
	}
	kind := "explored.Write"
	if sel.Sel.Name == "Load" {
		kind = "explored.Read"
	}
	if last := len(call.Args) - 1; last >= 0 && w.nested(call) {
		if _, literal := call.Args[last].(*ast.BasicLit); !literal {
			w.edits = append(w.edits,
				splice{w.offset(call.Args[last].Pos()), w.offset(call.Args[last].Pos()), "explored.Then("},
				splice{w.offset(call.Args[last].End()), w.offset(call.Args[last].End()), fmt.Sprintf(", %s, %s)", kind, where)})
			return
		}
		w.err = fmt.Errorf("%s: cannot instrument an atomic operation on the result of another one, whose last argument is a literal", where)
		return
	}
	amp := "&"
	switch sel.X.(type) {
	case *ast.Ident, *ast.CallExpr:
		amp = ""
	}
	if slices.Contains(pointers, x) {
		amp = ""
	}
	w.edits = append(w.edits,
		splice{w.offset(sel.X.Pos()), w.offset(sel.X.Pos()), "explored.At(" + amp},
		splice{w.offset(sel.X.End()), w.offset(sel.X.End()), fmt.Sprintf(", %s, %s)", kind, where)})
}

// isAtomic reports whether a call is an operation on a word, and not a method of another type with the same name.
func (w *rewriter) isAtomic(call *ast.CallExpr, sel *ast.SelectorExpr) bool {
	arguments := map[string]int{"Load": 0, "Store": 1, "CompareAndSwap": 2, "Add": 1, "Swap": 1, "Or": 1, "And": 1}
	if len(call.Args) != arguments[sel.Sel.Name] {
		return false
	}
	x := w.source(sel.X)
	switch {
	case x == "atomic", x == "journal", x == "report", x == "marks", x == "m", x == "s", x == "c", x == "cmp", x == "w":
		return false
	case strings.HasSuffix(x, ".types"), strings.HasSuffix(x, ".Marks"), strings.HasSuffix(x, ".writer"), strings.HasSuffix(x, "done"), strings.HasSuffix(x, ".began"), strings.HasSuffix(x, "()") && sel.Sel.Name == "Add" && !strings.Contains(x, "Word("):
		return false
	case strings.Contains(x, "time."), strings.HasPrefix(x, "o.s"):
		return false
	}
	return true
}

// nested reports whether an argument contains an operation that is a step itself.
func (w *rewriter) nested(call *ast.CallExpr) bool {
	found := false
	for _, arg := range call.Args {
		ast.Inspect(arg, func(n ast.Node) bool {
			if c, ok := n.(*ast.CallExpr); ok {
				if s, ok := c.Fun.(*ast.SelectorExpr); ok && (s.Sel.Name == "Load" || s.Sel.Name == "Swap") {
					found = true
				}
			}
			return !found
		})
	}
	return found
}

// apply makes the edits, and imports package step.
func (w *rewriter) apply(f *ast.File) string {
	slices.SortStableFunc(w.edits, func(a, b splice) int { return a.from - b.from })
	var b strings.Builder
	at := 0
	for _, e := range w.edits {
		if e.from < at { // inside another edit, which includes it
			continue
		}
		b.WriteString(w.text[at:e.from])
		b.WriteString(e.text)
		at = e.to
	}
	b.WriteString(w.text[at:])
	text := b.String()
	if !strings.Contains(text, "explored.") {
		return text
	}
	// The import goes on the line of the package clause, so that line numbers stay the same.
	end := w.offset(f.Name.End())
	text = text[:end] + "; import explored \"github.com/everheap/everheap/internal/explore/step\"" + text[end:]
	return text + "\n" + w.keep(f)
}

// keep adds uses of the imports whose last use may have been rewritten.
func (w *rewriter) keep(f *ast.File) string {
	uses := map[string]string{
		"time": "var _ time.Duration", "runtime": "var _ = runtime.NumCPU", "context": "var _ context.Context",
		"github.com/everheap/everheap/internal/oslock":    "var _ = oslock.Yield",
		"github.com/everheap/everheap/internal/invariant": "const _ = invariant.Enabled",
		"github.com/everheap/everheap/internal/mapping":   "var _ mapping.Region",
		"github.com/everheap/everheap/internal/member":    "var _ member.Member",
	}
	var b strings.Builder
	for _, spec := range f.Imports {
		if use := uses[strings.Trim(spec.Path.Value, `"`)]; use != "" && spec.Name == nil {
			b.WriteString(use + "\n")
		}
	}
	return b.String()
}
