package node

import (
	"fmt"
	"sync"
	"time"

	"github.com/singledecree/paxos"
)

// maxLoaded is how many bytes of values are read from the storage before what is to be said of them leaves. They may all be the answer
// to one packet, of a server that catches up.
const maxLoaded = 16 << 20

// Bounds of the reads of the storage that run at a time. A read that takes longer than slowRead counts as one that hangs, and another
// reader takes its place. So fewReaders reads go on beside those that hang, until manyReaders-fewReaders hang.
const (
	fewReaders  = 16
	manyReaders = 256
	slowRead    = 100 * time.Millisecond
)

// readers run reads of the storage in goroutines, as a disk may take long to answer, or never answer. None exists while nothing is due.
type readers struct {
	most int // reads that may be due

	mu      sync.Mutex // guards what follows; nothing is called and nothing waits under it
	due     []func()   // from next on, the oldest first
	next    int
	running []reading // by reader
	count   int       // readers
	slow    int       // of their reads
	held    int       // bytes of values that were read and not taken yet
	size    int       // of the value that was read last
	watch   *time.Timer
	stopped bool
	idle    chan struct{} // closed when stopped, and no reader is left
}

// A reading is what one reader does.
type reading struct {
	since time.Time // zero: there is no such reader
	slow  bool
}

func newReaders(most int) *readers { return &readers{most: most, idle: make(chan struct{})} }

// add has f run soon, and reports whether there is room for it. After stop f is dropped.
func (r *readers) add(f func()) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.due)-r.next >= r.most {
		return false
	}
	if r.stopped {
		return true
	}
	if r.next > 0 && len(r.due) == cap(r.due) {
		n := copy(r.due, r.due[r.next:])
		clear(r.due[n:])
		r.due, r.next = r.due[:n], 0
	}
	r.due = append(r.due, f)
	r.start(1)
	return true
}

// full is the error of a caller for whom there was no room.
func (r *readers) full() error {
	return fmt.Errorf("%d reads of the storage are due: %w", r.most, paxos.ErrBusy)
}

// start starts up to so many readers. Where there are as many as may be, it looks again when their reads have become slow.
func (r *readers) start(most int) {
	for ; most > 0 && r.some(r.count); most-- {
		if r.count >= min(fewReaders+r.slow, manyReaders) {
			if r.watch == nil {
				r.watch = time.AfterFunc(slowRead, r.look)
			}
			return
		}
		at := 0
		for at < len(r.running) && !r.running[at].since.IsZero() {
			at++
		}
		if at == len(r.running) {
			r.running = append(r.running, reading{})
		}
		r.count++
		r.running[at].since = time.Now()
		go r.run(at)
	}
}

// some reports whether there is something to do for a reader beside so many. What they read is likely to be as large as what was read
// last.
func (r *readers) some(beside int) bool {
	return r.next < len(r.due) && r.held+max(beside-r.slow, 0)*r.size < maxLoaded && !r.stopped
}

// look counts the slow reads, and starts readers in their places.
func (r *readers) look() {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	for i := range r.running {
		if g := &r.running[i]; !g.since.IsZero() && !g.slow && now.Sub(g.since) >= slowRead {
			g.slow = true
			r.slow++
		}
	}
	r.watch = nil
	r.start(manyReaders)
}

// run is a reader.
func (r *readers) run(at int) {
	for f := r.take(at); f != nil; f = r.take(at) {
		f()
	}
}

// take returns what the reader does next; nil: it ends.
func (r *readers) take(at int) func() {
	r.mu.Lock()
	defer r.mu.Unlock()
	g := &r.running[at]
	if g.slow {
		g.slow = false
		r.slow--
	}
	if r.some(r.count-1) && r.count <= fewReaders+r.slow {
		f := r.due[r.next]
		r.due[r.next] = nil
		r.next++
		g.since = time.Now()
		return f
	}
	g.since = time.Time{}
	if r.next == len(r.due) {
		r.due, r.next = r.due[:0], 0
	}
	if r.count--; r.count == 0 && r.stopped {
		close(r.idle)
	}
	return nil
}

// hold notes a value that was read. No read begins while there are maxLoaded bytes of them; see release.
func (r *readers) hold(bytes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.size = bytes
	r.held += bytes
}

// release notes that values with so many bytes have been taken.
func (r *readers) release(bytes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held -= bytes
	r.start(fewReaders)
}

// oldest returns for how long the read has been running that began first; 0: none runs.
func (r *readers) oldest() (d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.running {
		if since := r.running[i].since; !since.IsZero() {
			d = max(d, time.Since(since))
		}
	}
	return d
}

// stop has no more reads begin. When those that run have returned, idle is closed.
func (r *readers) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = true
	r.due, r.next = nil, 0
	if r.watch != nil {
		r.watch.Stop()
	}
	if r.count == 0 {
		close(r.idle)
	}
}
