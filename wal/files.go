package wal

import (
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/singledecree/paxos/internal/disk"
)

// maxOpen is how many closed segments have a file descriptor at most. The others are opened to be read. Open segments, which are written
// to, keep their descriptors.
const maxOpen = 256

// A pool opens the files of segments, and closes those that were not read recently.
type pool struct {
	fs    disk.Dir
	most  int
	short *shortage

	mu   sync.Mutex
	open []*segmentFile // files that may be closed at any time
	hand int            // where in open the search for a file to close goes on
}

// A segmentFile is the file of a segment, with or without a descriptor.
type segmentFile struct {
	pool   *pool
	name   string
	handle atomic.Pointer[handle] // nil: it has no descriptor
	closed bool                   // for good; guarded by pool.mu
}

// A handle is an open file. It is closed when its last user releases it.
type handle struct {
	disk.File
	users atomic.Int32 // the segmentFile, and its present users
	late  atomic.Bool  // it was used recently
}

// acquire keeps the file open until release. It returns false if the file is closed already.
func (h *handle) acquire() bool {
	for {
		n := h.users.Load()
		if n == 0 {
			return false
		}
		if h.users.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (h *handle) release() {
	if h.users.Add(-1) == 0 {
		h.File.Close()
	}
}

// add returns the file of that name, which is open as f. A pinned file stays open until unpin.
func (p *pool) add(name string, f disk.File, pinned bool) *segmentFile {
	s := &segmentFile{pool: p, name: name}
	h := &handle{File: f}
	h.users.Store(1)
	s.handle.Store(h)
	if !pinned {
		p.mu.Lock()
		gone := p.enter(s)
		p.mu.Unlock()
		releaseAll(gone)
	}
	return s
}

// enter allows the pool to close the file, and returns the handles to release; mu is held.
func (p *pool) enter(s *segmentFile) (gone []*handle) {
	p.open = append(p.open, s)
	for len(p.open) > p.most {
		gone = append(gone, p.evict())
	}
	return gone
}

// evict takes the descriptor from a file that was not used recently; mu is held.
func (p *pool) evict() *handle {
	for n := 0; ; n++ {
		p.hand %= len(p.open)
		s := p.open[p.hand]
		if h := s.handle.Load(); !h.late.Swap(false) || n > 2*len(p.open) {
			s.handle.Store(nil)
			p.open = slices.Delete(p.open, p.hand, p.hand+1)
			return h
		}
		p.hand++
	}
}

// shrink closes all files that may be closed, so that another one can be opened. It reports whether there were any.
func (p *pool) shrink() bool {
	p.mu.Lock()
	var gone []*handle
	for _, s := range p.open {
		gone = append(gone, s.handle.Swap(nil))
	}
	p.open = p.open[:0]
	p.mu.Unlock()
	releaseAll(gone)
	return len(gone) > 0
}

func releaseAll(handles []*handle) {
	for _, h := range handles {
		h.release()
	}
}

// unpin closes the file, which was open for writing. The next reader opens it for reading.
func (s *segmentFile) unpin() {
	s.pool.mu.Lock()
	h := s.handle.Swap(nil)
	s.pool.mu.Unlock()
	if h != nil {
		h.release()
	}
}

// use returns the open file, which the caller releases. While nothing can be opened, it waits.
func (s *segmentFile) use() (*handle, error) {
	for {
		if h := s.handle.Load(); h != nil && h.acquire() {
			if !h.late.Load() {
				h.late.Store(true)
			}
			return h, nil
		}
		f, err := s.pool.fs.Open(s.name, false)
		if err != nil {
			if s.pool.short.wait(err) {
				continue
			}
			return nil, err
		}
		h, err := s.install(f)
		if h != nil || err != nil {
			return h, err
		}
	}
}

// install makes f the open file, unless there is one by now. Then it returns nil: try again.
func (s *segmentFile) install(f disk.File) (*handle, error) {
	h := &handle{File: f}
	h.users.Store(2)
	h.late.Store(true)
	s.pool.mu.Lock()
	if s.closed || s.handle.Load() != nil {
		closed := s.closed
		s.pool.mu.Unlock()
		f.Close()
		if closed {
			return nil, os.ErrClosed
		}
		return nil, nil
	}
	s.handle.Store(h)
	gone := s.pool.enter(s)
	s.pool.mu.Unlock()
	releaseAll(gone)
	return h, nil
}

// ReadAt reads.
func (s *segmentFile) ReadAt(b []byte, at int64) (int, error) {
	for {
		h, err := s.use()
		if err != nil {
			return 0, err
		}
		n, err := h.ReadAt(b, at)
		h.release()
		if err == nil || !s.pool.short.wait(err) {
			return n, err
		}
	}
}

// Size returns how long the file is.
func (s *segmentFile) Size() (int64, error) {
	h, err := s.use()
	if err != nil {
		return 0, err
	}
	defer h.release()
	return h.Size()
}

// writer returns the open file of a segment that is written to: it is pinned.
func (s *segmentFile) writer() disk.File { return s.handle.Load().File }

// WriteAt writes. The file is pinned, as it is for Sync, Start and Await.
func (s *segmentFile) WriteAt(b []byte, at int64) (int, error) { return s.writer().WriteAt(b, at) }

// Reserve is not called: a segment gets its room before it has its name.
func (s *segmentFile) Reserve(n int64) error { return s.writer().Reserve(n) }

// Sync makes durable what was written.
func (s *segmentFile) Sync() error { return s.writer().Sync() }

// Start has bytes begin their way to the disk.
func (s *segmentFile) Start(at, n int64) { s.writer().Start(at, n) }

// Await waits for bytes that were started.
func (s *segmentFile) Await(at, n int64) { s.writer().Await(at, n) }

// Close closes the file for good, when nobody reads it any more.
func (s *segmentFile) Close() error {
	s.pool.mu.Lock()
	s.closed = true
	h := s.handle.Swap(nil)
	if i := slices.Index(s.pool.open, s); i >= 0 {
		s.pool.open = slices.Delete(s.pool.open, i, i+1)
	}
	s.pool.mu.Unlock()
	if h != nil {
		h.release()
	}
	return nil
}
