package house

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const modulePath = "github.com/everheap/everheap"

// layers is the order of the packages, highest first. A package imports only
// such as stand in a lower row; packages of one row do not know each other. The
// root is ".".
var layers = [][]string{
	{"cmd/everheap", "examples/packages", "examples/resume", "examples/forum"},
	{"examples/forum/command"},
	{"examples/forum/day", "examples/forum/crew", "examples/forum/storetest"},
	{"examples/forum/seed", "examples/forum/site"},
	{"examples/forum/model"},
	{"examples/forum/page"},
	{"cmd/everheap/internal/demo", "cmd/everheap/internal/shell", "cmd/everheap/internal/manual", "examples/packages/debian"},
	{"cmd/everheap/internal/transfer", "cmd/everheap/internal/query"},
	{"cmd/everheap/internal/rawjson", "internal/inspect"},
	{"internal/metric"},
	{"internal/spacetest"}, // for tests: what those of spaces have in common
	{"ship"},
	{"."},
	{"internal/heap/heaptest", "internal/proctest", "internal/powercut", "internal/faultdisk", "internal/explore"}, // for tests: of what is below, and of the root
	{"internal/inside"}, // for tests: from a space to its engine
	{"internal/naming", "internal/typed"},
	{"internal/engine"},
	{"internal/collect", "internal/watch", "internal/expiry"},
	{"internal/recast", "internal/view", "internal/untyped", "internal/apply"},
	{"internal/indexing"},
	{"internal/edit"},
	{"internal/upkeep"},
	{"internal/changes"},
	{"internal/checkpoint"},
	{"internal/turn"},
	{"internal/audit"},
	{"internal/locks", "internal/durable", "internal/readahead"},
	{"internal/member"},
	{"internal/salvage", "internal/relocate", "internal/delta"},
	{"internal/dump", "internal/failure"},
	{"internal/check", "internal/spacefile"},
	{"internal/table"},
	{"internal/object"},
	{"internal/trie", "internal/btree", "internal/vector"},
	{"internal/entry", "internal/typetext", "internal/index"},
	{"internal/layout"},
	{"internal/heap", "internal/journal", "internal/backup"},
	{"internal/ledger"},
	{"internal/subscription"},
	{"internal/live"},
	{"internal/format"},
	{"registry"},
	{"internal/mapping", "internal/oslock", "internal/queue"},
	{"internal/invariant", "internal/procfs", "internal/goroutine", "internal/prefetch", "internal/checksum", "internal/jsontree", "internal/explore/step"},
}

// layerExceptions are imports that go up or sideways all the same, with the
// reason.
var layerExceptions = map[[2]string]string{}

// rootOnly are the packages that use the library as its users do: of this
// module they import what a user can. An exception has its reason.
var rootOnly = map[string]map[string]string{
	"cmd/everheap":                   {".": "the library", "ship": "a directory that follows a space", "registry": "lists the spaces", "cmd/everheap/internal/demo": "one of its verbs", "cmd/everheap/internal/transfer": "export and import", "cmd/everheap/internal/shell": "the shell", "cmd/everheap/internal/manual": "man pages and completions", "internal/inspect": "the page", "internal/invariant": "the events that test builds note"},
	"cmd/everheap/internal/demo":     {".": "the library"},
	"cmd/everheap/internal/transfer": {".": "the library", "cmd/everheap/internal/rawjson": "keys and values"},
	"cmd/everheap/internal/query":    {".": "the library", "cmd/everheap/internal/rawjson": "keys and values"},
	"cmd/everheap/internal/shell":    {".": "the library", "cmd/everheap/internal/rawjson": "keys and values", "cmd/everheap/internal/query": "what it asks for", "cmd/everheap/internal/transfer": "how to write numbers"},
	"cmd/everheap/internal/manual":   {},
	"cmd/everheap/internal/rawjson":  {},
	"examples/packages":              {".": "the library", "examples/packages/debian": "its own parser"},
	"examples/packages/debian":       {},
	"internal/metric":                {".": "the library"},
	"examples/resume":                {".": "the library"},
	"examples/forum":                 {"examples/forum/command": "the command line", "examples/forum/model": "its store", "examples/forum/seed": "what can be loaded"},
	"examples/forum/command":         {"examples/forum/crew": "the servers", "examples/forum/day": "the load", "examples/forum/page": "the store", "examples/forum/seed": "the data to begin with", "examples/forum/site": "the pages"},
	"examples/forum/crew":            {},
	"examples/forum/day":             {"examples/forum/page": "what a server is", "examples/forum/seed": "names and password", "examples/forum/site": "what the servers tell"},
	"examples/forum/model":           {".": "the library", "examples/forum/page": "what it implements"},
	"examples/forum/page":            {},
	"examples/forum/seed":            {"examples/forum/page": "what is loaded"},
	"examples/forum/site":            {"examples/forum/page": "what is shown"},
	"examples/forum/storetest":       {"examples/forum/page": "what is tested", "examples/forum/seed": "what is loaded"},
}

