package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/cmd/everheap/internal/rawjson"
)

// childDir tells a child process which space and file it imports.
const childDir = "EVERHEAP_TRANSFER_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := importChild(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// importChild imports the file rows of a directory into its space.
func importChild(dir string) error {
	s, err := everheap.Open(filepath.Join(dir, "space"))
	if err != nil {
		return err
	}
	f, err := os.Open(filepath.Join(dir, "rows"))
	if err != nil {
		return err
	}
	_, err = Import(context.Background(), s, f, Options{Shape: Shape{Format: CSV}, Collection: "log", Source: "rows", Continue: true})
	return errors.Join(err, s.Close())
}

// create makes a space with a collection.
func create(t testing.TB, spec string) *everheap.Space {
	t.Helper()
	s := open(t)
	if _, err := s.Create("c", spec); err != nil {
		t.Fatal(err)
	}
	return s
}

// load imports a text into the collection c.
func take(s *everheap.Space, text string, opt Options) (Report, error) {
	opt.Collection = "c"
	if opt.Format == "" {
		opt.Format = JSON
	}
	return Import(context.Background(), s, strings.NewReader(text), opt)
}

// dump exports the collection c.
func dump(t testing.TB, s *everheap.Space, shape Shape) string {
	t.Helper()
	var b bytes.Buffer
	err := s.View(func(tx *everheap.Tx) error {
		c, err := tx.Collection("c")
		if err != nil {
			return err
		}
		return Export(tx, c, &b, shape, func() error { return nil })
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

const userType = "sorted[string]User; type User struct { Name string; Age int; Tags []string; Home Address }; type Address struct { City string; Zip int }"

func TestImport_HeaderIsMapped(t *testing.T) {
	s := create(t, userType)
	text := "id,name,AGE,home.city,note\r\nann,\"Ann \"\"A\"\"\",40,Oslo,x\r\n\r\nbob,Bob,,,\r\n"
	_, err := take(s, text, Options{Shape: Shape{Format: CSV, Key: "id", Fields: map[string]string{"note": "-"}}})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"key":"ann","value":{"Name":"Ann \"A\"","Age":40,"Tags":null,"Home":{"City":"Oslo","Zip":0}}}
{"key":"bob","value":{"Name":"Bob","Age":0,"Tags":null,"Home":{"City":"","Zip":0}}}
`
	if got := dump(t, s, Shape{Format: JSON}); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	want = "key,Name,Age,Tags,Home\nann,\"Ann \"\"A\"\"\",40,,\"{\"\"City\"\":\"\"Oslo\"\",\"\"Zip\"\":0}\"\nbob,Bob,0,,\"{\"\"City\"\":\"\"\"\",\"\"Zip\"\":0}\"\n"
	if got := dump(t, s, Shape{Format: CSV}); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestImport_KeyIsAField(t *testing.T) {
	s := create(t, userType)
	_, err := take(s, `{"name": "ann", "Age": 3}`+"\n"+`{"Age":4,"name":"bob"}`, Options{Shape: Shape{Format: JSON, Key: "name"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := dump(t, s, Shape{Format: JSON}); !strings.Contains(got, `{"key":"ann","value":{"Name":"ann","Age":3,`) || !strings.Contains(got, `{"key":"bob","value":{"Name":"bob","Age":4,`) {
		t.Error(got)
	}
}

func TestImport_ErrorsHaveLines(t *testing.T) {
	row := func(key, value string) string { return `{"key":` + key + `,"value":` + value + "}\n" }
	good := row(`"a"`, `{"Age":1}`)
	for _, c := range []struct{ text, want string }{
		{good + row(`"b"`, `{"Age":"x"}`), "line 2: the value is not of type main.User: field Age: want a number, got a string"},
		{good + "\n" + row(`"b"`, `{"Agee":1}`), `line 3: the value is not of type main.User: unknown field "Agee"`},
		{row(`1`, `{}`), "line 1: the key is not of type string: want a string, got the number 1"},
		{good + "nonsense\n", "line 2: the line is not a JSON object"},
		{good + `{"key":"b"` + "\n", "line 2: the object does not end"},
		{good + `{"key":"b","value":{"Age":1}`, "line 2: the object does not end"},
		{`{"value":{}}`, `line 1: the row has no "key"`},
		{`{"key":"a"}`, `line 1: the row has no "value"; if the line is the value itself: --bare, or --key FIELD`},
		{`{"Name":"a"}`, `line 1: a row is {"key":…,"value":…}, and has no "Name"`},
		{`{"key":"a","value":{},"key":"b"}`, `line 1: the name "key" occurs twice`},
		{`{"collection":"c","type":""}`, "import it without the name of a collection"},
		{good + row(`"b"`, `[`), "line 2: the object does not end"},
		{good + row(`"b"`, `{]}`), "line 2: text follows the object"},
	} {
		s := create(t, userType)
		report, err := take(s, c.text, Options{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got the error %v, want %s", c.text, err, c.want)
		}
		if report.Rows > 0 {
			t.Errorf("%s: %d rows of the part with the bad one were stored", c.text, report.Rows)
		}
	}
	for _, c := range []struct{ text, want string }{
		{"", "the file is empty"},
		{"key,Name\na,\"x\n", "line 2: a cell begins with a quote, and no other ends it"},
		{"key,Name\na,x\"y\nb,z\n", "line 2: a quote stands in the middle of a cell"},
		{"key,Name\na,\"x\ny\"z\nb,z\n", "line 2: text follows the closing quote"},
		{"key,Name\na,\"x\n\ny\"\nb\n", "line 5: 1 cell, and the header has 2"},
		{"key,Nmae\n", `line 1: the column "Nmae" is not a field of main.User (Name, Age, Tags, Home); give --map Nmae=FIELD, or --map Nmae=- to leave it out`},
		{"Name\nx\n", `line 1: there is no column "key"; which one has the keys of c? give --key COLUMN; there are: Name`},
		{"key,Name,name\n", `line 1: the columns "Name" and "name" are both the field Name`},
		{"key,Age\na,1.5\n", "line 2: the value is not of type main.User: field Age: want a whole number for int"},
	} {
		s := create(t, userType)
		_, err := take(s, c.text, Options{Shape: Shape{Format: CSV}})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got the error %v, want %s", c.text, err, c.want)
		}
	}
}

func TestImport_ContinueLeavesOutBadRows(t *testing.T) {
	s := create(t, "[]float64")
	if _, err := s.Create("m", "map[float64]int"); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for i := range 2000 {
		if i%500 == 7 {
			b.WriteString("bad\n")
		}
		fmt.Fprintf(&b, "%d\n", i)
	}
	report, err := take(s, b.String(), Options{Shape: Shape{Format: JSON, Bare: true}, Continue: true})
	if err != nil || report.Rows != 2000 || report.Bad != 4 || len(report.Lines) != 4 || report.Lines[1].Line != 509 {
		t.Errorf("%v, %v", report, err)
	}
	// Errors that only the transaction finds.
	text := `{"key":1,"value":1}` + "\n" + `{"key":"NaN","value":1}` + "\n" + `{"key":2,"value":1}` + "\n"
	opt := Options{Shape: Shape{Format: JSON}, Collection: "m", Continue: true}
	report, err = Import(context.Background(), s, strings.NewReader(text), opt)
	if err != nil || report.Rows != 2 || report.Bad != 1 || report.Lines[0].Line != 2 || !errors.Is(report.Lines[0].Err, everheap.ErrNaN) {
		t.Errorf("%v, %v", report, err)
	}
	if n := len(contents(t, s, "m")); n != 2 {
		t.Errorf("%d entries", n)
	}
	opt.Continue = false
	_, err = Import(context.Background(), s, strings.NewReader(text), opt)
	if e := (*LineError)(nil); !errors.As(err, &e) || e.Line != 2 {
		t.Error(err)
	}
}

// IM3: an import continues where the last import of the same source ended, and only there.
func TestImport_GoesOn(t *testing.T) {
	s := create(t, "[]int")
	opt := Options{Shape: Shape{Format: JSON, Bare: true}, Source: "rows"}
	step := func(text string, rows, earlier uint64, all int) {
		t.Helper()
		report, err := take(s, text, opt)
		if err != nil || report.Rows != rows || report.Earlier != earlier {
			t.Fatalf("%q: %+v, %v", text, report, err)
		}
		if n := len(contents(t, s, "c")); n != all {
			t.Fatalf("%q: %d elements, want %d", text, n, all)
		}
	}
	step("1\n2\n3", 3, 0, 3)
	step("1\n2\n3", 0, 3, 3)         // the same source again
	step("1\n2\n3\n4\n", 1, 3, 4)    // it has grown
	step("1\n2\n3\n4\n5\n", 1, 4, 5) // and again
	report, err := take(s, "1\n2\n3\n4\n55\n", opt)
	if err != nil || !report.Anew || report.Rows != 5 { // another source of that name
		t.Fatalf("%+v, %v", report, err)
	}
	opt.Again = true
	step("1\n2\n3\n4\n55\n", 5, 0, 15)
	opt.Again = false
	if _, err := take(s, "1\n2\n3\n4\n55\nx\n", opt); err == nil || !strings.Contains(err.Error(), "line 6:") {
		t.Fatal(err)
	}
	step("1\n2\n3\n4\n55\n6\n", 1, 5, 16) // the bad line is mended
	if _, err := take(s, "1\n2", Options{Shape: opt.Shape, Source: "other"}); err != nil {
		t.Fatal(err)
	}
	if _, err := take(s, "1\n23\n", Options{Shape: opt.Shape, Source: "other"}); err == nil || !strings.Contains(err.Error(), "line 2, the last one that was imported, has become longer") {
		t.Fatal(err)
	}
	// A new collection of the same name has no position.
	drop(t, s, "c")
	if _, err := s.Create("c", "[]int"); err != nil {
		t.Fatal(err)
	}
	step("1\n2\n", 2, 0, 2)
}

// An unfinished import does not continue in another source.
func TestImport_RefusesAnotherSource(t *testing.T) {
	s := create(t, "[]int")
	opt := Options{Shape: Shape{Format: JSON, Bare: true}, Source: "rows"}
	text := strings.Repeat("1\n", chunkRows)
	if _, err := take(s, text+"x\n", opt); err == nil {
		t.Fatal("no error")
	}
	_, err := take(s, "2"+text, opt)
	if err == nil || !strings.Contains(err.Error(), "rows differs from that of which 512 rows were imported") || !strings.Contains(err.Error(), "--again") {
		t.Fatal(err)
	}
}

// gate is a source that ends after some bytes until it is opened.
type gate struct {
	io.ReadSeeker
	at   int64
	open chan struct{}
	seen chan struct{}
}

func (g *gate) Read(b []byte) (int, error) {
	if at, _ := g.Seek(0, io.SeekCurrent); at >= g.at {
		select {
		case g.seen <- struct{}{}:
		default:
		}
		<-g.open
	}
	return g.ReadSeeker.Read(b[:min(len(b), 1024)])
}

// IM2: of two imports of one source, only one stores a row.
func TestImport_TwoAtOnce(t *testing.T) {
	s := create(t, "[]int")
	text := strings.Repeat("7\n", 3000)
	opt := Options{Shape: Shape{Format: JSON, Bare: true}, Source: "rows", Collection: "c"}
	g := &gate{ReadSeeker: strings.NewReader(text), at: 2048, open: make(chan struct{}), seen: make(chan struct{}, 1)}
	done := make(chan error)
	go func() {
		_, err := Import(context.Background(), s, g, opt)
		done <- err
	}()
	<-g.seen
	if _, err := Import(context.Background(), s, strings.NewReader(text), opt); err != nil {
		// The first import may have stored its rows: then the second one continues from there, or
		// fails because the first has stored more since.
		if !strings.Contains(err.Error(), "another process imports the same source") {
			t.Error(err)
		}
	}
	close(g.open)
	err := <-done
	if n := len(contents(t, s, "c")); n != 3000 {
		t.Errorf("%d rows, want 3000; the error of the first is %v", n, err)
	}
}

func TestImport_OfAWholeSpace(t *testing.T) {
	from, to := open(t), open(t)
	for name, spec := range map[string]string{"users": userType, "log": "[]string", "top": "*int"} {
		if _, err := from.Create(name, spec); err != nil {
			t.Fatal(err)
		}
	}
	put := func(name, key, value string) {
		c, err := from.Collection(name)
		if err != nil {
			t.Fatal(err)
		}
		var k []byte
		if key != "" {
			k = []byte(key)
		}
		if err := c.SetJSON(from, k, []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 1500 {
		put("log", fmt.Sprint(i), fmt.Sprintf("%q", fmt.Sprint("line ", i)))
	}
	put("users", `"ann"`, `{"Name":"Ann"}`)
	put("top", "", "7")
	export := func(s *everheap.Space) string {
		var b bytes.Buffer
		err := s.View(func(tx *everheap.Tx) error {
			return ExportAll(s, tx, &b, func(everheap.CollectionInfo) func() error { return func() error { return nil } })
		})
		if err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	text := export(from)
	report, err := Import(context.Background(), to, strings.NewReader(text), Options{Shape: Shape{Format: JSON}, Source: "all"})
	if err != nil || report.Rows != 1502 {
		t.Fatalf("%+v, %v", report, err)
	}
	name := func(s string) string { return strings.ReplaceAll(s, "the space space", "") }
	if got := export(to); name(got) != name(text) {
		t.Errorf("got %.500s\nwant %.500s", got, text)
	}
	if report, err = Import(context.Background(), to, strings.NewReader(text), Options{Shape: Shape{Format: JSON}, Source: "all"}); err != nil || report.Rows != 0 || report.Earlier != 1502 {
		t.Fatalf("%+v, %v", report, err)
	}
}

// IM1: an import that is killed at any moment, and started again, stores every row once.
func TestImport_Killed(t *testing.T) {
	const rows = 60000
	var b strings.Builder
	b.WriteString("value\n")
	for i := range rows {
		if i%1000 == 500 {
			b.WriteString("not a number\n")
		}
		fmt.Fprintf(&b, "%d\n", i)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	rounds := 4
	if testing.Short() {
		rounds = 1
	}
	for range rounds {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "rows"), []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := everheap.Open(filepath.Join(dir, "space"), everheap.WithMaxSize(1<<30))
		if err != nil {
			t.Fatal(err)
		}
		c, err := s.Create("log", "[]int")
		if err != nil {
			t.Fatal(err)
		}
		kills, done := 0, false
		for !done {
			before, err := c.Len(s)
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(exe)
			cmd.Env = append(os.Environ(), childDir+"="+dir)
			var out bytes.Buffer
			cmd.Stderr = &out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			killAt := before + rand.IntN(rows/4)
			if kills >= 12 {
				killAt = math.MaxInt
			}
			for waiting := true; waiting; {
				select {
				case err := <-ended:
					if waiting, done = false, err == nil; !done {
						t.Fatalf("%v: %s", err, &out)
					}
				case <-time.After(time.Duration(rand.IntN(3000)) * time.Microsecond):
					n, err := c.Len(s)
					if err != nil {
						t.Fatal(err)
					}
					if n > killAt {
						_ = cmd.Process.Kill()
						if err := <-ended; err == nil {
							done = true
						} else {
							kills++
						}
						waiting = false
					}
				}
			}
		}
		t.Logf("%d kills", kills)
		if n, err := c.Len(s); err != nil || n != rows {
			t.Errorf("%d rows, want %d; %v", n, rows, err)
		}
		err = s.View(func(tx *everheap.Tx) error {
			for k, v := range c.AllJSON(tx) {
				if string(k) != string(v) {
					return fmt.Errorf("row %s is %s", k, v)
				}
			}
			p, err := load(tx, positionKey(c, "rows"))
			if err == nil && (p == nil || !p.Done || p.Rows != rows || p.Bad != rows/1000) {
				err = fmt.Errorf("the position is %+v", p)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
		if report, err := s.Check(context.Background()); err != nil || len(report.Findings) > 0 {
			t.Errorf("%v, %v", report.Findings, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestGuess_IsAType(t *testing.T) {
	for _, c := range []struct {
		text  string
		shape Shape
		want  string
	}{
		{"id,first name,Age,At\na,\"x\",3,2024-01-01T00:00:00Z\nb,y,4.5,\n", Shape{Format: CSV, Key: "id"}, "map[string]Row; type Row struct { FirstName string; Age float64; At time.Time }"},
		{"key,value\n1,true\n", Shape{Format: CSV}, "map[int]bool"},
		{"a;b\n1;{\n", Shape{Format: CSV, Delimiter: ';'}, "[]Row; type Row struct { a int; b string }"},
		{`{"key":"a","value":{"N":1,"L":[{"X":1.5}],"P":null}}`, Shape{Format: JSON}, "map[string]Row; type Row struct { N int; L []RowL; P *string }; type RowL struct { X float64 }"},
		{"1\n2\n", Shape{Format: JSON, Bare: true}, "[]int"},
		{`{"id":"a","N":"x"}`, Shape{Format: JSON, Key: "id"}, "map[string]Row; type Row struct { id string; N string }"},
		{"", Shape{Format: JSON}, ""},
	} {
		got := Guess(strings.NewReader(c.text), c.shape)
		if got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.text, got, c.want)
		}
		if got == "" {
			continue
		}
		s := create(t, got)
		if _, err := take(s, c.text, Options{Shape: c.shape}); err != nil && !strings.Contains(c.text, "first name") {
			t.Errorf("%s: %v", got, err)
		}
	}
}

func FuzzCells(f *testing.F) {
	f.Add([]byte("a,\"b\"\"\r\n\",\n"), byte(','))
	f.Add([]byte("\"\n"), byte(';'))
	f.Fuzz(func(t *testing.T, text []byte, delimiter byte) {
		if (&Shape{Format: CSV, Delimiter: delimiter}).Check() != nil {
			return
		}
		src := newSource(bytes.NewReader(text))
		for {
			record, bad, err := src.record(nil, delimiter)
			if err != nil {
				break
			}
			if bad != nil {
				continue
			}
			row, _, err := cells(record, delimiter, nil, nil)
			if err != nil {
				t.Fatalf("%q passes scan, and cells says %v", record, err)
			}
			var again []byte
			for i, cell := range row {
				if i > 0 {
					again = append(again, delimiter)
				}
				again = appendCell(again, cell, delimiter, len(row) == 1)
			}
			same, _, err := cells(append(again, '\n'), delimiter, nil, nil)
			if err != nil || len(same) != len(row) {
				t.Fatalf("%q became %q: %v", record, again, err)
			}
			for i := range row {
				if !bytes.Equal(row[i], same[i]) {
					t.Fatalf("%q became %q", row[i], same[i])
				}
			}
		}
		if src.offset != uint64(len(text)) {
			t.Fatalf("%d of %d bytes", src.offset, len(text))
		}
	})
}

func FuzzMembers(f *testing.F) {
	f.Add([]byte(`{"key":"a","value":[1,{"b":null}]}`))
	f.Add([]byte(`{"\u0061":{}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		list, err := rawjson.Members(text, nil)
		if err != nil {
			return
		}
		b := []byte("{")
		for i, m := range list {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(append(append(b, rawjson.String([]byte(m.Name))...), ':'), m.Value...)
		}
		_ = b
	})
}
