package report

import (
	"encoding/xml"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden report")

func loaded(t *testing.T) *Run {
	t.Helper()
	r, err := Load("testdata/run.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The report of the fixture is the golden one.
func TestReport_Golden(t *testing.T) {
	const golden = "testdata/run.md"
	r := loaded(t)
	got := r.Markdown() + "\n" + r.Readme()
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || got != string(want) {
		t.Errorf("the report differs from %s (go test ./report -update writes it): %v\n%s", golden, err, got)
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 5}, 5}, {[]float64{4, 1, 2, 9}, 3}} {
		if got := Median(c.values); got != c.want {
			t.Errorf("the median of %v is %v, want %v", c.values, got, c.want)
		}
	}
}

// A ratio is that of each round: a slow round, in which both take longer, changes nothing.
func TestRatio_WithinRounds(t *testing.T) {
	a := &Series{unit: "ns", byRound: map[int]float64{1: 200, 2: 2000, 3: 210, 4: 7}}
	b := &Series{unit: "ns", byRound: map[int]float64{1: 100, 2: 1000, 3: 100}}
	if got, ok := Ratio(a, b); !ok || got != 2 {
		t.Errorf("the ratio is %v, want 2", got)
	}
	if got, _ := advantage(a, b); got != 0.5 {
		t.Errorf("an operation that takes twice as long has the speed %v, want 0.5", got)
	}
	a.unit, b.unit = "/s", "/s"
	if got, _ := advantage(a, b); got != 2 {
		t.Errorf("twice the rate has the speed %v, want 2", got)
	}
	if _, ok := Ratio(a, &Series{byRound: map[int]float64{9: 1}}); ok {
		t.Error("series without a common round have a ratio")
	}
	if _, ok := Ratio(a, nil); ok {
		t.Error("there is a ratio to nothing")
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{0: "0.00", 1.234: "1.23", 12.34: "12.3", 999.4: "999", 1234567: "1,234,567", -4567: "-4,567"} {
		if got := number(v); got != want {
			t.Errorf("%v is %s, want %s", v, got, want)
		}
	}
}

// Insert replaces only the text between markers.
func TestInsert_KeepsProse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "doc.md")
	doc := "before\n<!-- begin a: generated -->\nold\n<!-- end a -->\nafter\n"
	if err := os.WriteFile(path, []byte(doc), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Insert(path, map[string]string{"a": "new\n", "b": "nowhere"}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if want := strings.Replace(doc, "old", "new", 1); err != nil || string(got) != want {
		t.Errorf("the document is %q, want %q: %v", got, want, err)
	}
	if err := Insert(path, map[string]string{"c": ""}); err == nil {
		t.Error("markers of an unknown section are not an error")
	}
}

// Charts are well-formed, and name their engines.
func TestCharts_AreSVG(t *testing.T) {
	charts := loaded(t).Charts()
	if len(charts) != 5 {
		t.Fatalf("there are %d charts, want 5", len(charts))
	}
	for _, c := range charts {
		path := filepath.Join(t.TempDir(), c.Name+".svg")
		if err := c.Save(path); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		d := xml.NewDecoder(strings.NewReader(string(b)))
		for {
			if _, err = d.Token(); err != nil {
				break
			}
		}
		if err != io.EOF || !strings.Contains(string(b), "everheap") || !strings.Contains(string(b), c.title) {
			t.Errorf("%s is not a chart of everheap: %v", c.Name, err)
		}
	}
}
