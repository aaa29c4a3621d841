//go:build linux

// Package chrome runs a headless Chromium for tests of pages, and keeps what it saw.
//
// A test starts a browser, opens a window in it, and drives that with chromedp:
//
//	b := chrome.Start(t)                 // skips the test if there is no Chromium
//	w := b.Window(t, chrome.Light)       // cookies of its own, as another person has
//	w.Run(chromedp.Navigate(address))
//	w.Until("the comment is there", `document.body.innerText.includes("hello")`)
//	w.Screenshot("story")                // artefacts/<package>/story.png
//
// What a page says to its console as an error, and what it throws, fails the test: see
// Window.Forgive. The browser is ended by the number of its own process group.
//
// Start reading at Start, then Window.
package chrome

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// Patience is how long a test waits for what should take a moment: machines that do many
// things at once are slow.
const Patience = time.Minute

// Artefacts is the directory of the pictures, beside this package; git ignores it.
const Artefacts = "artefacts"

// Find returns the path of the Chromium of this machine, or why there is none.
func Find() (path, reason string) {
	names := []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"}
	if own := os.Getenv("EVERHEAP_CHROMIUM"); own != "" {
		names = []string{own}
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, ""
		}
	}
	return "", fmt.Sprintf("there is no %s (Debian: apt-get install chromium)", strings.Join(names, ", "))
}

// Browser is a running Chromium.
type Browser struct {
	ctx     context.Context
	process *exec.Cmd
}

// PID returns the number of the process, and of the group of all its processes.
func (b *Browser) PID() int { return b.process.Process.Pid }

// Start starts a browser, which ends with the test. It skips the test, with the reason, if this
// machine has no Chromium.
func Start(t testing.TB) *Browser {
	t.Helper()
	path, reason := Find()
	if path == "" {
		t.Skip(reason)
	}
	dir, err := os.MkdirTemp("", "everheap-chromium-")
	if err != nil {
		t.Fatal(err)
	}
	var process *exec.Cmd
	opts := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.UserDataDir(dir),
		chromedp.NoSandbox, // root has no other way; the pages are the project's own
		chromedp.DisableGPU,
		chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.Flag("hide-scrollbars", false),
		chromedp.Flag("force-color-profile", "srgb"),
		chromedp.WSURLReadTimeout(Patience),
		chromedp.ModifyCmdFunc(func(c *exec.Cmd) {
			c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
			process = c
		}))
	allocator, freed := chromedp.NewExecAllocator(context.Background(), opts...)
	ctx, closed := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		closed()
		if process != nil && process.Process != nil {
			_ = syscall.Kill(-process.Process.Pid, syscall.SIGKILL) // its children too
		}
		freed()
		for range 50 { // what is dying may still write there
			if os.RemoveAll(dir) == nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("%s does not start: %v", path, err)
	}
	return &Browser{ctx, process}
}

// Look is how a window looks at pages.
type Look struct {
	Name          string // of the look, in the names of pictures
	Dark          bool
	Width, Height int64
}

// The looks that pages are tested in.
var (
	Light = Look{"light", false, 1280, 860}
	Dark  = Look{"dark", true, 1280, 860}
	Phone = Look{"phone", false, 390, 844}
)

// Looks are all of them.
var Looks = []Look{Light, Dark, Phone}

// Window is a window with cookies and storage of its own, as another person's browser has.
type Window struct {
	Ctx context.Context // for what this package lacks: chromedp.Run(w.Ctx, …)

	t    testing.TB
	look Look
	mu   struct {
		sync.Mutex
		forgiven []string
	}
}

// Window opens a window. It is closed when the test ends.
func (b *Browser) Window(t testing.TB, look Look) *Window {
	t.Helper()
	ctx, closed := chromedp.NewContext(b.ctx, chromedp.WithNewBrowserContext())
	ctx, late := context.WithTimeout(ctx, 10*Patience)
	t.Cleanup(func() { late(); closed() })
	w := &Window{Ctx: ctx, t: t}
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("the browser opens no window: %v", err)
	}
	if err := chromedp.Listen(ctx, w.hear); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(ctx, log.Enable, cdp.Empty{}); err != nil {
		t.Fatal(err)
	}
	w.Look(look)
	return w
}

