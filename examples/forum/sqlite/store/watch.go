package store

import (
	"context"
	"database/sql"
	"iter"
	"time"

	"github.com/everheap/everheap/examples/forum/page"
)

// look is how often a watcher asks whether another connection has committed.
const look = 100 * time.Millisecond

// Watch returns the stories that change. SQLite does not tell other processes of changes, so
// this asks.
func (f *Forum) Watch(ctx context.Context) iter.Seq2[page.Change, error] {
	return func(yield func(page.Change, error) bool) {
		conn, err := f.db.Conn(ctx)
		if err != nil {
			yield(page.Change{}, err)
			return
		}
		defer conn.Close()
		var version, changed int64
		var last uint32
		if err = conn.QueryRowContext(ctx, "SELECT coalesce(max(changed), 0), coalesce(max(id), 0) FROM stories").Scan(&changed, &last); err != nil {
			yield(page.Change{}, err)
			return
		}
		for {
			select {
			case <-ctx.Done():
				yield(page.Change{}, ctx.Err())
				return
			case <-time.After(look):
			}
			was := version
			if err = conn.QueryRowContext(ctx, "PRAGMA data_version").Scan(&version); err != nil {
				yield(page.Change{}, err)
				return
			}
			if was == version {
				continue
			}
			list, now, err := changes(ctx, conn, changed)
			if err != nil {
				yield(page.Change{}, err)
				return
			}
			changed = now
			for _, c := range list {
				if c.New = c.Story > last; c.New {
					last = c.Story
				}
				if !yield(c, nil) {
					return
				}
			}
		}
	}
}

func changes(ctx context.Context, conn *sql.Conn, after int64) (list []page.Change, last int64, err error) {
	last = after
	rows, err := conn.QueryContext(ctx, "SELECT id, count, points, changed FROM stories WHERE changed > ? ORDER BY changed", after)
	if err != nil {
		return nil, last, err
	}
	defer rows.Close()
	for rows.Next() {
		var c page.Change
		if err := rows.Scan(&c.Story, &c.Comments, &c.Points, &last); err != nil {
			return nil, last, err
		}
		list = append(list, c)
	}
	return list, last, rows.Err()
}

// Beat tells that this process serves. What has expired is removed by the way.
func (f *Forum) Beat(s page.Server) error {
	return f.update(func(tx *sql.Tx) error {
		now := time.Now()
		for _, table := range []string{"sessions", "sent", "servers"} {
			if _, err := tx.Exec("DELETE FROM "+table+" WHERE until <= ?", now.Unix()); err != nil {
				return err
			}
		}
		_, err := tx.Exec("INSERT OR REPLACE INTO servers(pid, started, requests, rate, memory, until) VALUES(?, ?, ?, ?, ?, ?)",
			s.PID, s.Started.UnixNano(), int64(s.Requests), s.Rate, int64(s.Memory), now.Unix()+4)
		return err
	})
}

// Servers returns the processes that serve.
func (f *Forum) Servers() (list []page.Server, err error) {
	rows, err := f.db.Query("SELECT pid, started, requests, rate, memory FROM servers WHERE until > ? ORDER BY started", time.Now().Unix())
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		s := page.Server{Version: 1}
		var started int64
		if err := rows.Scan(&s.PID, &started, &s.Requests, &s.Rate, &s.Memory); err != nil {
			return nil, err
		}
		s.Started = time.Unix(0, started)
		list = append(list, s)
	}
	return list, rows.Err()
}
