package disktest

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// sector is what a disk writes as a whole.
const sector = 512

// A Loss is what becomes of what was not synced when power is lost.
type Loss uint8

// The losses.
const (
	LoseAll     Loss = iota // all of it is gone
	LoseNothing             // all of it is there
	LoseSome                // each write, and each change of a name, is there or not
	LoseSectors             // each sector of each write is there or not
	LoseToDirt              // each sector is there, or not, or is garbage
	LoseToZeros             // files have grown, but the written bytes are zeros
	Losses                  // how many there are
)

// A History plays recorded calls again, one after the other, and can lose power after each.
type History struct {
	// Ignore, if set, has a sync of a file or a directory do nothing: as if the program had left it out. n counts calls from 0.
	Ignore func(n int) bool

	fs  *FS
	ops []Op
	at  int
}

// NewHistory returns a history that begins with the present content of base, and with the durable part of it. The next calls of base, or of
// the file system of which base is a Snapshot, are ops.
func NewHistory(base *FS, ops []Op) *History { return &History{fs: base.Snapshot(), ops: ops} }

// Next plays the next call; nil: there are no more.
func (h *History) Next() *Op {
	if h.at == len(h.ops) {
		return nil
	}
	op := h.ops[h.at]
	if h.Ignore != nil && h.Ignore(h.at) {
		op.lost = true
	}
	h.at++
	h.Play(op)
	return &h.ops[h.at-1]
}

// Last returns the call that was played last; the zero Op: none was.
func (h *History) Last() (op Op) {
	if h.at > 0 {
		op = h.ops[h.at-1]
	}
	return op
}

// Play plays a call.
func (h *History) Play(op Op) {
	f := h.fs
	switch op.Kind {
	case OpCreate:
		h.named(op.Name)
	case OpWrite:
		file := f.files[op.file]
		file.put(op)
	case OpSync:
		if !op.lost {
			f.files[op.file].sync()
		}
	case OpRename:
		f.names[op.To] = f.files[op.file]
		delete(f.names, op.Name)
		f.moved = append(f.moved, op)
	case OpRemove:
		delete(f.names, op.Name)
		f.moved = append(f.moved, op)
	case OpSyncDir:
		if !op.lost {
			f.SyncDir(op.Name)
		}
	}
}

func (h *History) named(name string) {
	f := h.fs
	file := &file{number: len(f.files)}
	f.files = append(f.files, file)
	f.names[name] = file
	f.moved = append(f.moved, Op{Kind: OpCreate, Name: name, file: file.number})
}

// Crash returns what is there after power was lost now.
func (h *History) Crash(loss Loss, x *rand.Rand) *FS { return h.fs.Crash(loss, x) }

// Crash returns what is there after power was lost now. The FS itself goes on.
func (f *FS) Crash(loss Loss, x *rand.Rand) *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	g := New()
	names := map[string]*file{}
	for name, file := range f.stable {
		names[name] = file
	}
	for _, op := range f.moved {
		if loss == LoseAll || loss != LoseNothing && x.IntN(2) == 0 {
			continue
		}
		switch op.Kind {
		case OpCreate:
			names[op.Name] = f.files[op.file]
		case OpRename:
			if names[op.Name] == f.files[op.file] {
				delete(names, op.Name)
			}
			names[op.To] = f.files[op.file]
		case OpRemove:
			delete(names, op.Name)
		}
	}
	contents := map[*file]content{} // a file has the same under all its names
	for _, name := range slices.Sorted(maps.Keys(names)) {
		file := names[name]
		if _, ok := contents[file]; !ok {
			contents[file] = file.crash(loss, x)
		}
		g.put(name, contents[file])
	}
	return g
}

// crash returns what of the file is there after the loss of power.
func (f *file) crash(loss Loss, x *rand.Rand) content {
	data := f.stable.share()
	for _, op := range f.dirty {
		switch {
		case op.lost || loss == LoseAll:
		case loss == LoseNothing:
			data.write(op.At, op.Data)
		case loss == LoseToZeros:
			data.grow(int(op.At) + len(op.Data))
		case loss == LoseSome:
			if x.IntN(2) == 0 {
				data.write(op.At, op.Data)
			}
		default:
			data.tear(op, loss, x)
		}
	}
	return data
}

// tear writes some sectors of a write.
func (c *content) tear(op Op, loss Loss, x *rand.Rand) {
	for from := 0; from < len(op.Data); {
		at := op.At + int64(from)
		part := op.Data[from:min(len(op.Data), from+sector-int(at%sector))]
		from += len(part)
		switch fate := x.IntN(5); {
		case fate < 2:
			c.write(at, part)
		case fate == 4 && loss == LoseToDirt:
			dirt := make([]byte, len(part))
			for i := range dirt {
				dirt[i] = byte(x.Uint32())
			}
			c.write(at, dirt)
		}
	}
}

// Kill returns the file system that the next process finds if this one is killed now, without a loss of power. Everything written is there.
// Unsynced bytes can still be lost.
func (h *History) Kill() *FS { return h.fs.Snapshot() }

// Snapshot returns a copy of f, without its calls, which remembers what is durable and what is not.
func (f *FS) Snapshot() *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	g := New()
	for _, old := range f.files {
		g.files = append(g.files, &file{number: old.number, data: old.data.share(), dirty: slices.Clone(old.dirty), stable: old.stable.share()})
	}
	for name, old := range f.names {
		g.names[name] = g.files[old.number]
	}
	for name, old := range f.stable {
		g.stable[name] = g.files[old.number]
	}
	g.moved = slices.Clone(f.moved)
	return g
}
