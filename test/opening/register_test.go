package opening

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/proctest"
)

// plugin is a concrete type that one program knows.
type plugin struct {
	Name string
	Args []any
}

func init() {
	proctest.Children["plugins"] = func(dir string) error {
		everheap.RegisterName[plugin]("plugin")
		s, err := everheap.Open(dir)
		if err != nil {
			return err
		}
		m, err := everheap.OpenMap[string, any](s, "plugins")
		if err == nil {
			err = m.Set(s, "a", plugin{"a", []any{1, plugin{Name: "in"}}})
		}
		if err != nil {
			return err
		}
		proctest.Say("stored")
		proctest.Told()
		v, err := m.Get(s, "b")
		if err != nil {
			return err
		}
		proctest.Say("got", v.(plugin).Name, v.(plugin).Args[0])
		return s.Close()
	}
}

// A process that has not registered a type of another process can use the collection: errors name the
// missing type, and operations without Go types work.
func TestRegister_AnotherProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	s := open(t, dir)
	m, err := everheap.OpenMap[string, any](s, "plugins")
	must(t, err)
	must(t, m.Set(s, "own", 5))
	p := proctest.Start(t, "plugins", dir, nil)
	p.Hear("stored")
	_, err = m.Get(s, "a")
	expectError(t, err, everheap.ErrUnregistered, "a value of type plugin in a field of type any")
	if v, err := m.Get(s, "own"); err != nil || v != 5 {
		t.Errorf("got %v, %v", v, err)
	}
	c, err := s.Collection("plugins")
	must(t, err)
	text, err := c.GetJSON(s, []byte(`"a"`))
	const want = `{"type":"plugin","value":{"Name":"a","Args":[{"type":"int","value":1},{"type":"plugin","value":{"Name":"in","Args":null}}]}}`
	if err != nil || string(text) != want {
		t.Errorf("got %s, %v", text, err)
	}
	must(t, c.SetJSON(s, []byte(`"b"`), []byte(strings.Replace(want, `"Name":"a"`, `"Name":"b"`, 1))))
	p.Tell("go on")
	if rest := p.Hear("got"); rest != "b 1" {
		t.Errorf("it got %q", rest)
	}
	p.Ends()
	r, err := s.Check(t.Context())
	if err != nil || len(r.Findings) > 0 {
		t.Errorf("%v: %v", r.Findings, err)
	}
}
