package query

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/everheap/everheap"
)

const userType = "User; type User struct { Name string; Age int; Score float64; Tags []string; Home *Home; Joined time.Time; Raw []byte }; type Home struct { City string; Zip uint64 }"

// people makes a space with a sorted map of users, and a map of the same.
func people(t testing.TB) *everheap.Space {
	t.Helper()
	s, err := everheap.Open(filepath.Join(t.TempDir(), "space"), everheap.WithMaxSize(256<<20))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	for name, spec := range map[string]string{"s": "sorted[string]" + userType, "m": "map[string]" + userType, "l": "[]int", "n": "sorted[int]string", "get": "map[string]int"} {
		if _, err := s.Create(name, spec); err != nil {
			t.Fatal(err)
		}
	}
	set := func(name, key, value string) {
		c, err := s.Collection(name)
		if err == nil {
			err = c.SetJSON(s, []byte(key), []byte(value))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"s", "m"} {
		set(name, `"ada"`, `{"Name":"Ada","Age":36,"Score":1.5,"Tags":["poet"],"Home":{"City":"London","Zip":9007199254740993},"Joined":"2024-02-29T12:00:00Z"}`)
		set(name, `"bob"`, `{"Name":"Bob \"B\"","Age":-3,"Score":"NaN","Tags":[],"Raw":"AAE="}`)
		set(name, `"cy"`, `{"Name":"Cy","Age":36,"Score":"Infinity","Home":{"City":"Oslo","Zip":9007199254740992}}`)
		set(name, `"dan"`, `{"Name":"Dan","Age":7,"Tags":["a","poet"]}`)
	}
	for i := range 30 {
		set("l", fmt.Sprint(i), fmt.Sprint(i*i))
		set("n", fmt.Sprint(i-10), fmt.Sprintf("%q", fmt.Sprint("n", i)))
	}
	return s
}

// answer runs a query and returns the keys, and how they were found.
func answer(s *everheap.Space, text string) (string, string, error) {
	name, err := Next(text, 0)
	if err != nil {
		return "", "", err
	}
	q, err := Parse(text, name.After, name.Text)
	if err != nil {
		return "", "", err
	}
	var keys []string
	var a Answer
	var failed error
	err = s.View(func(tx *everheap.Tx) error {
		c, err := tx.Collection(name.Text)
		if err == nil {
			err = q.Bind(c)
		}
		if err == nil {
			a, err = q.Run(context.Background(), tx, c, NoIndexes{}, func(r Row) error {
				keys = append(keys, strings.Trim(string(r.Key), `"`))
				return nil
			})
		}
		failed = err
		return nil
	})
	if failed != nil {
		err = failed
	}
	return strings.Join(keys, " "), a.How + a.Order, err
}

func TestQuery_FindsWhatItAsksFor(t *testing.T) {
	s := people(t)
	for _, c := range []struct{ text, keys, how string }{
		{"s", "ada bob cy dan", "a scan"},
		{"s where Age > 30", "ada cy", "a scan"},
		{"s where age>=36 and Home.City='Oslo'", "cy", "a scan"},
		{"s where not (Age = 36 or Age < 0)", "dan", "a scan"},
		{"s where Age in (7, -3)", "bob dan", "a scan"},
		{"s where Name contains \"B\"", "bob", "a scan"},
		{`s where Name = "Bob \"B\""`, "bob", "a scan"},
		{"s where Name starts with 'D' or Name ends 'y'", "cy dan", "a scan"},
		{"s where Tags contains 'poet'", "ada dan", "a scan"},
		{"s where Tags[1] = 'poet'", "dan", "a scan"},
		{"s where Home is null", "bob dan", "a scan"},
		{"s where Home is not null", "ada cy", "a scan"},
		{"s where Home.City != 'Oslo'", "ada bob dan", "a scan"},
		{"s where Home.Zip = 9007199254740993", "ada", "a scan"},
		{"s where Home.Zip < 9007199254740993", "cy", "a scan"},
		{"s where Score > 1", "ada cy", "a scan"},
		{"s where Score <= 1", "dan", "a scan"},
		{"s where Joined > '2024-02-29'", "ada", "a scan"},
		{"s where Raw = 'AAE='", "bob", "a scan"},
		{"s where Tags = []", "bob", "a scan"},
		{"s order by Age desc, Name", "ada cy dan bob", "a scan, then sorted"},
		{"s order by Home.City limit 3", "bob dan ada", "a scan, then sorted"},
		{"s limit 2", "ada bob", "a scan"},
		{"s limit 0", "", "a scan"},
		{"s reverse limit 2", "dan cy", "a scan"},
		{"s where key = 'cy'", "cy", "the key"},
		{"s where key = 'x'", "", "the key"},
		{"m where key = 'cy' and Age = 36", "cy", "the key"},
		{"m where key > 'b' order by key", "bob cy dan", "a scan, then sorted"},
		{"s order by key", "ada bob cy dan", "a scan, already in order"},
		{"s order by key desc limit 2", "dan cy", "a scan, already in order"},
		{"s order by key desc, Age limit 2", "dan cy", "a scan, already in order"},
		{"s reverse order by key", "ada bob cy dan", "a scan, already in order"},
		{"s where key > 'bob' order by key desc", "dan cy", "a range of keys, already in order"},
		{"s where key > 'bob' order by Age", "dan cy", "a range of keys, then sorted"},
		{"s prefix b order by key desc", "bob", "a range of keys, already in order"},
		{"l from 3 to 5 order by key desc", "4 3", "a range of keys, already in order"},
		{"s order by Score", "bob dan ada cy", "a scan, then sorted"}, // NaN comes first
		{"s where key starts 'b'", "bob", "a range of keys"},
		{"s where key starts with 'b' reverse", "bob", "a range of keys"},
		{"s where key starts ''", "ada bob cy dan", "a scan"},
		{"m where key starts 'b'", "bob", "a scan"},
		{"s where key in ('dan', 'x', 'ada', 'dan')", "ada dan", "the keys"},
		{"s where key in ('dan', 'ada') reverse", "dan ada", "the keys"},
		{"s where key in ('dan', 'ada') order by key desc", "dan ada", "the keys, already in order"},
		{"s where key in ('dan', 'ada') order by Age", "dan ada", "the keys, then sorted"},
		{"m where key in ('dan', 'ada') and Age = 36", "ada", "the keys"},
		{"m where key in ('dan', 'ada') and key = 'dan' order by Age", "dan", "the key"},
		{"n where key in (3, -2, 3)", "-2 3", "the keys"},
		{"n where key in (3, 2.5)", "3", "a scan"},
		{"s where key in ('ada') and key > 'b'", "", "the key"},
		{"s where key > 'bob' and key < 'd'", "cy", "a range of keys"},
		{"s from bob to dan", "bob cy", "a range of keys"},
		{"s from \"bob\" reverse", "dan cy bob", "a range of keys"},
		{"s prefix b", "bob", "a range of keys"},
		{"s prefix b reverse", "bob", "a range of keys"},
		{"m prefix b", "bob", "a scan"},
		{"n from -2 to 1", "-2 -1 0", "a range of keys"},
		{"n where key >= 18", "18 19", "a range of keys"},
		{"n where key > 17.5", "18 19", "a scan"},
		{"n where value = 'n3'", "-7", "a scan"},
		{"l from 3 to 5", "3 4", "a range of keys"},
		{"l where value > 800", "29", "a scan"},
	} {
		keys, how, err := answer(s, c.text)
		if err != nil || keys != c.keys || how != c.how {
			t.Errorf("%s: got %q by %s, %v; want %q by %s", c.text, keys, how, err, c.keys, c.how)
		}
	}
}

func TestQuery_ErrorsSayWhere(t *testing.T) {
	s := people(t)
	for _, c := range []struct {
		text, what string
		at         int
	}{
		{"s where Agee > 3", "main.User has no field Agee; it has: Name, Age, Score, Tags, Home, Joined, Raw", 8},
		{"s where Age > 'x'", `Age is of type int: compare it with a number, and not "x"`, 14},
		{"s where Name = Oslo", `Oslo is not a value; a text has quotes: "Oslo"`, 15},
		{"s where Name = 3", `Name is of type string: compare it with a text in quotes: "3"`, 15},
		{"s where Age >", "a value is expected, and not the end", 13},
		{"s where Age", "after Age a comparison is expected", 11},
		{"s where (Age = 3", "the ( is not closed", 8},
		{"s wher Age = 3", `"wher" is not understood here; what can follow: from, to,`, 2},
		{"s where Age = 3 where Age = 4", "where stands twice", 16},
		{"s limit x", "a number is expected after limit", 8},
		{"s order Age", "by is expected after order", 8},
		{"s order by Tags", "Tags is a []string, which has no order", 11},
		{"s where Joined > 'now'", `Joined is a time: compare it with one such as "2024-02-29"`, 17},
		{"m from a", "m is a map without an order", 7},
		{"l prefix a", "the keys of l are of type int, and only strings have prefixes", 9},
		{"n from x", "the key is not of type int: want a number, got a string", 7},
		{"s where Age = \"x", "the string does not end", 14},
		{"s where Name.X = 1", "Name.X: a string has no field X", 8},
		{"l where City = 1", "City: a int has no field City; there are key and value", 8},
		{"s where Age ! 3", "a ! stands alone; write != or not", 12},
	} {
		_, _, err := answer(s, c.text)
		e, ok := err.(*Error)
		if !ok || !strings.Contains(e.What, c.what) || e.At != c.at {
			t.Errorf("%s: got %+v; want %q at %d", c.text, err, c.what, c.at)
		}
	}
}

// No text makes the parser or the query panic.
func FuzzQuery(f *testing.F) {
	for _, text := range []string{`s where Age > 30 and (Name = "x" or not key in (1, 2)) order by Age desc limit 3`, "s from {\"a\":[1]} to 'x''y' show key, Home.City, Tags[0] reverse", "n prefix \xff", "s where Home.Zip = 1e400"} {
		f.Add(text)
	}
	s := people(f)
	f.Fuzz(func(t *testing.T, text string) {
		_, _, err := answer(s, text)
		if e, ok := err.(*Error); ok && (e.At < 0 || e.At > len(text) || e.What == "") {
			t.Errorf("%+v", e)
		}
	})
}
