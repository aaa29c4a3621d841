package site

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/everheap/everheap/examples/forum/page"
)

// template makes a whole page of a template.
func (q *request) template(name, title string, data any) error {
	q.frame(title, "")
	if err := templates.ExecuteTemplate(q.out, name, data); err != nil {
		return err
	}
	q.close()
	return nil
}

// front shows all stories.
func (q *request) front() error {
	order := page.Order(q.FormValue("sort"))
	if order != page.Active && order != page.Top {
		order = page.Newest
	}
	return q.site.store.Front(order, func(n int, stories iter.Seq[*page.Story]) error {
		return q.stories("All stories", "/live", n, stories, order)
	})
}

// tagged shows the stories with a tag.
func (q *request) tagged() error {
	tag := q.PathValue("tag")
	return q.site.store.Tagged(tag, func(n int, stories iter.Seq[*page.Story]) error {
		return q.stories("Stories about "+tag, "", n, stories, "")
	})
}

func (q *request) stories(title, live string, n int, stories iter.Seq[*page.Story], order page.Order) error {
	q.frame(title, live)
	b := q.out
	b.raw(`<div class="top"><h1>`)
	b.text(title)
	b.raw(`</h1><p class="quiet"><span id="count">`)
	b.int(n)
	b.raw(`</span> stories`)
	b.raw(map[page.Order]string{page.Newest: ", the newest first", page.Active: ", the last answered first", page.Top: ", the most liked first"}[order])
	b.raw(`</p></div>`)
	b.raw(`<ol class="stories" id="stories">`)
	for s := range stories {
		b.story(s)
	}
	b.raw(`</ol>`)
	q.close()
	return nil
}

// story appends one row of the front page.
func (b *buffer) story(s *page.Story) {
	b.raw(`<li id="s`)
	b.int(int(s.ID))
	b.raw(`"><b class="points">`)
	b.int(s.Points)
	b.raw(`</b><div><a href="/s/`)
	b.int(int(s.ID))
	b.raw(`">`)
	b.text(s.Title)
	b.raw(`</a>`)
	if s.Link != "" {
		b.raw(` <span class="site">`)
		b.text(hostOf(s.Link))
		b.raw(`</span>`)
	}
	b.tags(s.Tags)
	b.raw(`<p class="by"><a href="/u/`)
	b.path(s.Author)
	b.raw(`">`)
	b.text(s.Author)
	b.raw(`</a> `)
	b.time(s.At)
	b.raw(` <a href="/s/`)
	b.int(int(s.ID))
	b.raw(`#comments"><span class="n">`)
	b.int(s.Comments)
	b.raw(`</span> comments</a></p></div></li>`)
}

func (b *buffer) tags(tags []string) {
	for _, t := range tags {
		b.raw(` <a class="tag" href="/tag/`)
		b.path(t)
		b.raw(`">`)
		b.text(t)
		b.raw(`</a>`)
	}
}

// hostOf returns the part of an address that says whose it is.
func hostOf(link string) string {
	_, rest, _ := strings.Cut(link, "://")
	host, _, _ := strings.Cut(rest, "/")
	return strings.TrimPrefix(host, "www.")
}

// story shows a story with all its comments.
func (q *request) story() error {
	id, err := number(q.PathValue("id"), 1<<32-1)
	if err != nil {
		return err
	}
	return q.site.store.Story(id, 0, func(s *page.Story, comments []page.Comment) error {
		q.frame(s.Title, fmt.Sprintf("/s/%d/live?after=%d", id, len(comments)))
		can := q.abilities(id)
		q.article(s, len(comments), can)
		q.out.comments(comments, can)
		q.close()
		return nil
	})
}

func (q *request) abilities(story uint32) abilities {
	return abilities{reply: q.name != "", moderate: q.name != "" && q.points > 0, name: q.name, story: story}
}

// replyForm shows the form to answer a comment, below what it answers.
func (q *request) replyForm() error {
	story, n, err := q.place()
	if err != nil {
		return err
	}
	if q.name == "" {
		return q.redirect("/login?to=" + url.QueryEscape(q.URL.Path))
	}
	return q.site.store.Post(story, n, func(p *page.Post) error {
		return q.template("reply", "Reply", map[string]any{"Post": p, "Key": rand.Text()})
	})
}

// place reads which comment the address is about.
func (q *request) place() (story uint32, n int, err error) {
	if story, err = number(q.PathValue("id"), 1<<32-1); err != nil {
		return 0, 0, err
	}
	c, err := number(q.PathValue("n"), 1<<31-1)
	return story, int(c), err
}

// reply adds a comment.
func (q *request) reply() error {
	story, n, err := q.place()
	if err != nil {
		return err
	}
	key, err := q.author()
	if err != nil {
		return err
	}
	text, err := q.text("text", page.MaxText, 1)
	if err != nil {
		return err
	}
	c, err := q.site.store.Reply(q.name, key, story, n, text)
	if err != nil {
		return err
	}
	return q.redirect(fmt.Sprintf("/s/%d#c%d", story, c))
}

// author returns the key of a form of somebody who has logged in.
func (q *request) author() (key string, err error) {
	if q.name == "" {
		return "", tell(http.StatusForbidden, "Please log in first: your session may have ended.")
	}
	key = q.PostFormValue("key")
	if len(key) < 16 || len(key) > page.MaxKey {
		return "", tell(http.StatusBadRequest, "That form is not of this site.")
	}
	return q.name + " " + key, nil
}

