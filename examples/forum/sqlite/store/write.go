package store

import (
	"database/sql"
	"errors"
	"strings"
	"time"

	"github.com/everheap/everheap/examples/forum/page"
)

const (
	userID     = `SELECT id FROM users WHERE name = ?`
	addPost    = `INSERT INTO posts(author, story, n) VALUES(?, ?, ?)`
	addWords   = `INSERT INTO words(docid, text) VALUES(?, ?)`
	addComment = `INSERT INTO comments(story, n, parent, author, at, points, html, text) VALUES(?, ?, ?, ?, ?, ?, ?, ?)`
	addStory   = `INSERT INTO stories(title, link, text, author, at, active, points, count, changed) VALUES(?, ?, ?, ?, ?, ?, ?, ?, 1 + coalesce((SELECT max(changed) FROM stories), 0))`
	bumpStory  = `UPDATE stories SET count = count + 1, active = ?, changed = 1 + (SELECT max(changed) FROM stories) WHERE id = ? AND count >= ? RETURNING count`
	bumpUser   = `UPDATE users SET wrote = wrote + 1 WHERE id = ?`
	sentBefore = `SELECT story, n FROM sent WHERE key = ? AND until > ?`
	addSent    = `INSERT OR REPLACE INTO sent(key, story, n, until) VALUES(?, ?, ?, ?)`
	addSession = `INSERT INTO sessions(token, user, until) VALUES(?, ?, ?)`
)

func (f *Forum) user(tx *sql.Tx, name string) (id int64, err error) {
	err = tx.Stmt(f.stmts[userID]).QueryRow(name).Scan(&id)
	return id, none(err)
}

// sentAlready returns what became of a form that was sent before.
func (f *Forum) sentAlready(tx *sql.Tx, key string) (story uint32, n int, found bool, err error) {
	err = tx.Stmt(f.stmts[sentBefore]).QueryRow(key, time.Now().Unix()).Scan(&story, &n)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, 0, false, nil
	}
	return story, n, err == nil, err
}

// wrote enters a new post where it is found.
func (f *Forum) wrote(tx *sql.Tx, author int64, story uint32, n int, text string) error {
	r, err := tx.Stmt(f.stmts[addPost]).Exec(author, story, n)
	if err != nil {
		return err
	}
	doc, err := r.LastInsertId()
	if err != nil {
		return err
	}
	if _, err := tx.Stmt(f.stmts[addWords]).Exec(doc, strings.Join(page.Words(text), " ")); err != nil {
		return err
	}
	_, err = tx.Stmt(f.stmts[bumpUser]).Exec(author)
	return err
}

func (f *Forum) remember(tx *sql.Tx, key string, story uint32, n int) error {
	_, err := tx.Stmt(f.stmts[addSent]).Exec(key, story, n, time.Now().Add(24*time.Hour).Unix())
	return err
}

// Submit adds a story.
func (f *Forum) Submit(author, key string, s page.Story) (id uint32, err error) {
	err = f.update(func(tx *sql.Tx) error {
		was, _, found, err := f.sentAlready(tx, key)
		if err != nil || found {
			id = was
			return err
		}
		by, err := f.user(tx, author)
		if err != nil {
			return err
		}
		now := time.Now().Unix()
		r, err := tx.Stmt(f.stmts[addStory]).Exec(s.Title, s.Link, s.Text, by, now, now, 1, 0)
		if err != nil {
			return err
		}
		last, err := r.LastInsertId()
		if err != nil {
			return err
		}
		id = uint32(last)
		if err := f.wrote(tx, by, id, 0, s.Title+"\n"+s.Text); err != nil {
			return err
		}
		return f.remember(tx, key, id, 0)
	})
	return id, err
}

// Reply adds a comment.
func (f *Forum) Reply(author, key string, story uint32, parent int, text string) (n int, err error) {
	err = f.update(func(tx *sql.Tx) error {
		_, was, found, err := f.sentAlready(tx, key)
		if err != nil || found {
			n = was
			return err
		}
		by, err := f.user(tx, author)
		if err != nil {
			return err
		}
		now := time.Now().Unix()
		if err := tx.Stmt(f.stmts[bumpStory]).QueryRow(now, story, parent).Scan(&n); err != nil {
			return err
		}
		if _, err := tx.Stmt(f.stmts[addComment]).Exec(story, n, parent, by, now, 1, string(page.Markup(n, author, now, text)), text); err != nil {
			return err
		}
		if err := f.wrote(tx, by, story, n, text); err != nil {
			return err
		}
		return f.remember(tx, key, story, n)
	})
	return n, err
}

// Moderate changes the points of a post, and what follows from that.
func (f *Forum) Moderate(voter string, story uint32, n, by int) error {
	return f.update(func(tx *sql.Tx) error {
		var who, author, day int64
		var points int
		if err := tx.QueryRow("SELECT id, points, day FROM users WHERE name = ?", voter).Scan(&who, &points, &day); err != nil {
			return err
		}
		of := "SELECT author FROM comments WHERE story = ? AND n = ?"
		if n == 0 {
			of = "SELECT author FROM stories WHERE id = ? AND 0 = ?"
		}
		if err := tx.QueryRow(of, story, n).Scan(&author); err != nil {
			return err
		}
		if author == who {
			return page.ErrOwn
		}
		r, err := tx.Exec("INSERT OR IGNORE INTO votes(voter, story, n, by) VALUES(?, ?, ?, ?)", who, story, n, by)
		if err != nil {
			return err
		}
		if changed, err := r.RowsAffected(); err != nil || changed == 0 {
			return errors.Join(err, page.ErrVoted)
		}
		if points = left(points, day); points == 0 {
			return page.ErrNoPoints
		}
		if _, err := tx.Exec("UPDATE users SET points = ?, day = ? WHERE id = ?", points-1, today(), who); err != nil {
			return err
		}
		if _, err := tx.Exec("UPDATE users SET karma = karma + ? WHERE id = ?", by, author); err != nil {
			return err
		}
		if n == 0 {
			_, err = tx.Exec("UPDATE stories SET points = points + ?, changed = 1 + (SELECT max(changed) FROM stories) WHERE id = ?", by, story)
		} else {
			_, err = tx.Exec("UPDATE comments SET points = points + ? WHERE story = ? AND n = ?", by, story, n)
		}
		return err
	})
}

// Register adds a user.
func (f *Forum) Register(name string, p page.Password) error {
	return f.update(func(tx *sql.Tx) error {
		r, err := tx.Exec("INSERT OR IGNORE INTO users(name, salt, hash, rounds, joined) VALUES(?, ?, ?, ?, ?)", name, p.Salt, p.Hash, p.Rounds, time.Now().Unix())
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, page.ErrTaken)
		}
		return nil
	})
}

// Login begins a session.
func (f *Forum) Login(name string, token [32]byte, until time.Time) error {
	return f.update(func(tx *sql.Tx) error {
		id, err := f.user(tx, name)
		if err != nil {
			return err
		}
		_, err = tx.Stmt(f.stmts[addSession]).Exec(token[:], id, until.Unix())
		return err
	})
}

// Logout ends a session.
func (f *Forum) Logout(token [32]byte) error {
	return f.update(func(tx *sql.Tx) error {
		_, err := tx.Exec("DELETE FROM sessions WHERE token = ?", token[:])
		return err
	})
}
