package evolve

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// duo is a type with type parameters, and a renamed field.
type duo[A, B any] struct {
	Left  A `everheap:"was=First"`
	Right *B
}

// oddLayout is a struct whose layout does not follow from its named fields.
type oddLayout struct {
	_     [0]uint64
	A     int8
	_     [7]byte
	B     int8
	C     int16
	Empty struct{}
}

// library is a type that contains types of nearly all kinds.
type libraryV1 struct {
	Folders everheap.Map[string, folderV1]
	Odd     [2]oddLayout
	Duo     duo[time.Duration, duo[string, oddLayout]]
	Inline  struct {
		X, Y float32
		Raw  []byte
	}
	Day  time.Weekday
	When *time.Time
}

// sourceSpace makes a space with collections of many types.
func sourceSpace(t *testing.T) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "lib")
	s, err := everheap.Open(dir, everheap.WithMaxSize(spacetest.Small))
	spacetest.Must(t, err)
	libs, err := everheap.OpenMap[int, libraryV1](s, "libraries")
	spacetest.Must(t, err)
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
		for i := range 2000 {
			l := libraryV1{Duo: duo[time.Duration, duo[string, oddLayout]]{Left: time.Duration(i)}}
			if i%100 == 0 {
				f, err := growFolder(tx, 1, 2)
				spacetest.Must(t, err)
				l.Folders = f.Kids
			}
			if err := libs.Set(tx, i, l); err != nil {
				return err
			}
		}
		return nil
	})
	spacetest.FillPeople(t, s, 2000)
	{
		type PersonV1 struct{ Other bool } // of the same name
		_, err = everheap.OpenMap[string, PersonV1](s, "others")
		spacetest.Must(t, err)
	}
	_, err = everheap.OpenMap[time.Time, [3]string](s, "log")
	spacetest.Must(t, err)
	posts, err := everheap.OpenList[everheap.Ref[duo[int8, spacetest.PersonV1]]](s, "posts")
	spacetest.Must(t, err)
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
		r, err := everheap.New(tx, duo[int8, spacetest.PersonV1]{Left: 1})
		if err != nil {
			return err
		}
		return posts.Append(tx, r)
	})
	_, err = everheap.OpenRef(s, "config", oddLayout{A: 1})
	spacetest.Must(t, err)
	spacetest.Must(t, s.Close())
	return dir
}

// program is the source around the stored types, which opens the space with them.
const program = `
func main() {
	s, err := everheap.Open(os.Args[1])
	if err != nil {
		panic(err)
	}
	defer s.Close()
	before := s.Stats()
	OPENS
	after := s.Stats()
	fmt.Println("grown by", int64(after.Live-before.Live), "in", after.Version-before.Version)
}
`

// The source compiles, and its types have the layout of the stored types: a program with them
// converts nothing.
func TestTypeSource_CompilesAndFits(t *testing.T) {
	if testing.Short() {
		t.Skip("takes the go command")
	}
	dir := sourceSpace(t)
	s, err := everheap.Open(dir, everheap.WithReadOnly())
	spacetest.Must(t, err)
	source, err := s.TypeSource()
	spacetest.Must(t, err)
	spacetest.Must(t, s.Close())

	text := string(source)
	work := t.TempDir()
	library := filepath.Join(work, "stored.go")
	spacetest.Must(t, os.WriteFile(library, source, 0o600))
	if out, err := exec.Command("go", "vet", library).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, text)
	}

	var opens strings.Builder
	for _, line := range strings.Split(text, "\n") {
		if rest, ok := strings.CutPrefix(line, "//\t"); ok {
			name, typ, _ := strings.Cut(rest, "\t")
			kind, typ, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(typ, "everheap."), "]"), "[")
			initial := ""
			if kind == "Ref" {
				initial = "*new(" + typ + "), "
			}
			fmt.Fprintf(&opens, "if _, err := everheap.Open%s[%s](s, %q, %severheap.Evolve()); err != nil { panic(err) }\n", kind, typ, name, initial)
		}
	}
	if n := strings.Count(opens.String(), "\n"); n != 6 {
		t.Fatalf("%d collections:\n%s", n, text)
	}
	text = strings.Replace(text, "package stored", "package main", 1)
	text = strings.Replace(text, "import (", "import (\n\t\"fmt\"\n\t\"os\"", 1)
	main := filepath.Join(work, "main.go")
	spacetest.Must(t, os.WriteFile(main, []byte(text+strings.Replace(program, "OPENS", opens.String(), 1)), 0o600))
	out, err := exec.Command("go", "run", main, dir).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var grown, versions int
	if _, err := fmt.Sscanf(string(out), "grown by %d in %d", &grown, &versions); err != nil || grown > 16<<10 || versions < 3 {
		t.Errorf("the program says %s(%v)", out, err)
	}
	spacetest.Open(t, dir)
}

func TestTypeSource_Names(t *testing.T) {
	dir := sourceSpace(t)
	s := spacetest.Open(t, dir)
	source, err := s.TypeSource("log")
	spacetest.Must(t, err)
	want := "// Package stored declares the types of what is stored in the space lib:\n//\n//\tlog\teverheap.Map[time.Time, [3]string]\npackage stored\n"
	if string(source) != want {
		t.Errorf("got\n%s", source)
	}
	source, err = s.TypeSource("others", "people")
	spacetest.Must(t, err)
	for _, part := range []string{
		"//\tothers\teverheap.Map[string, PersonV1]\n", "//\tpeople\teverheap.Map[string, PersonV1_2]\n",
		"type PersonV1 struct {\n\tOther bool\n}", "// PersonV1_2 is stored as spacetest.PersonV1.\n",
	} {
		if !strings.Contains(string(source), part) {
			t.Errorf("no %q in\n%s", part, source)
		}
	}
	_, err = s.TypeSource("log", "nothing")
	spacetest.ExpectError(t, err, everheap.ErrNotFound, "nothing")
}
