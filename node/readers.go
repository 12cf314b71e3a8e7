package node

import (
	"fmt"
	"sync"
	"time"

	"github.com/singledecree/paxos"
)

// maxLoaded bounds the bytes of values that are read from the storage before the answers that need them leave. All of
// them may be the answer to one packet, of a server that catches up.
const maxLoaded = 16 << 20

// Bounds of the reads of the storage that run at the same time. A read that takes longer than slowRead counts as slow,
// and another reader takes its place. So up to manyReaders-fewReaders reads can hang, and fewReaders other reads still
// run.
const (
	fewReaders  = 16
	manyReaders = 256
	slowRead    = 100 * time.Millisecond
)

// readers run reads of the storage in goroutines, because a disk may take long to answer, or never answer. No goroutine
// exists while no read is due.
type readers struct {
	most int // reads that may be due

	mu      sync.Mutex // guards the fields below; a holder calls no user's code and does not wait
	due     []func()   // from next on, the oldest first
	next    int
	running []reading // by reader
	count   int       // readers
	slow    int       // readers with a slow read
	held    int       // bytes of values that were read and are not released yet
	size    int       // bytes of the last value that was read
	watch   *time.Timer
	stopped bool
	idle    chan struct{} // closed when stopped, and no reader is left
}

// A reading is the state of one reader.
type reading struct {
	since time.Time // zero: there is no such reader
	slow  bool
}

func newReaders(most int) *readers { return &readers{most: most, idle: make(chan struct{})} }

// add queues f to be run soon. It returns false if there is no room. After stop, add drops f and returns true.
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

// full returns the error of a caller that found no room.
func (r *readers) full() error {
	return fmt.Errorf("%d reads of the storage wait already: %w", r.most, paxos.ErrBusy)
}

// start starts up to most readers, while there are reads for them. If more reads are due than it may start readers for, it
// sets a timer for look, which runs when the reads of the others may have become slow.
func (r *readers) start(most int) {
	for ; most > 0 && r.some(r.count) && r.count < min(fewReaders+r.slow, manyReaders); most-- {
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
	if most > 0 && r.next < len(r.due) && r.count > r.slow && !r.stopped && r.watch == nil {
		r.watch = time.AfterFunc(slowRead, r.look)
	}
}

// some reports whether there is a read for one more reader, beside the given number of readers. It expects that each of
// their reads, but for the slow ones, gives a value as large as the last one.
func (r *readers) some(beside int) bool {
	return r.next < len(r.due) && r.held+max(beside-r.slow, 0)*r.size < maxLoaded && !r.stopped
}

// look counts the slow reads, and starts other readers in their place.
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

// run is the goroutine of one reader.
func (r *readers) run(at int) {
	for f := r.take(at); f != nil; f = r.take(at) {
		f()
	}
}

// take returns the next read of this reader. nil: the reader ends.
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

// hold counts the bytes of a value that was read. While maxLoaded bytes are held, no read begins: see release.
func (r *readers) hold(bytes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.size = bytes
	r.held += bytes
}

// release gives back bytes that hold has counted.
func (r *readers) release(bytes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held -= bytes
	r.start(fewReaders)
}

// oldest returns the time for which the oldest read has been running. 0: none runs.
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

// stop prevents further reads. idle is closed when the reads that run have returned.
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
