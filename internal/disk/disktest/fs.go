// Package disktest is a file system for tests: it records every call, forgets what was not synced when it is told to crash, and
// fails when it is told to. It is as harsh as POSIX allows.
package disktest

import (
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"sync"

	"github.com/singledecree/paxos/internal/disk"
)

// An OpKind says what a call was.
type OpKind uint8

// The calls that change something, and a Mark of the test's own.
const (
	OpCreate OpKind = iota + 1
	OpWrite
	OpSync
	OpRename
	OpRemove
	OpSyncDir
	OpStart
	OpAwait
	OpMark
)

// String is the word for k.
func (k OpKind) String() string {
	return [...]string{"", "create", "write", "sync", "rename", "remove", "sync directory", "start", "await", "mark"}[k]
}

// An Op is one call.
type Op struct {
	Kind OpKind
	Name string // of the file, or the directory
	To   string // of a rename
	At   int64  // of a write
	Data []byte // of a write
	Mark int

	file int // number of the file
	lost bool
}

// An FS is a file system with one level of directories. Its zero value is not usable: see New.
type FS struct {
	// Fail, if set, is asked before each call that changes something, and the error is what the call returns. n counts
	// calls from 1. A write that fails has written its first half; a sync that fails has dropped what was not synced. A
	// start or an await that fails has done that, too: the next sync of the file returns its error.
	Fail func(op Op, n int) error
	// FailOpen, if set, is asked before each Create and Open of a file, and the error is what the call returns.
	FailOpen func(name string) error
	// Limit is how many bytes the files have room for; 0: any number.
	Limit int64
	// Silent, if set, reports for each sync whether it does nothing and returns nil.
	Silent func(op Op) bool

	mu     sync.Mutex
	names  map[string]*file
	stable map[string]*file // the names that survive a crash for certain
	moved  []Op             // changes of names since the last sync of the directory
	ops    []Op
	files  []*file
	calls  int
	locked map[string]int // -1: exclusive; more: shared by so many
	opened int            // files that are open
	life   int            // counts kills: files that an earlier life opened are dead
}

// New returns an empty file system.
func New() *FS {
	return &FS{names: map[string]*file{}, stable: map[string]*file{}, locked: map[string]int{}}
}

// Ops returns all calls so far that changed something. The caller must not change them.
func (f *FS) Ops() []Op {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ops[:len(f.ops):len(f.ops)]
}

// Mark puts a mark among the calls.
func (f *FS) Mark(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ops = append(f.ops, Op{Kind: OpMark, Mark: n})
}

// Kill ends the process that uses the file system, without a loss of power. Its files are closed, its locks are free, and all its writes
// are there, synced or not.
func (f *FS) Kill() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.life++
	f.opened = 0
	clear(f.locked)
}

// Content returns what a file holds, as readers see it; nil: there is none.
func (f *FS) Content(name string) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	if file := f.names[name]; file != nil {
		return file.data.bytes()
	}
	return nil
}

// Put makes a file with that content, durably, or replaces what one holds. The file system reads b from now on, and never writes it.
func (f *FS) Put(name string, b []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.put(name, contentOf(b))
}

// put makes a file with that content, durably. The two contents of the file share its bytes, until one is written.
func (f *FS) put(name string, c content) {
	file := &file{number: len(f.files), data: c.share(), stable: c.share()}
	f.files = append(f.files, file)
	f.names[name], f.stable[name] = file, file
}

// Names returns the names of all files, in order.
func (f *FS) Names() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.names))
}

// Clone returns a copy in which all is durable. It has no record of calls.
func (f *FS) Clone() *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	g := New()
	for _, name := range slices.Sorted(maps.Keys(f.names)) {
		g.put(name, f.names[name].data.share())
	}
	return g
}

// note records a call, or returns why it fails.
func (f *FS) note(op Op) error {
	f.calls++
	if f.Fail != nil {
		if err := f.Fail(op, f.calls); err != nil {
			return err
		}
	}
	f.ops = append(f.ops, op)
	return nil
}

