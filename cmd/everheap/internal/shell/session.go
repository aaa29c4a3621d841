package shell

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/format"
	"strings"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/cmd/everheap/internal/query"
	"github.com/everheap/everheap/cmd/everheap/internal/rawjson"
	"github.com/everheap/everheap/cmd/everheap/internal/transfer"
)

// session is a running shell.
type session struct {
	Options
	space *everheap.Space
	tx    *txn // nil outside of a transaction
	mode  string
	width int  // of the terminal
	long  bool // the statement has several lines
	quit  bool
}

// run runs a line.
func (s *session) run(ctx context.Context, line string) error {
	st, err := parse(line)
	if err != nil || st == nil {
		return err
	}
	switch st.verb {
	case "begin":
		return s.begin(ctx)
	case "commit", "rollback":
		return s.finish(st.verb == "commit")
	case "use":
		return s.use(st.name)
	case ".quit":
		s.quit = true
		return nil
	case ".mode":
		if st.name != "table" && st.name != "json" {
			return fmt.Errorf("there is no mode %q; there are table and json", st.name)
		}
		s.mode = st.name
		return nil
	case ".help":
		return s.help(st.name)
	case "ls":
		return s.list()
	case "types":
		return s.types(st.name)
	case "watch":
		return s.watch(ctx, st.name)
	case "create", "rename", "drop":
		return s.change(ctx, st)
	case "set", "del":
		return s.write(ctx, func(tx *everheap.Tx) error { return s.store(tx, st) })
	case "get":
		return s.read(func(tx *everheap.Tx) error { return s.get(ctx, tx, st) })
	}
	return s.read(func(tx *everheap.Tx) error { return s.query(ctx, tx, st) })
}

// read runs fn in the transaction, or in one of its own.
func (s *session) read(fn func(tx *everheap.Tx) error) error {
	if s.tx != nil {
		return s.tx.do(fn)
	}
	var failed error // complete: returned without wrapping
	err := s.space.View(func(tx *everheap.Tx) error { failed = fn(tx); return nil })
	return errors.Join(failed, err)
}

// write is read for functions that change something.
func (s *session) write(ctx context.Context, fn func(tx *everheap.Tx) error) error {
	if s.tx != nil {
		return s.tx.do(fn)
	}
	var failed error
	err := s.space.Update(ctx, func(tx *everheap.Tx) error { failed = fn(tx); return failed })
	if failed != nil {
		return failed
	}
	return err
}

// begin begins a transaction.
func (s *session) begin(ctx context.Context) error {
	if s.tx != nil {
		return errors.New("a transaction is open already; end it with commit or rollback")
	}
	t, err := begin(ctx, s.space)
	if err != nil {
		return err
	}
	s.tx = t
	s.note("Until commit or rollback, others that want to write wait.")
	return nil
}

// finish ends the transaction.
func (s *session) finish(commit bool) error {
	if s.tx == nil {
		return errors.New("no transaction is open; begin opens one")
	}
	t := s.tx
	s.tx = nil
	if !commit {
		return t.finish(errRollback)
	}
	err := t.finish(nil)
	if errors.Is(err, everheap.ErrSuspended) {
		return errors.New("another process took over; nothing was changed: begin again")
	}
	if err == nil {
		s.note("Committed.")
	}
	return err
}

// note prints a remark, at a terminal only.
func (s *session) note(format string, args ...any) {
	if s.Terminal != nil {
		fmt.Fprintln(s.Out, s.dim(fmt.Sprintf(format, args...)))
	}
}

// dim returns a text in dim print.
func (s *session) dim(text string) string {
	if !s.Color {
		return text
	}
	return "\x1b[2m" + text + "\x1b[0m"
}

// bold returns a text in bold print.
func (s *session) bold(text string) string {
	if !s.Color {
		return text
	}
	return "\x1b[1m" + text + "\x1b[0m"
}

// use switches to another space.
func (s *session) use(name string) error {
	if s.tx != nil {
		return errors.New("a transaction is open; end it with commit or rollback")
	}
	next, err := s.Open(name)
	if err != nil {
		return err
	}
	err = s.space.Close()
	s.space, s.Space = next, name
	return err
}

// collection finds a collection, in the version of a transaction.
func collection(tx *everheap.Tx, name string) (*everheap.Collection, error) {
	c, err := tx.Collection(name)
	if !errors.Is(err, everheap.ErrNotFound) {
		return c, err
	}
	list, listErr := tx.Collections()
	if listErr != nil {
		return nil, listErr
	}
	var names []string
	for _, i := range list {
		names = append(names, i.Name)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("there is no verb or collection %q, and the space has no collections; create makes one, and .help says what can be done", name)
	}
	return nil, fmt.Errorf("there is no verb or collection %q; there are the collections %s, and .help says what can be done", name, strings.Join(names, ", "))
}

