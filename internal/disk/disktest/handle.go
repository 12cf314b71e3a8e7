package disktest

import (
	"errors"
	"io"
	"io/fs"
	"slices"
	"syscall"
)

// A handle is an open file.
type handle struct {
	fs    *FS
	file  *file
	name  string
	write bool
	life  int

	closed bool
}

var errKilled = errors.New("the process was killed")

// alive returns why the handle can't be used.
func (h *handle) alive() error {
	switch {
	case h.life != h.fs.life:
		return errKilled
	case h.closed:
		return fs.ErrClosed
	}
	return nil
}

func (h *handle) ReadAt(b []byte, at int64) (int, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if err := h.alive(); err != nil {
		return 0, err
	}
	n := h.file.data.read(b, at)
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (h *handle) WriteAt(b []byte, at int64) (int, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if err := h.alive(); err != nil {
		return 0, err
	}
	if !h.write {
		return 0, fs.ErrPermission
	}
	op := Op{Kind: OpWrite, Name: h.name, At: at, Data: copied(b), file: h.file.number}
	if err := h.room(at + int64(len(b))); err != nil {
		return 0, err
	}
	if err := h.fs.note(op); err != nil {
		op.Data = op.Data[:len(b)/2]
		h.fs.ops = append(h.fs.ops, op)
		h.file.put(op)
		return len(op.Data), &fs.PathError{Op: "write", Path: h.name, Err: err}
	}
	h.file.put(op)
	return len(b), nil
}

// Reserve writes a zero at the end. All before it reads as zeros, too.
func (h *handle) Reserve(n int64) error {
	_, err := h.WriteAt(zeros[:1], n-1)
	return err
}

// copied returns a copy of b. All copies of zeros are one.
func copied(b []byte) []byte {
	if isZero(b) {
		return zeros[:len(b)]
	}
	return slices.Clone(b)
}

// room returns an error if a file can't grow to that size.
func (h *handle) room(size int64) error {
	grows := size - int64(h.file.data.size)
	if h.fs.Limit == 0 || grows <= 0 {
		return nil
	}
	for _, f := range h.fs.names {
		grows += int64(f.data.size)
	}
	if grows > h.fs.Limit {
		return &fs.PathError{Op: "write", Path: h.name, Err: syscall.ENOSPC}
	}
	return nil
}

func (h *handle) Sync() error {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	op := Op{Kind: OpSync, Name: h.name, file: h.file.number}
	err := h.flush(op)
	if err == nil {
		err = h.file.failed
	}
	if h.file.failed = nil; err != nil {
		return err
	}
	if h.fs.Silent != nil && h.fs.Silent(op) {
		h.fs.ops[len(h.fs.ops)-1].lost = true
		return nil
	}
	h.file.sync()
	return nil
}

// Start makes nothing durable. If it is to fail, what is dirty is dropped, and the next Sync says so, once.
func (h *handle) Start(at, n int64) {
	h.advise(Op{Kind: OpStart, Name: h.name, At: at, file: h.file.number})
}

// Await is as Start.
func (h *handle) Await(at, n int64) {
	h.advise(Op{Kind: OpAwait, Name: h.name, At: at, file: h.file.number})
}

func (h *handle) advise(op Op) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if err := h.flush(op); err != nil && h.file.failed == nil {
		h.file.failed = err
	}
}

// flush notes op. If it is to fail, what is dirty is dropped.
func (h *handle) flush(op Op) error {
	if err := h.alive(); err != nil {
		return err
	}
	err := h.fs.note(op)
	if err == nil {
		return nil
	}
	for i := range h.file.dirty {
		h.file.dirty[i].lost = true
	}
	return &fs.PathError{Op: op.Kind.String(), Path: h.name, Err: err}
}

func (h *handle) Size() (int64, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	return int64(h.file.data.size), nil
}

// Close closes the file.
func (h *handle) Close() error {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if !h.closed && h.life == h.fs.life {
		h.fs.opened--
	}
	h.closed = true
	return nil
}