// dependencies are the modules that packages may import, by the beginning of
// the path; "" stands for all packages of the library that have no list of their own.
var dependencies = map[string]map[string]string{
	"": {
		"golang.org/x/sys":      "system calls that the standard library lacks",
		"github.com/zeebo/xxh3": "the hash",
	},
	"cmd/everheap": {
		"github.com/alecthomas/kong": "the command line",
		"github.com/BurntSushi/toml": "the file of registered spaces",
		"golang.org/x/sys/unix":      "whether the output is a terminal",
	},
	"cmd/everheap/internal/shell": {
		"golang.org/x/term":     "editing of lines",
		"golang.org/x/sys/unix": "the mode of the terminal while a statement runs",
	},
	"cmd/everheap/internal/manual": {
		"github.com/alecthomas/kong": "the model of the command line",
	},
	"examples/forum/command": {
		"golang.org/x/sys/unix": "whether the output is a terminal",
	},
	"examples/forum/crew": {
		"golang.org/x/sys/unix": "several sockets at one port",
	},
	"internal/spacetest": {
		"github.com/google/go-cmp": "how two values differ",
		"go.uber.org/goleak":       "whether goroutines are left",
	},
}

// unsafeAllowed are the packages that may import unsafe, and why. If a list of
// files is given, only those may.
var unsafeAllowed = map[string]struct {
	reason string
	files  []string
}{
	"internal/mapping":    {"gives out the memory of mapped files", nil},
	"internal/heap":       {"reads and writes block headers and payloads in place", nil},
	"internal/layout":     {"copies values as bytes and words, by descriptors", nil},
	"internal/live":       {"maps the coordination words", nil},
	"internal/trie":       {"reads and writes nodes in place", nil},
	"internal/btree":      {"reads and writes nodes in place", nil},
	"internal/entry":      {"reads and writes entries in place", nil},
	"internal/vector":     {"reads and writes nodes in place", nil},
	"internal/table":      {"passes the payloads of objects on", nil},
	"internal/object":     {"reads the payloads of objects, and passes their values on", nil},
	"internal/check":      {"reads the payloads that it verifies", nil},
	"internal/delta":      {"gives out the payloads of what differs", nil},
	"internal/dump":       {"gives out the payloads that it tells", nil},
	"internal/salvage":    {"reads states and entries in place", nil},
	"internal/spacefile":  {"sizes of the first blocks", []string{"newfiles.go"}},
	"internal/upkeep":     {"moves blocks, words and bytes", nil},
	"internal/collect":    {"looks at the blocks of objects", nil},
	"internal/checkpoint": {"reads and writes lists of checkpoints in place", nil},
	"internal/durable":    {"reads the blocks that versions log in place", nil},
	"internal/member":     {"reads states in place", nil},
	"internal/recast":     {"reads and writes the payloads of objects, and passes values on", nil},
	"internal/queue":      {"writes a word without a barrier", []string{"order_amd64.go"}},
	"internal/edit":       {"reads and writes the payloads of objects in place, and passes pointers to variables of the caller", nil},
	"internal/index":      {"reads the fields of values in place", nil},
	"internal/apply":      {"makes the payloads of changes values in place", nil},
	"internal/untyped":    {"passes keys and values of the caller on, and reads names in place", []string{"form.go", "names.go"}},
	"internal/watch":      {"passes the values of differences on", []string{"difference.go"}},
	"internal/indexing":   {"passes the payloads of entries on", nil},
	"internal/engine":     {"reads states and objects in place, and passes pointers to variables of the caller", nil},
	"internal/oslock":     {"the futex system call takes the address of a word", nil},
	"internal/format":     {"sizes and offsets for the guards at compile time", nil},
	".":                   {"turns a *K or *V into a pointer without a type, and back", []string{"map.go", "range.go", "list.go", "index.go"}},

	"internal/invariant": {"the records of test builds are words in mapped files", []string{"record.go", "ring.go", "dump.go", "ledger.go"}},
	"internal/spacetest": {"makes handles of wrong types, reads values of backups, and knows where the live file has its salt", []string{"backup.go", "values.go", "lockwork.go"}},
	"internal/explore":   {"makes the heap what it was, and passes pointers to variables", nil},
	"internal/relocate":  {"offsets of the fields that hold addresses", []string{"kinds.go"}},
}