// Create makes a file that must not exist.
func (f *FS) Create(name string) (disk.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.FailOpen != nil {
		if err := f.FailOpen(name); err != nil {
			return nil, &fs.PathError{Op: "create", Path: name, Err: err}
		}
	}
	if f.names[name] != nil {
		return nil, &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
	}
	op := Op{Kind: OpCreate, Name: name, file: len(f.files)}
	if err := f.note(op); err != nil {
		return nil, &fs.PathError{Op: "create", Path: name, Err: err}
	}
	file := &file{number: len(f.files)}
	f.files = append(f.files, file)
	f.names[name] = file
	f.moved = append(f.moved, op)
	return f.handle(file, name, true), nil
}

// Open opens a file.
func (f *FS) Open(name string, write bool) (disk.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.FailOpen != nil {
		if err := f.FailOpen(name); err != nil {
			return nil, &fs.PathError{Op: "open", Path: name, Err: err}
		}
	}
	file := f.names[name]
	if file == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return f.handle(file, name, write), nil
}

func (f *FS) handle(file *file, name string, write bool) *handle {
	f.opened++
	return &handle{fs: f, file: file, name: name, write: write, life: f.life}
}

// Opened returns how many files are open.
func (f *FS) Opened() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.opened
}

// Rename gives a file another name.
func (f *FS) Rename(from, to string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	file := f.names[from]
	if file == nil {
		return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
	}
	op := Op{Kind: OpRename, Name: from, To: to, file: file.number}
	if err := f.note(op); err != nil {
		return &fs.PathError{Op: "rename", Path: from, Err: err}
	}
	delete(f.names, from)
	f.names[to] = file
	f.moved = append(f.moved, op)
	return nil
}

// Remove removes a file.
func (f *FS) Remove(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.names[name] == nil {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	op := Op{Kind: OpRemove, Name: name}
	if err := f.note(op); err != nil {
		return &fs.PathError{Op: "remove", Path: name, Err: err}
	}
	delete(f.names, name)
	f.moved = append(f.moved, op)
	return nil
}

// List returns the names of what is in dir.
func (f *FS) List(dir string) (names []string, err error) {
	for _, name := range f.Names() {
		if filepath.Dir(name) == filepath.Clean(dir) {
			names = append(names, filepath.Base(name))
		}
	}
	return names, nil
}

// SyncDir makes the names durable.
func (f *FS) SyncDir(dir string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	op := Op{Kind: OpSyncDir, Name: dir}
	if err := f.note(op); err != nil {
		return &fs.PathError{Op: "sync", Path: dir, Err: err}
	}
	if f.Silent != nil && f.Silent(op) {
		f.ops[len(f.ops)-1].lost = true
		return nil
	}
	f.stable = map[string]*file{}
	for name, file := range f.names {
		f.stable[name] = file
	}
	f.moved = nil
	return nil
}

// MakeDir does nothing: all directories are there.
func (f *FS) MakeDir(string) error { return nil }

// OpenDir opens a directory.
func (f *FS) OpenDir(dir string) (disk.Dir, error) { return At(f, dir), nil }

// Lock locks a name, until it is closed, or Kill.
func (f *FS) Lock(name string, shared bool) (io.Closer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := f.locked[name]; n < 0 || n > 0 && !shared {
		return nil, &fs.PathError{Op: "lock", Path: name, Err: &disk.LockedError{Own: n < 0, Reading: n > 0}}
	}
	if shared {
		f.locked[name]++
	} else {
		f.locked[name] = -1
	}
	return &held{f, name, f.life}, nil
}

type held struct {
	fs   *FS
	name string
	life int
}

func (h *held) Close() error {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if n := h.fs.locked[h.name]; h.life == h.fs.life && n != 0 {
		h.fs.locked[h.name] = max(n-1, 0)
	}
	return nil
}
