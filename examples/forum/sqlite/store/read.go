package store

import (
	"database/sql"
	"errors"
	"iter"
	"sync"
	"time"

	"github.com/everheap/everheap/examples/forum/page"
)

const (
	storyColumns = `s.id, s.title, s.link, u.name, s.at, s.active, s.points, s.count`
	frontNew     = `SELECT ` + storyColumns + ` FROM stories s JOIN users u ON u.id = s.author ORDER BY s.id DESC`
	frontActive  = `SELECT ` + storyColumns + ` FROM stories s JOIN users u ON u.id = s.author ORDER BY s.active DESC, s.id DESC`
	frontTop     = `SELECT ` + storyColumns + ` FROM stories s JOIN users u ON u.id = s.author ORDER BY s.points DESC, s.id DESC`
	storyHead    = `SELECT ` + storyColumns + `, s.text FROM stories s JOIN users u ON u.id = s.author WHERE s.id = ?`
	// The words CROSS JOIN say which table is read first; SQLite would choose the same.
	storyComments = `SELECT c.parent, c.points, u.karma, u.name, c.html FROM comments c CROSS JOIN users u ON u.id = c.author WHERE c.story = ? AND c.n > ? ORDER BY c.n`
	onePost       = `SELECT s.id, 0, s.title, u.name, s.text, s.at, s.points FROM stories s JOIN users u ON u.id = s.author WHERE ?1 = 0 AND s.id = ?2
		UNION ALL SELECT s.id, c.n, s.title, u.name, c.text, c.at, c.points FROM comments c JOIN stories s ON s.id = c.story JOIN users u ON u.id = c.author WHERE c.story = ?2 AND c.n = ?1 AND c.n > 0`
	userHead  = `SELECT name, joined, karma, points, day, wrote FROM users WHERE name = ?`
	userPosts = `SELECT p.story, p.n, s.title, u.name, coalesce(c.text, s.text), coalesce(c.at, s.at), coalesce(c.points, s.points)
		FROM users u CROSS JOIN posts p ON p.author = u.id CROSS JOIN stories s ON s.id = p.story LEFT JOIN comments c ON c.story = p.story AND c.n = p.n
		WHERE u.name = ? ORDER BY p.doc DESC`
	searchPosts = `WITH found AS MATERIALIZED (SELECT docid FROM words WHERE words MATCH ?)
		SELECT (SELECT count(*) FROM found), p.story, p.n, s.title, u.name, coalesce(c.text, s.text), coalesce(c.at, s.at), coalesce(c.points, s.points)
		FROM (SELECT docid FROM found ORDER BY docid DESC LIMIT ?) d CROSS JOIN posts p ON p.doc = d.docid CROSS JOIN users u ON u.id = p.author
		CROSS JOIN stories s ON s.id = p.story LEFT JOIN comments c ON c.story = p.story AND c.n = p.n ORDER BY p.doc DESC`
	passwordOf = `SELECT salt, hash, rounds FROM users WHERE name = ?`
	sessionOf  = `SELECT u.name, u.points, u.day FROM sessions s JOIN users u ON u.id = s.user WHERE s.token = ? AND s.until > ?`
)

func today() int64 { return time.Now().Unix() / (24 * 60 * 60) }

const pointsADay = 10

func left(points int, day int64) int {
	if day != today() {
		return pointsADay
	}
	return points
}