// sourceImport is one import of one file of this module that is not a test.
type sourceImport struct {
	pkg, file, path string
}

// sourceImports lists the imports of all files of the module, whatever their
// build tags, and the packages. Modules inside this one are not part of it.
func sourceImports(t *testing.T) (list []sourceImport, packages []string) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			_, err := os.Stat(filepath.Join(path, "go.mod"))
			if path != "." && (err == nil || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") || strings.HasPrefix(d.Name(), "_")) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		pkg := filepath.ToSlash(filepath.Dir(path))
		if !slices.Contains(packages, pkg) {
			packages = append(packages, pkg)
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range f.Imports {
			p, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			list = append(list, sourceImport{pkg, path, p})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(packages) < 10 {
		t.Fatalf("found the packages %v only", packages)
	}
	return list, packages
}

// inModule returns the directory of a package of this module.
func inModule(path string) (string, bool) {
	if path == modulePath {
		return ".", true
	}
	return strings.CutPrefix(path, modulePath+"/")
}

// layerOf returns the row of a package: 0 is the highest, -1 none.
func layerOf(pkg string) int {
	return slices.IndexFunc(layers, func(row []string) bool { return slices.Contains(row, pkg) })
}

func TestLayers_ImportsGoDown(t *testing.T) {
	inRoot(t)
	imports, packages := sourceImports(t)
	for _, pkg := range packages {
		if layerOf(pkg) < 0 {
			t.Errorf("the package %s has no place in the list of layers", pkg)
		}
	}
	used := map[[2]string]bool{}
	for _, i := range imports {
		to, ok := inModule(i.path)
		if !ok || layerOf(i.pkg) < 0 || layerOf(to) > layerOf(i.pkg) {
			continue
		}
		if edge := [2]string{i.pkg, to}; layerExceptions[edge] != "" {
			used[edge] = true
			continue
		}
		t.Errorf("%s: %s imports %s, which does not lie below it", i.file, i.pkg, to)
	}
	for edge, reason := range layerExceptions {
		if !used[edge] {
			t.Errorf("the exception for %s importing %s (%s) is not needed", edge[0], edge[1], reason)
		}
	}
}

// Every package of the list exists: a row that nobody is in hides a mistake.
func TestLayers_Exist(t *testing.T) {
	inRoot(t)
	_, packages := sourceImports(t)
	for _, row := range layers {
		for _, pkg := range row {
			if !slices.Contains(packages, pkg) {
				t.Errorf("the list of layers names %s, and there is no such package", pkg)
			}
		}
	}
}

func TestLayers_UsersImportTheLibrary(t *testing.T) {
	inRoot(t)
	imports, _ := sourceImports(t)
	for _, i := range imports {
		allowed, restricted := rootOnly[i.pkg]
		if to, ok := inModule(i.path); restricted && ok && allowed[to] == "" {
			t.Errorf("%s: %s imports %s, which users of the library cannot", i.file, i.pkg, to)
		}
	}
}

func TestDependencies_Listed(t *testing.T) {
	inRoot(t)
	imports, _ := sourceImports(t)
	for _, i := range imports {
		first, _, _ := strings.Cut(i.path, "/")
		if _, own := inModule(i.path); own || !strings.Contains(first, ".") {
			continue // this module, or the standard library
		}
		allowed := dependencies[""]
		_, user := rootOnly[i.pkg]
		if own := dependencies[i.pkg]; user || own != nil {
			allowed = own
		}
		ok := false
		for module := range allowed {
			ok = ok || i.path == module || strings.HasPrefix(i.path, module+"/")
		}
		if !ok {
			t.Errorf("%s: %s imports %s, which is not one of its dependencies", i.file, i.pkg, i.path)
		}
	}
}

func TestUnsafe_WhereAllowed(t *testing.T) {
	inRoot(t)
	imports, _ := sourceImports(t)
	used := map[string]bool{}
	for _, i := range imports {
		if i.path != "unsafe" {
			continue
		}
		allowed, ok := unsafeAllowed[i.pkg]
		if !ok || allowed.files != nil && !slices.Contains(allowed.files, filepath.Base(i.file)) {
			t.Errorf("%s imports unsafe; such code belongs in the packages listed in test/house/layers_test.go", i.file)
		}
		used[i.pkg] = true
	}
	for pkg, allowed := range unsafeAllowed {
		if !used[pkg] {
			t.Errorf("%s is allowed to import unsafe (it %s) and does not", pkg, allowed.reason)
		}
	}
}

const (
	mostLines   = 4000 // of a package, tests not counted
	mostSources = 30   // files of a package, tests not counted
	mostOfRoot  = 58   // Go files of the root, where people look first, with tests
)

// manyAllowed are the packages that may have more sources, and longAllowed those that may have
// more lines, and why.
var (
	manyAllowed = map[string]string{
		"internal/explore": "for tests: scenarios and mutants are lists, which grow with the protocols",
	}
	longAllowed = map[string]string{
		"internal/layout":  "one act of all kinds of types is one file: copy, compare, check, order, print, convert",
		"internal/explore": "for tests: scenarios and mutants are lists, which grow with the protocols",
	}
)

// A package that has grown too large for a newcomer to read is split.
func TestLayers_RoomsStaySmall(t *testing.T) {
	inRoot(t)
	_, packages := sourceImports(t)
	for _, pkg := range packages {
		files, err := filepath.Glob(filepath.Join(filepath.FromSlash(pkg), "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		if pkg == "." && len(files) > mostOfRoot {
			t.Errorf("the root has %d Go files, and should have at most %d", len(files), mostOfRoot)
		}
		sources, lines := 0, 0
		for _, f := range files {
			if strings.HasSuffix(f, "_test.go") {
				continue
			}
			sources++
			lines += strings.Count(readText(t, f), "\n")
		}
		if sources > mostSources && manyAllowed[pkg] == "" {
			t.Errorf("%s has %d sources, and should have at most %d", pkg, sources, mostSources)
		}
		if lines > mostLines && longAllowed[pkg] == "" {
			t.Errorf("%s has %d lines, and should have at most %d", pkg, lines, mostLines)
		}
	}
}
