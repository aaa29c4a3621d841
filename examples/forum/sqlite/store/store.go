// Package store keeps the forum of examples/forum in SQLite, as well as the author can: a WAL,
// pages of the file mapped into memory, prepared statements, tables in the order in which
// pages show them, an index for each question, and one query for each list.
//
// Start reading at schema.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/mattn/go-sqlite3"

	"github.com/everheap/everheap/examples/forum/page"
)

// schema: comments lie in their table as on their page, so a page is one range of it. What
// they have in common with Everheap's model is the question, not the answer: rows refer to
// users by number, and pages join them, since the karma of an author changes.
const schema = `
CREATE TABLE IF NOT EXISTS users(
	id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, salt BLOB, hash BLOB, rounds INTEGER, joined INTEGER,
	karma INTEGER NOT NULL DEFAULT 0, points INTEGER NOT NULL DEFAULT 0, day INTEGER NOT NULL DEFAULT 0, wrote INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS stories(
	id INTEGER PRIMARY KEY, title TEXT NOT NULL, link TEXT NOT NULL, author INTEGER NOT NULL, at INTEGER NOT NULL, active INTEGER NOT NULL,
	points INTEGER NOT NULL, count INTEGER NOT NULL DEFAULT 0, changed INTEGER NOT NULL, text TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS stories_points ON stories(points, id);
CREATE INDEX IF NOT EXISTS stories_active ON stories(active, id);
CREATE INDEX IF NOT EXISTS stories_changed ON stories(changed);
CREATE TABLE IF NOT EXISTS comments(
	story INTEGER, n INTEGER, parent INTEGER NOT NULL, author INTEGER NOT NULL, at INTEGER NOT NULL, points INTEGER NOT NULL, html TEXT NOT NULL, text TEXT NOT NULL,
	PRIMARY KEY(story, n)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS posts(doc INTEGER PRIMARY KEY, author INTEGER NOT NULL, story INTEGER NOT NULL, n INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS posts_author ON posts(author, doc, story, n);
CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts4(content="", text, tokenize=unicode61 "remove_diacritics=0");
CREATE TABLE IF NOT EXISTS votes(voter INTEGER, story INTEGER, n INTEGER, by INTEGER, PRIMARY KEY(voter, story, n)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sessions(token BLOB PRIMARY KEY, user INTEGER NOT NULL, until INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS sessions_until ON sessions(until);
CREATE TABLE IF NOT EXISTS sent(key TEXT PRIMARY KEY, story INTEGER, n INTEGER, until INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS sent_until ON sent(until);
CREATE TABLE IF NOT EXISTS servers(pid INTEGER PRIMARY KEY, started INTEGER, requests INTEGER, rate REAL, memory INTEGER, until INTEGER);
`

// Forum is a forum in an SQLite file.
type Forum struct {
	path    string
	db      *sql.DB
	writing sync.Mutex // one writer of this process at a time, which beats waiting in SQLite
	stmts   map[string]*sql.Stmt
}

var (
	_ page.Store  = (*Forum)(nil)
	_ page.Loader = (*Forum)(nil)
)

func init() {
	sql.Register("everforum", &sqlite3.SQLiteDriver{ConnectHook: func(c *sqlite3.SQLiteConn) error {
		_, err := c.Exec("PRAGMA mmap_size = 1073741824; PRAGMA temp_store = MEMORY", nil)
		return err
	}})
}

// Open opens the forum in a file, and creates what is not there.
func Open(path string) (*Forum, error) {
	path += ".db"
	dsn := fmt.Sprintf("file:%s?_journal_mode=WAL&_synchronous=NORMAL&_busy_timeout=20000&_cache_size=-65536&_txlock=immediate&_mutex=no", path)
	db, err := sql.Open("everforum", dsn)
	if err != nil {
		return nil, err
	}
	db.SetMaxIdleConns(64)
	f := &Forum{path: path, db: db, stmts: map[string]*sql.Stmt{}}
	if _, err := db.Exec(schema); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	for _, q := range queries {
		if f.stmts[q], err = db.Prepare(q); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", q, err), db.Close())
		}
	}
	return f, nil
}

// queries are all that are prepared.
var queries = []string{frontNew, frontActive, frontTop, storyHead, storyComments, onePost, userHead, userPosts, searchPosts, passwordOf, sessionOf,
	userID, addPost, addWords, addComment, addStory, bumpStory, bumpUser, sentBefore, addSent, addSession}

// Close closes the file.
func (f *Forum) Close() error { return f.db.Close() }

// Size returns what the file takes.
func (f *Forum) Size() (page.Size, error) {
	var s page.Size
	for _, suffix := range []string{"", "-wal"} {
		if info, err := os.Stat(f.path + suffix); err == nil {
			s.Disk += uint64(info.Size())
		}
	}
	var pages, size uint64
	err := f.db.QueryRow("SELECT page_count, page_size FROM pragma_page_count, pragma_page_size").Scan(&pages, &size)
	s.Data = pages * size
	return s, err
}

// update runs fn in a writing transaction.
func (f *Forum) update(fn func(tx *sql.Tx) error) error {
	f.writing.Lock()
	defer f.writing.Unlock()
	tx, err := f.db.BeginTx(context.Background(), nil)
	if err != nil {
		return err
	}
	if err := fn(tx); err != nil {
		return errors.Join(none(err), tx.Rollback())
	}
	return tx.Commit()
}

// none makes the error of a row that is not there the one that the site knows.
func none(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return page.ErrNone
	}
	return err
}
