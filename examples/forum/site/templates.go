package site

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"time"
)

//go:embed assets
var files embed.FS

// asset is a file that browsers keep.
type asset struct {
	path, kind string
	body       []byte
}

var assets = loadAssets()

func loadAssets() map[string]asset {
	list := map[string]asset{}
	for name, kind := range map[string]string{"style.css": "text/css; charset=utf-8", "live.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml"} {
		body, err := files.ReadFile("assets/" + name)
		if err != nil {
			panic(err)
		}
		hash := sha256.Sum256(body)
		list[name] = asset{"/assets/" + hex.EncodeToString(hash[:6]) + "/" + name, kind, body}
	}
	return list
}

var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"day":   func(unix int64) string { return time.Unix(unix, 0).UTC().Format(time.DateOnly) },
	"since": func(t time.Time) string { return time.Since(t).Round(time.Second).String() },
	"mib":   func(n uint64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) },
	"group": group,
}).ParseFS(files, "assets/*.html"))

// group writes a number with its thousands apart.
func group(n any) string {
	if f, ok := n.(float64); ok {
		n = uint64(f + 0.5)
	}
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}
