package inspect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/everheap/everheap/internal/audit"
)

// task is a task started on the page, in the form that the page shows.
type task struct {
	ID       int     `json:"id"`
	Kind     string  `json:"kind"` // check, collect, compact, backup
	Started  int64   `json:"started"`
	Took     int64   `json:"took"` // milliseconds
	Running  bool    `json:"running"`
	Progress float64 `json:"progress"` // 0 to 1; -1: unknown
	OK       bool    `json:"ok"`
	Result   any     `json:"result,omitempty"`
	Error    string  `json:"error,omitempty"`
}

// running is a task that runs, or whose result is kept.
type running struct {
	task
	space string
	seen  atomic.Uint64 // bytes
	total uint64
	file  *os.File // of a backup
	stop  context.CancelFunc
}

// mostTasks is the number of tasks of a space that are remembered.
const mostTasks = 8

// work has the tasks.
type work struct {
	mu    sync.Mutex
	last  int
	tasks []*running
	done  sync.WaitGroup
}

func newWork() *work { return new(work) }

// close ends the tasks.
func (w *work) close() {
	w.mu.Lock()
	for _, t := range w.tasks {
		t.stop()
	}
	w.mu.Unlock()
	w.done.Wait()
	for _, t := range w.tasks {
		t.forget()
	}
}

// forget releases the file of a task.
func (t *running) forget() {
	if t.file != nil {
		_ = t.file.Close() // the file has no name: closing it frees its space
		t.file = nil
	}
}

// busy reports whether a task of a space runs.
func (w *work) busy(space string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range w.tasks {
		if t.space == space && t.Running {
			return true
		}
	}
	return false
}

// list lists the tasks of a space, the newest first.
func (w *work) list(space string) []task {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := []task{}
	for i := len(w.tasks) - 1; i >= 0; i-- {
		t := w.tasks[i]
		if t.space != space {
			continue
		}
		one := t.task
		if t.Running {
			one.Took = time.Now().UnixMilli() - t.Started
			if t.total > 0 {
				one.Progress = min(float64(t.seen.Load())/float64(t.total), 0.99)
			}
		}
		list = append(list, one)
	}
	return list
}

// kinds has the kinds of tasks.
var kinds = map[string]struct {
	writes   bool
	measured bool // the task counts bytes
	run      func(ctx context.Context, sp *space, t *running) (any, error)
}{
	"check":   {false, true, runCheck},
	"backup":  {false, true, runBackup},
	"collect": {true, false, runCollect},
	"compact": {true, false, runCompact},
}

// start starts a task. Only one task of a kind runs at a time.
func (s *Server) start(ctx context.Context, sp *space, c *change) (any, error) {
	kind, ok := kinds[c.Kind]
	if !ok {
		return nil, bad("there is no task %.40q", c.Kind)
	}
	if kind.writes && !s.opt.Write {
		return nil, errWithoutWrite
	}
	w := s.work
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range w.tasks {
		if t.space == sp.name && t.Kind == c.Kind && t.Running {
			return nil, &problem{Text: "that is running already", status: http.StatusConflict}
		}
	}
	if s.ctx.Err() != nil {
		return nil, &problem{Text: "the server ends", status: http.StatusServiceUnavailable}
	}
	w.last++
	t := &running{task: task{ID: w.last, Kind: c.Kind, Started: time.Now().UnixMilli(), Running: true, Progress: -1}, space: sp.name}
	if kind.measured {
		t.total = sp.Stats().Live
	}
	var taskCtx context.Context
	taskCtx, t.stop = context.WithCancel(s.ctx)
	w.tasks = append(w.tasks, t)
	w.trim(sp.name)
	w.done.Go(func() {
		defer t.stop()
		result, err := protect(func() (any, error) { return kind.run(taskCtx, sp, t) })
		w.mu.Lock()
		defer w.mu.Unlock()
		t.Running, t.OK, t.Result, t.Progress = false, err == nil, result, 1
		t.Took = time.Now().UnixMilli() - t.Started
		if err != nil {
			t.Error = err.Error()
		}
	})
	return struct {
		ID int `json:"id"`
	}{t.ID}, nil
}

// trim forgets the oldest tasks of a space that have ended. The mutex is locked.
func (w *work) trim(space string) {
	n := 0
	for i := len(w.tasks) - 1; i >= 0; i-- {
		t := w.tasks[i]
		if t.space != space {
			continue
		}
		if n++; n > mostTasks && !t.Running {
			t.forget()
			w.tasks = append(w.tasks[:i], w.tasks[i+1:]...)
		}
	}
}

// runCheck verifies the space.
func runCheck(ctx context.Context, sp *space, t *running) (any, error) {
	report, err := sp.Check(audit.WithSeen(ctx, &t.seen))
	return report, err
}

// runCollect drops the objects that no name reaches.
func runCollect(ctx context.Context, sp *space, _ *running) (any, error) {
	return sp.Collect(ctx)
}

// runCompact returns free extents to the file system.
func runCompact(ctx context.Context, sp *space, _ *running) (any, error) {
	return sp.Compact(ctx)
}

// backupResult is the result of a backup.
type backupResult struct {
	Bytes int64
}

// runBackup writes a backup to a file without a name, which the page then downloads. A backup sent
// while it is made would hold its version for as long as the browser takes (IN2).
func runBackup(ctx context.Context, sp *space, t *running) (any, error) {
	file, err := os.CreateTemp("", "everheap-backup-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(file.Name()); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	counted := &counting{ctx, file, t}
	if err := sp.Backup(counted); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	t.file = file
	n, err := file.Seek(0, io.SeekEnd)
	return backupResult{n}, err
}

// counting is the writer of a backup.
type counting struct {
	ctx context.Context
	io.Writer
	t *running
}

// Write implements io.Writer.
func (c *counting) Write(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.Writer.Write(b)
	c.t.seen.Add(uint64(n))
	return n, err
}

// backup sends a complete backup.
func (s *Server) backup(w http.ResponseWriter, r *http.Request) {
	q, err := parseQuery(r.URL.RawQuery)
	if err == nil {
		_, err = s.space(q.space)
	}
	if err != nil {
		s.answer(w, func() (any, error) { return nil, err })
		return
	}
	s.work.mu.Lock()
	var found *running
	for _, t := range s.work.tasks {
		if t.space == q.space && t.ID == q.from && t.file != nil && !t.Running {
			found = t
		}
	}
	s.work.mu.Unlock()
	if found == nil {
		s.answer(w, func() (any, error) {
			return nil, &problem{Text: "there is no such backup; make one", status: http.StatusNotFound}
		})
		return
	}
	size := found.Result.(backupResult).Bytes
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", fmt.Sprintf(`attachment; filename="everheap-%s.backup"`, time.UnixMilli(found.Started).UTC().Format("20060102-150405")))
	w.Header().Set("Content-Length", fmt.Sprint(size))
	out := http.NewResponseController(w)
	for from := int64(0); from < size; {
		n := min(1<<20, size-from)
		_ = out.SetWriteDeadline(time.Now().Add(sendWithin))
		if _, err := io.Copy(w, io.NewSectionReader(found.file, from, n)); err != nil {
			return
		}
		from += n
	}
}