// Front passes all stories in an order.
func (f *Forum) Front(order page.Order, show func(n int, stories iter.Seq[*page.Story]) error) error {
	query := map[page.Order]string{page.Active: frontActive, page.Top: frontTop}[order]
	if query == "" {
		query = frontNew
	}
	rows, err := f.stmts[query].Query()
	if err != nil {
		return err
	}
	defer rows.Close()
	var list []page.Story // the page begins with how many there are
	for rows.Next() {
		var s page.Story
		if err := rows.Scan(&s.ID, &s.Title, &s.Link, &s.Author, &s.At, &s.Active, &s.Points, &s.Comments); err != nil {
			return err
		}
		list = append(list, s)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	return show(len(list), each(list))
}

func each[T any](list []T) iter.Seq[*T] {
	return func(yield func(*T) bool) {
		for i := range list {
			if !yield(&list[i]) {
				return
			}
		}
	}
}

// Tagged: this store has only the first version of the types.
func (f *Forum) Tagged(string, func(int, iter.Seq[*page.Story]) error) error { return page.ErrNone }

var buffers = sync.Pool{New: func() any { return new([]page.Comment) }}

// Story passes a story and its comments after the first ones.
func (f *Forum) Story(id uint32, after int, show func(s *page.Story, comments []page.Comment) error) error {
	var s page.Story
	err := f.stmts[storyHead].QueryRow(id).Scan(&s.ID, &s.Title, &s.Link, &s.Author, &s.At, &s.Active, &s.Points, &s.Comments, &s.Text)
	if err != nil {
		return none(err)
	}
	rows, err := f.stmts[storyComments].Query(id, after)
	if err != nil {
		return err
	}
	defer rows.Close()
	buf := buffers.Get().(*[]page.Comment)
	defer buffers.Put(buf)
	list := (*buf)[:0]
	var parent, points, karma int64 // what the driver has: it makes texts of what is to become an int
	for rows.Next() {
		list = append(list, page.Comment{})
		c := &list[len(list)-1]
		if err := rows.Scan(&parent, &points, &karma, &c.Author, (*string)(&c.HTML)); err != nil {
			return err
		}
		c.Parent, c.Points, c.Karma = int(parent), int(points), int(karma)
	}
	*buf = list
	if err := rows.Err(); err != nil {
		return err
	}
	for i := range list { // HTML that another version of the site has stored is not passed on (HT2)
		if c := &list[i]; !c.HTML.Current() {
			err := f.Post(id, after+i+1, func(p *page.Post) error { c.HTML = page.Markup(p.Comment, p.Author, p.At, p.Text); return nil })
			if err != nil {
				return err
			}
		}
	}
	s.Comments = after + len(list)
	return show(&s, list)
}

// Post passes a comment of a story, or the story itself.
func (f *Forum) Post(story uint32, comment int, show func(p *page.Post) error) error {
	var p page.Post
	err := f.stmts[onePost].QueryRow(comment, story).Scan(&p.Story, &p.Comment, &p.Title, &p.Author, &p.Text, &p.At, &p.Points)
	if err != nil {
		return none(err)
	}
	return show(&p)
}

// User passes a user and all that they wrote, newest first.
func (f *Forum) User(name string, show func(u *page.User, posts iter.Seq[*page.Post]) error) error {
	var u page.User
	var day int64
	if err := f.stmts[userHead].QueryRow(name).Scan(&u.Name, &u.Joined, &u.Karma, &u.Points, &day, &u.Wrote); err != nil {
		return none(err)
	}
	u.Points = left(u.Points, day)
	rows, err := f.stmts[userPosts].Query(name)
	if err != nil {
		return err
	}
	defer rows.Close()
	var list []page.Post
	for rows.Next() {
		var p page.Post
		if err := rows.Scan(&p.Story, &p.Comment, &p.Title, &p.Author, &p.Text, &p.At, &p.Points); err != nil {
			return err
		}
		list = append(list, p)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	u.Wrote = len(list)
	return show(&u, each(list))
}

// Search passes the newest posts that have all the words.
func (f *Forum) Search(words []string, most int, show func(n int, posts iter.Seq[*page.Post]) error) error {
	match := ""
	for _, w := range words {
		match += ` "` + w + `"` // they have letters and digits only
	}
	if match == "" {
		return show(0, func(func(*page.Post) bool) {})
	}
	rows, err := f.stmts[searchPosts].Query(match, most)
	if err != nil {
		return err
	}
	defer rows.Close()
	var list []page.Post
	n := 0
	for rows.Next() {
		var p page.Post
		if err := rows.Scan(&n, &p.Story, &p.Comment, &p.Title, &p.Author, &p.Text, &p.At, &p.Points); err != nil {
			return err
		}
		list = append(list, p)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	return show(n, each(list))
}

// Password returns that of a user.
func (f *Forum) Password(name string) (p page.Password, err error) {
	err = f.stmts[passwordOf].QueryRow(name).Scan(&p.Salt, &p.Hash, &p.Rounds)
	return p, none(err)
}

// Session returns the user of a session that has not expired.
func (f *Forum) Session(token [32]byte) (name string, points int, err error) {
	var day int64
	err = f.stmts[sessionOf].QueryRow(token[:], time.Now().Unix()).Scan(&name, &points, &day)
	if errors.Is(err, sql.ErrNoRows) {
		return "", 0, page.ErrNone
	}
	return name, left(points, day), err
}