// list prints the collections.
func (s *session) list() error {
	return s.read(func(tx *everheap.Tx) error {
		list, err := tx.Collections()
		if err != nil {
			return err
		}
		if s.mode == "json" {
			for _, i := range list {
				b, err := json.Marshal(map[string]any{"name": i.Name, "type": i.Type(), "entries": i.Len})
				if err != nil {
					return err
				}
				fmt.Fprintf(s.Out, "%s\n", b)
			}
			return nil
		}
		t := &table{w: s.Out, width: s.width, strong: s.bold, columns: []tableColumn{{name: "name"}, {name: "type"}, {name: "entries", right: true}}}
		for _, i := range list {
			t.rows = append(t.rows, []string{i.Name, i.Type(), transfer.Count(i.Len)})
		}
		return t.end()
	})
}

// types prints the stored types.
func (s *session) types(name string) error {
	var names []string
	if name != "" {
		names = []string{name}
	}
	source, err := s.space.TypeSource(names...)
	if err != nil {
		return err
	}
	if formatted, err := format.Source(source); err == nil {
		source = formatted
	}
	_, err = s.Out.Write(source)
	return err
}

// change creates, renames or drops a collection.
func (s *session) change(ctx context.Context, st *statement) error {
	return s.write(ctx, func(tx *everheap.Tx) error {
		if st.verb == "create" {
			_, err := tx.Create(st.name, st.value)
			return err
		}
		if _, err := collection(tx, st.name); err != nil {
			return err
		}
		if st.verb == "rename" {
			return everheap.RenameCollection(tx, st.name, st.value)
		}
		_, err := everheap.DropCollection(tx, st.name)
		return err
	})
}

// store runs set or del.
func (s *session) store(tx *everheap.Tx, st *statement) error {
	c, err := collection(tx, st.name)
	if err != nil {
		return err
	}
	if st.verb == "del" {
		return s.del(tx, c, st)
	}
	value := []byte(st.value)
	if c.StringValues() && !json.Valid(value) {
		value = rawjson.String(unquoted(st.value))
	}
	var key []byte
	kind := c.Kind()
	switch {
	case len(st.keys) > 0 && kind == "ref":
		return &query.Error{At: st.keys[0].At, What: fmt.Sprintf("%s is a single value, without keys: set %s VALUE", st.name, st.name)}
	case len(st.keys) > 0:
		key = query.Key(c, st.keys[0])
	case kind == "list":
		return c.As(everheap.JSON).Append(tx, value)
	case kind != "ref":
		return &query.Error{At: st.at, What: fmt.Sprintf("%s is a %s: set %s KEY VALUE", st.name, kind, st.name)}
	}
	return c.SetJSON(tx, key, value)
}

// unquoted returns a text without single quotes around it.
func unquoted(text string) string {
	if t, err := query.Next(text, 0); err == nil && t.Kind == query.Text && t.After == len(text) {
		return t.Text
	}
	return text
}

// del deletes keys.
func (s *session) del(tx *everheap.Tx, c *everheap.Collection, st *statement) error {
	var missing []string
	for _, l := range st.keys {
		key := query.Key(c, l)
		removed, err := c.DeleteJSON(tx, key)
		if err != nil {
			return err
		}
		if !removed {
			missing = append(missing, string(key))
		}
	}
	if len(missing) > 0 {
		if s.tx == nil {
			return fmt.Errorf("%s has no key %s; nothing was deleted", st.name, strings.Join(missing, ", "))
		}
		return fmt.Errorf("%s has no key %s; the others were deleted", st.name, strings.Join(missing, ", "))
	}
	return nil
}

// get prints values.
func (s *session) get(ctx context.Context, tx *everheap.Tx, st *statement) error {
	c, err := collection(tx, st.name)
	if err != nil {
		return err
	}
	if len(st.keys) == 0 && c.Kind() != "ref" {
		st.query = &query.Query{Collection: st.name, Limit: -1}
		return s.query(ctx, tx, st)
	}
	keys := [][]byte{nil}
	if len(st.keys) > 0 {
		keys = nil
	}
	for _, l := range st.keys {
		keys = append(keys, query.Key(c, l))
	}
	for _, key := range keys {
		value, err := c.GetJSON(tx, key)
		if errors.Is(err, everheap.ErrNotFound) {
			return fmt.Errorf("%s has no key %s", st.name, key)
		}
		if err != nil {
			return err
		}
		if s.mode == "table" {
			value = indented(value)
		}
		fmt.Fprintf(s.Out, "%s\n", value)
	}
	return nil
}

