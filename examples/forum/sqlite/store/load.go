package store

import (
	"database/sql"

	"github.com/everheap/everheap/examples/forum/page"
)

// LoadUsers adds many users, in one transaction.
func (f *Forum) LoadUsers(users []page.NewUser) error {
	return f.update(func(tx *sql.Tx) error {
		add, err := tx.Prepare("INSERT INTO users(name, salt, hash, rounds, joined, karma) VALUES(?, ?, ?, ?, ?, ?)")
		if err != nil {
			return err
		}
		defer add.Close()
		for _, u := range users {
			if _, err := add.Exec(u.Name, u.Password.Salt, u.Password.Hash, u.Password.Rounds, u.Joined, u.Karma); err != nil {
				return err
			}
		}
		return nil
	})
}

// LoadStory adds a story with its comments, in one transaction.
func (f *Forum) LoadStory(s page.Story, comments []page.NewComment) error {
	return f.update(func(tx *sql.Tx) error {
		by, err := f.user(tx, s.Author)
		if err != nil {
			return err
		}
		active := s.At
		if n := len(comments); n > 0 {
			active = comments[n-1].At
		}
		r, err := tx.Stmt(f.stmts[addStory]).Exec(s.Title, s.Link, s.Text, by, s.At, active, max(s.Points, 1), len(comments))
		if err != nil {
			return err
		}
		last, err := r.LastInsertId()
		if err != nil {
			return err
		}
		id := uint32(last)
		if err := f.wrote(tx, by, id, 0, s.Title+"\n"+s.Text); err != nil {
			return err
		}
		for i, c := range comments {
			by, err := f.user(tx, c.Author)
			if err != nil {
				return err
			}
			if _, err := tx.Stmt(f.stmts[addComment]).Exec(id, i+1, c.Parent, by, c.At, c.Points, string(page.Markup(i+1, c.Author, c.At, c.Text)), c.Text); err != nil {
				return err
			}
			if err := f.wrote(tx, by, id, i+1, c.Text); err != nil {
				return err
			}
		}
		return nil
	})
}

// Loaded brings what was loaded into the file, and lets SQLite look at its indexes.
func (f *Forum) Loaded() error {
	_, err := f.db.Exec("INSERT INTO words(words) VALUES('optimize'); ANALYZE; PRAGMA wal_checkpoint(TRUNCATE)")
	return err
}