// Look changes how the window looks at its page.
func (w *Window) Look(look Look) {
	w.t.Helper()
	w.look = look
	scheme := "light"
	if look.Dark {
		scheme = "dark"
	}
	phone := look.Width < 600
	w.Run(chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, size := chromedp.Call(ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
			Width: look.Width, Height: look.Height, DeviceScaleFactor: 1, Mobile: phone})
		_, touch := chromedp.Call(ctx, emulation.SetTouchEmulationEnabled, emulation.SetTouchEmulationEnabledParams{Enabled: phone})
		_, media := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}}})
		return errors.Join(size, touch, media)
	}))
}

// Forgive says parts of messages that do not fail the test: of what it provokes.
func (w *Window) Forgive(parts ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.forgiven = append(w.mu.forgiven, parts...)
}

// hear fails the test for what the page complains about.
func (w *Window) hear(event any) {
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		what := e.ExceptionDetails.Text
		if x := e.ExceptionDetails.Exception; x != nil {
			what += " " + x.Description
		}
		w.complain("it threw: " + what)
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError {
			w.complain(e.Entry.Text + " " + e.Entry.URL)
		}
	case *runtime.EventConsoleAPICalled:
		if e.Type != runtime.ConsoleAPICalledTypeError {
			return
		}
		var words []string
		for _, a := range e.Args {
			words = append(words, string(a.Value)+a.Description)
		}
		w.complain(strings.Join(words, " "))
	case *page.EventJavascriptDialogOpening:
		w.complain("it opened a dialog: " + e.Message)
	}
}

// complain fails the test, unless the message is forgiven.
func (w *Window) complain(message string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, part := range w.mu.forgiven {
		if strings.Contains(message, part) {
			return
		}
	}
	w.t.Errorf("the page complains: %s", message)
}

// Run runs actions. A failure ends the test, and leaves a picture.
func (w *Window) Run(actions ...chromedp.Action[chromedp.Void]) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.Ctx, Patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		w.failed("the browser: %v", err)
	}
}

// Eval returns what an expression in the page is, or what its promise comes to.
func Eval[T any](w *Window, expression string) T {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.Ctx, Patience)
	defer cancel()
	result, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		w.failed("the expression %s: %v", expression, err)
	}
	return result
}

// Do runs a statement, or a promise, in the page.
func (w *Window) Do(statement string) {
	w.t.Helper()
	Eval[bool](w, "Promise.resolve("+statement+").then(() => true)")
}

// Until waits until an expression is true in the page.
func (w *Window) Until(what, expression string) {
	w.t.Helper()
	var last error
	for deadline := time.Now().Add(Patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(w.Ctx, Patience)
		yes, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("Boolean("+expression+")"))
		cancel()
		if last = err; err == nil && yes {
			return
		}
	}
	w.failed("waited in vain until %s: %s (%v)", what, expression, last)
}

// failed ends the test with a message, a picture, and what the page says.
func (w *Window) failed(format string, args ...any) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.Ctx, 5*time.Second)
	defer cancel()
	text, _ := chromedp.Run(ctx, chromedp.Evaluate[string](`location.href + "\n" + document.body.innerText.slice(0, 3000)`))
	_ = w.keep(ctx, "failed-"+strings.ReplaceAll(w.t.Name(), "/", "-"))
	w.t.Fatalf(format+"\n%s", append(args, text)...)
}

// Screenshot keeps a picture of what the window shows, as NAME-LOOK.png.
func (w *Window) Screenshot(name string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.Ctx, Patience)
	defer cancel()
	if err := w.keep(ctx, name+"-"+w.look.Name); err != nil {
		w.t.Errorf("the picture %s: %v", name, err)
	}
}

// keep writes a picture.
func (w *Window) keep(ctx context.Context, name string) error {
	png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		return err
	}
	here, err := os.Getwd()
	if err != nil {
		return err
	}
	dir := filepath.Join(filepath.Dir(here), Artefacts, filepath.Base(here))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644)
}