// mostShown is the number of entries shown at a terminal if the query has no limit.
const mostShown = 100

// query answers a query.
func (s *session) query(ctx context.Context, tx *everheap.Tx, st *statement) error {
	q := st.query
	c, err := collection(tx, q.Collection)
	if err != nil {
		return err
	}
	if err := q.Bind(c); err != nil {
		return err
	}
	cut := q.Limit < 0 && s.Terminal != nil && st.verb != "count" && st.verb != "explain"
	if cut {
		q.Limit = mostShown
	}
	begun := time.Now()
	switch st.verb {
	case "count":
		return s.count(ctx, tx, c, q)
	case "explain":
		a, err := q.How(tx, c, s.Indexes)
		if err == nil {
			fmt.Fprintf(s.Out, "%s is answered by %s%s\n", q.Collection, a.How, a.Order)
		}
		return err
	}
	var p printer = &jsonRows{w: s.Out, show: q.Show, keys: c.KeyType() != "", only: st.verb == "keys"}
	if s.mode == "table" {
		t := newTable(s.Out, s.width, c, q, st.verb == "keys")
		t.strong = s.bold
		p = t
	}
	a, err := q.Run(ctx, tx, c, s.Indexes, p.row)
	if endErr := p.end(); err == nil {
		err = endErr
	}
	if err == nil && s.mode == "table" {
		s.foot(&a, cut, time.Since(begun))
	}
	return err
}

// count prints the number of entries.
func (s *session) count(ctx context.Context, tx *everheap.Tx, c *everheap.Collection, q *query.Query) error {
	if q.Where == nil && q.From == nil && q.To == nil && q.Prefix == nil && q.Limit < 0 {
		n, err := c.Len(tx)
		if err == nil {
			fmt.Fprintln(s.Out, n)
		}
		return err
	}
	begun := time.Now()
	q.AnyOrder = true
	a, err := q.Run(ctx, tx, c, s.Indexes, func(query.Row) error { return nil })
	if err != nil {
		return err
	}
	fmt.Fprintln(s.Out, a.Rows)
	if s.mode == "table" {
		s.note("by %s of %s, in %s", a.How, counted(a.Seen, "entry", "entries"), brief(time.Since(begun)))
	}
	return nil
}

// foot prints the number of entries, and how they were found.
func (s *session) foot(a *query.Answer, cut bool, took time.Duration) {
	rows := counted(a.Rows, "entry", "entries")
	if a.Rows == 0 {
		rows = "no entries"
	}
	more := ""
	if a.More && cut {
		more = "; there are more: give limit N"
	}
	s.note("(%s, by %s of %s%s, in %s%s)", rows, a.How, counted(a.Seen, "entry", "entries"), a.Order, brief(took), more)
}

// counted returns a number with its noun.
func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return transfer.Count(uint64(n)) + " " + many
}

// brief formats a time for people.
func brief(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < time.Second:
		return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}

// watch prints changes until the context ends.
func (s *session) watch(ctx context.Context, name string) error {
	if s.tx != nil {
		return errors.New("watch shows what others commit, and the open transaction keeps them from that; end it with commit or rollback")
	}
	if name == "" {
		s.note("Each new version is a line; ctrl-C ends this.")
		for v, err := range s.space.Changes(ctx) {
			if err != nil {
				return err
			}
			fmt.Fprintf(s.Out, "{\"version\":%d}\n", v)
		}
		return nil
	}
	var c *everheap.Collection
	if err := s.read(func(tx *everheap.Tx) (err error) { c, err = collection(tx, name); return err }); err != nil {
		return err
	}
	s.note("Changes of %s are shown as they happen; ctrl-C ends this.", name)
	for change, err := range c.WatchJSON(ctx) {
		if err != nil {
			return err
		}
		if s.mode == "json" {
			b, err := json.Marshal(change)
			if err != nil {
				return err
			}
			fmt.Fprintf(s.Out, "%s\n", b)
			continue
		}
		sign, value := "+", change.New
		switch change.Kind {
		case everheap.Updated:
			sign = "~"
		case everheap.Removed:
			sign, value = "-", change.Old
		}
		fmt.Fprintf(s.Out, "%s %s %s\n", sign, cell(change.Key), value)
	}
	return nil
}