// text reads a text of a form, of so many bytes, without what no text has.
func (q *request) text(field string, most, least int) (string, error) {
	text := strings.TrimSpace(strings.ReplaceAll(q.PostFormValue(field), "\r\n", "\n"))
	bad := !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' })
	switch {
	case bad:
		return "", tell(http.StatusBadRequest, "That text has characters that no text has.")
	case len(text) > most:
		return "", tell(http.StatusBadRequest, fmt.Sprintf("That text has %d bytes; it can have %d.", len(text), most))
	case len(text) < least:
		return "", tell(http.StatusBadRequest, "That text is missing.")
	}
	return text, nil
}

// moderate changes the points of a story or a comment by one.
func (q *request) moderate() error {
	story, err := number(q.PathValue("id"), 1<<32-1)
	if err != nil {
		return err
	}
	if q.name == "" {
		return tell(http.StatusForbidden, "Please log in first: your session may have ended.")
	}
	by, field := 1, q.PostFormValue("up")
	if field == "" {
		by, field = -1, q.PostFormValue("down")
	}
	c, err := number(field, 1<<31-1)
	if err != nil {
		return err
	}
	if err := q.site.store.Moderate(q.name, story, int(c), by); err != nil {
		return err
	}
	if c == 0 {
		return q.redirect(fmt.Sprintf("/s/%d", story))
	}
	return q.redirect(fmt.Sprintf("/s/%d#c%d", story, c))
}

// submitForm shows the form for a new story.
func (q *request) submitForm() error {
	if q.name == "" {
		return q.redirect("/login?to=/submit")
	}
	return q.template("submit", "Submit a story", map[string]any{"Key": rand.Text()})
}

// submit adds a story.
func (q *request) submit() error {
	key, err := q.author()
	if err != nil {
		return err
	}
	var s page.Story
	if s.Title, err = q.text("title", page.MaxTitle, 3); err != nil {
		return err
	}
	if s.Text, err = q.text("text", page.MaxText, 0); err != nil {
		return err
	}
	if s.Link, err = q.text("link", page.MaxLink, 0); err != nil {
		return err
	}
	if s.Link != "" {
		u, err := url.Parse(s.Link)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
			return tell(http.StatusBadRequest, "A link begins with https:// or http://.")
		}
	}
	for _, t := range strings.Fields(strings.ToLower(q.PostFormValue("tags"))) {
		if page.ValidName(t) && len(s.Tags) < 5 && !slices.Contains(s.Tags, t) {
			s.Tags = append(s.Tags, t)
		}
	}
	id, err := q.site.store.Submit(q.name, key, s)
	if err != nil {
		return err
	}
	return q.redirect(fmt.Sprintf("/s/%d", id))
}

// user shows a user and all that they wrote.
func (q *request) user() error {
	return q.site.store.User(q.PathValue("name"), func(u *page.User, posts iter.Seq[*page.Post]) error {
		q.frame(u.Name, "")
		if err := templates.ExecuteTemplate(q.out, "user", u); err != nil {
			return err
		}
		q.posts(posts, u.Name)
		q.close()
		return nil
	})
}

// mostFound is how many posts a search shows.
const mostFound = 500

// search shows what has all the words.
func (q *request) search() error {
	words := page.Words(cut(q.FormValue("q"), 200))
	words = words[:min(len(words), page.MaxSearch)]
	return q.site.store.Search(words, mostFound, func(n int, posts iter.Seq[*page.Post]) error {
		q.frame("Search", "")
		if err := templates.ExecuteTemplate(q.out, "search", map[string]any{"Words": words, "Count": n, "Most": mostFound}); err != nil {
			return err
		}
		q.posts(posts, "")
		q.close()
		return nil
	})
}

func cut(s string, most int) string { return s[:min(len(s), most)] }

// posts appends posts away from their stories.
func (q *request) posts(posts iter.Seq[*page.Post], of string) {
	b := q.out
	b.raw(`<ol class="posts">`)
	for p := range posts {
		b.raw(`<li><a href="/s/`)
		b.int(int(p.Story))
		if p.Comment > 0 {
			b.raw(`#c`)
			b.int(p.Comment)
		}
		b.raw(`">`)
		b.text(p.Title)
		b.raw(`</a><p class="by">`)
		if p.Comment == 0 {
			b.raw(`story `)
		}
		if p.Author != of {
			b.raw(`<a href="/u/`)
			b.path(p.Author)
			b.raw(`">`)
			b.text(p.Author)
			b.raw(`</a> `)
		}
		b.time(p.At)
		b.raw(` `)
		b.points(p.Points)
		b.raw(`</p><p>`)
		b.text(p.Text)
		b.raw(`</p></li>`)
	}
	b.raw(`</ol>`)
}

func (q *request) robots() error {
	q.header.Set("Content-Type", "text/plain; charset=utf-8")
	q.out.raw("User-agent: *\nDisallow: /\n")
	return nil
}

// asset serves a file of the site. Its address has its hash, so a browser may keep it.
func (q *request) asset() error {
	a, ok := assets[q.PathValue("name")]
	if !ok {
		return page.ErrNone
	}
	q.header.Set("Content-Type", a.kind)
	q.header.Set("Cache-Control", "public, max-age=31536000, immutable")
	q.out.Write(bytes.Clone(a.body))
	return nil
}

// sentence makes a text of an error a sentence.
func sentence(s string) string { return strings.ToUpper(s[:1]) + s[1:] + "." }
