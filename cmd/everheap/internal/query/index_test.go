package query

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/everheap/everheap"
)

const partType = "Part; type Part struct { Serial string; Shelf string; Bin int16; Weight float64; Made time.Time; Marks []string; Raw []byte; Old *Place; At Place }; type Place struct { City string; Zip uint64 }"

// parts makes a space with a map and a sorted map of parts, with indexes.
func parts(t testing.TB) *everheap.Space {
	t.Helper()
	s, err := everheap.Open(filepath.Join(t.TempDir(), "space"), everheap.WithMaxSize(256<<20))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	r := rand.New(rand.NewPCG(1, 2))
	for _, name := range []string{"m", "s"} {
		spec := "map[int]" + partType
		if name == "s" {
			spec = "sorted[int]" + partType
		}
		c, err := s.Create(name, spec)
		if err != nil {
			t.Fatal(err)
		}
		for i, path := range []string{"Shelf,Bin", "Weight", "Made", "Marks", "Old.City", "At.City,At.Zip", "At.Zip,Marks", "Raw"} {
			if err := everheap.CreateIndex(s, name, fmt.Sprint("x", i), path); err != nil {
				t.Fatal(err)
			}
		}
		if err := everheap.CreateIndex(s, name, "one", "Serial", everheap.Unique); err != nil {
			t.Fatal(err)
		}
		for i := range 200 {
			old := "null"
			if r.IntN(2) == 0 {
				old = fmt.Sprintf(`{"City":"c%d","Zip":%d}`, r.IntN(4), r.IntN(3))
			}
			value := fmt.Sprintf(`{"Serial":"s%d","Shelf":"h%d","Bin":%d,"Weight":%s,"Made":"2024-0%d-01T00:00:00Z","Marks":%s,"Raw":"AAE=","Old":%s,"At":{"City":"c%d","Zip":%d}}`,
				i, r.IntN(5), r.IntN(5)-2, []string{"0", "-0.0", "0.1", "2.5", `"NaN"`, `"Infinity"`}[r.IntN(6)], 1+r.IntN(9),
				[]string{"[]", `["a"]`, `["a","b","a"]`, `["b","c"]`}[r.IntN(4)], old, r.IntN(4), r.IntN(3))
			if err := c.SetJSON(s, fmt.Append(nil, i), []byte(value)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return s
}

func TestDeclared_FindsWhatAScanFinds(t *testing.T) {
	s := parts(t)
	for _, c := range []struct{ text, how string }{
		{"m where Serial = 's7'", "the index one"},
		{"s where serial = 's7'", "the index one"},
		{"s where Serial = 'none'", "the index one"},
		{"m where Shelf = 'h1'", "the index x0"},
		{"m where Bin = 1 and Shelf = 'h1'", "the index x0"},
		{"m where Bin >= 0 and Bin < 2 and Shelf = 'h1'", "the index x0"},
		{"m where Bin > 0 and Shelf = 'h1' and Weight = 0", "the index x0"},
		{"m where Shelf > 'h2'", "the index x0"},
		{"m where Shelf > 'h2' and Shelf <= 'h3'", "the index x0"},
		{"m where Shelf > 'h2' or Bin = 1", "a scan"},
		{"m where not Shelf = 'h2'", "a scan"},
		{"m where Shelf != 'h2'", "a scan"},
		{"m where Bin = 1", "a scan"},
		{"m where Bin = 1.5 and Shelf = 'h1'", "the index x0"},
		{"s where Shelf = 'h1'", "a scan"}, // the index would not give the order of the keys
		{"s where Shelf = 'h1' and Bin = 1", "the index x0"},
		{"s where Shelf = 'h1' order by key", "the index x0, then sorted"},
		{"s where Shelf = 'h1' and Bin = 1 reverse", "the index x0"},
		{"s where Shelf = 'h1' and Bin = 1 and key < 100", "a range of keys"},
		{"m where Weight = 0", "the index x1"},
		{"m where Weight = 0.10", "the index x1"},
		{"m where Weight > 0.1", "the index x1"},
		{"m where Weight < 0.10000000000000000001", "the index x1"},
		{"m where Weight >= 0", "the index x1"},
		{"m where Weight = 1e999", "a scan"},
		{"m where Made = '2024-03-01'", "the index x2"},
		{"m where Made < '2024-03-02'", "the index x2"},
		{"m where Marks contains 'a'", "the index x3"},
		{"s where Marks contains 'a'", "the index x3"},
		{"m where Marks contains 'a' and Marks contains 'b'", "the index x3"},
		{"m where Marks[0] = 'a'", "a scan"},
		{"m where Old.City = 'c1'", "the index x4"},
		{"m where Old.City != 'c1'", "a scan"},
		{"m where Old.City is null", "a scan"},
		{"m where Old is null", "a scan"},
		{"m where At.City = 'c1'", "the index x5"},
		{"m where At.Zip = 1", "a scan"}, // entries without marks are not in the index
		{"m where At.Zip = 1 and Marks contains 'b'", "the index x6"},
		{"m where Raw contains 1", "a scan"},
		{"m where Raw = 'AAE='", "a scan"},
		{"m where key = 3 and Serial = 's3'", "the key"},
		{"m where Shelf in ('h1', 'h2')", "the index x0"},
		{"m where Shelf in ('h2', 'h1', 'h2') and Bin in (1, -1, 7)", "the index x0"},
		{"m where Shelf in ('h2', 'h1') and Bin > 0", "the index x0"},
		{"m where Shelf in ('h2', 'h1') and Shelf = 'h1'", "the index x0"},
		{"m where Shelf in ('h2', null)", "a scan"},
		{"m where not Shelf in ('h2', 'h1')", "a scan"},
		{"m where Shelf in ('h2') or Shelf in ('h1')", "a scan"},
		{"m where Weight in (0, -0.0, 0.1, 0.10, 0.10000000000000000001)", "the index x1"},
		{"m where Made in ('2024-03-01', '2024-03-01T00:00:00Z', '2024-05-01')", "the index x2"},
		{"m where Old.City in ('c1', 'c2')", "the index x4"},
		{"m where At.Zip in (0, 2) and Marks contains 'b'", "the index x6"},
		{"s where Shelf in ('h2', 'h1')", "a scan"}, // many entries, and not in the order of the keys
		{"s where Shelf in ('h2', 'h1') and Bin in (0, 1)", "the index x0"},
		{"s where Serial in ('s7', 's3', 's100')", "the index one"},
		{"s where Serial in ('s7', 's3', 's100') reverse", "the index one"},
		{"s where Serial in ('s7', 's3', 's100') limit 2", "the index one"},
		{"m where Serial starts with 's1'", "the index one"},
		{"m where Serial starts 's1' and Serial < 's15'", "the index one"},
		{"m where Serial starts ''", "a scan"},
		{"m where not Serial starts 's1'", "a scan"},
		{"m where Serial ends '1'", "a scan"},
		{"m where Shelf = 'h1' and Serial starts 's1'", "the index x0"},
		{"s where Serial starts with 's1'", "a scan"},
		{"m where Old.City starts 'c'", "the index x4"},
	} {
		want, _, err := found(s, c.text, NoIndexes{})
		if err != nil {
			t.Fatal(c.text, err)
		}
		got, how, err := found(s, c.text, Declared{})
		if strings.HasPrefix(c.text, "m") && !strings.Contains(c.text, "order by") {
			slices.Sort(want)
			slices.Sort(got)
		}
		if err != nil || how != c.how || !slices.Equal(got, want) {
			t.Errorf("%s: by %s, want %s: %v\n%s\n%s", c.text, how, c.how, err, got, want)
		}
	}
}

// If an index has the wanted order, no sort is needed; otherwise the rows are sorted.
func TestDeclared_HasTheOrder(t *testing.T) {
	s := parts(t)
	for _, c := range []struct{ text, how string }{
		{"order by Serial", "the index one, already in order"},
		{"order by Serial desc limit 7", "the index one, already in order"},
		{"where Bin = 1 order by Serial desc", "the index one, already in order"},
		{"order by Shelf, Bin, key", "the index x0, already in order"},
		{"order by Shelf desc, Bin desc, key desc limit 30", "the index x0, already in order"},
		{"order by Shelf, Bin desc, key", "a scan, then sorted"},
		{"order by Shelf, key", "a scan, then sorted"},
		{"order by Bin, Shelf, key", "a scan, then sorted"},
		{"where Shelf = 'h1' order by Bin, key", "the index x0, already in order"},
		{"where Shelf = 'h1' order by Bin desc, Shelf, key desc", "the index x0, already in order"},
		{"where Shelf = 'h1' and Bin = 1 order by key desc", "the index x0, already in order"},
		{"where Shelf = 'h1' and Bin in (1, 0) order by Bin, key", "the index x0, already in order"},
		{"where Shelf in ('h3', 'h1') order by Shelf desc, Bin desc, key desc", "the index x0, already in order"},
		{"where Shelf in ('h3', 'h1') order by Bin, key", "the index x0, then sorted"},
		{"where Shelf > 'h1' order by Shelf, Bin, key limit 5", "the index x0, already in order"},
		{"where Shelf > 'h1' order by Weight, key", "the index x0, then sorted"},
		{"order by Weight, key", "the index x1, already in order"}, // NaN comes first, as in the index
		{"order by Weight desc, key desc", "the index x1, already in order"},
		{"order by Made, key", "the index x2, already in order"},
		{"where Marks contains 'b' order by Serial", "the index x3, then sorted"},
		{"where Marks contains 'b' order by key", "the index x3, already in order"},
		{"where Marks contains 'b' order by At.Zip, key", "the index x3, then sorted"},
		{"order by Old.City, key", "a scan, then sorted"}, // entries without the field are not in the index
		{"where Old.City > 'c1' order by Old.City desc, key desc", "the index x4, already in order"},
		{"where Old.City starts with 'c' order by Old.City, key", "the index x4, already in order"},
		{"order by At.City, At.Zip, key", "the index x5, already in order"},
		{"where Serial in ('s9', 's11', 's70') order by Serial", "the index one, already in order"},
		{"where Serial in ('s9', 's11', 's70') order by Serial desc", "the index one, already in order"},
		{"where Serial in ('s9', 's11', 's70') order by key", "the index one, then sorted"},
		{"where Serial starts with 's1' order by Serial desc", "the index one, already in order"},
	} {
		for _, name := range []string{"m ", "s "} {
			want, _, err := found(s, name+c.text, NoIndexes{})
			if err != nil {
				t.Fatal(c.text, err)
			}
			got, how, err := found(s, name+c.text, Declared{})
			if err != nil || how != c.how || !slices.Equal(got, want) {
				t.Errorf("%s: by %s, want %s: %v\n%s\n%s", name+c.text, how, c.how, err, got, want)
			}
		}
	}
}

// found is answer with the given indexes.
func found(s *everheap.Space, text string, indexes Indexes) (keys []string, how string, err error) {
	name, err := Next(text, 0)
	if err != nil {
		return nil, "", err
	}
	q, err := Parse(text, name.After, name.Text)
	if err != nil {
		return nil, "", err
	}
	err = s.View(func(tx *everheap.Tx) error {
		c, err := tx.Collection(name.Text)
		if err == nil {
			err = q.Bind(c)
		}
		if err != nil {
			return err
		}
		a, err := q.Run(context.Background(), tx, c, indexes, func(r Row) error {
			keys = append(keys, string(r.Key))
			return nil
		})
		how = a.How + a.Order
		return err
	})
	return keys, how, err
}
