package wal

import (
	"fmt"
	"hash/maphash"
	"unsafe"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/tables"
)

// A spot is where the latest record of an instance lies.
type spot struct {
	index   uint64 // zero: not decided
	name    uint32 // where its name is, in names
	place   uint32 // if not decided, its place in undecided; for a mark, the offset of its vote
	segment uint32
	offset  uint32
	size    uint32 // of the whole entry
	vote    uint32 // a mark: the size of its vote; else zero
}

// bytes returns about how long the record is in a copy. The copy of a mark is as long as its vote.
func (s spot) bytes() int64 {
	if s.vote > 0 {
		return int64(s.vote)
	}
	return int64(s.size)
}

// An index finds the latest record of each instance. It holds names and spots, but no values: about 100 bytes for each instance. The
// garbage collector need not scan them.
type index struct {
	seed      maphash.Seed
	n         uint32
	chunks    [][]spot // all full but the last
	byName    tables.Names
	undecided []uint32 // in no order
	order     tables.Order
	names     arena
	hashes    []uint64 // of the names that were fetched last
}

// An arena keeps names one after the other, at multiples of 4 bytes, each with its length before it. Dropped names stay until the next
// Open.
type arena struct {
	chunks [][]byte
}

const (
	arenaChunk = 1 << 16
	arenaUnit  = 4
)

// add keeps a copy of name, and returns where it is.
func (a *arena) add(name []byte) uint32 {
	last := len(a.chunks) - 1
	if last < 0 || len(a.chunks[last])+1+len(name) > arenaChunk {
		last++
		a.chunks = append(a.chunks, make([]byte, 0, arenaChunk))
	}
	c := a.chunks[last]
	at := uint32(last*(arenaChunk/arenaUnit) + len(c)/arenaUnit)
	c = append(append(c, byte(len(name))), name...)
	for len(c)%arenaUnit != 0 {
		c = append(c, 0)
	}
	a.chunks[last] = c
	return at
}

// get returns the name there. It is a part of the arena, and never changes.
func (a *arena) get(at uint32) []byte {
	c := a.chunks[at/(arenaChunk/arenaUnit)][at%(arenaChunk/arenaUnit)*arenaUnit:]
	return c[1 : 1+int(c[0])]
}

// text returns the name as a string that shares the arena's bytes: these never change. It copies nothing, and keeps a chunk of the arena
// alive.
func (a *arena) text(at uint32) string {
	name := a.get(at)
	return unsafe.String(unsafe.SliceData(name), len(name))
}

func (x *index) spot(at uint32) *spot { return &x.chunks[at/tables.Chunk][at%tables.Chunk] }

func (x *index) name(at uint32) []byte { return x.names.get(x.spot(at).name) }

func (x *index) hash(name []byte) uint64 { return maphash.Bytes(x.seed, name) }

// find returns the spot of a name with that hash.
func (x *index) find(hash uint64, name []byte) (at uint32, ok bool) {
	return x.byName.Find(hash, func(at uint32) bool { return string(x.name(at)) == string(name) })
}

// fetch hashes the names of records that will be put next. It makes the processor load their entries in parallel.
func (x *index) fetch(records []paxos.Record) {
	x.hashes = x.hashes[:0]
	for i := range records {
		x.hashes = append(x.hashes, maphash.String(x.seed, records[i].Instance))
	}
	x.byName.FetchAll(x.hashes)
}

// findString is find for a string.
func (x *index) findString(name string) (at uint32, ok bool) {
	return x.findHashed(maphash.String(x.seed, name), name)
}

// findHashed is find for a string with that hash.
func (x *index) findHashed(hash uint64, name string) (at uint32, ok bool) {
	return x.byName.Find(hash, func(at uint32) bool { return string(x.name(at)) == name })
}

// checkIndex returns an error if an instance other than the record's has its Index.
func (x *index) checkIndex(r *paxos.Record) error {
	if at, ok := x.order.Get(r.Index); ok && string(x.name(at)) != r.Instance {
		return fmt.Errorf("Record %q: Index: %d is that of %q", r.Instance, r.Index, x.name(at))
	}
	return nil
}

// put makes s the spot of the instance with that name and that hash. It returns the spot that it replaces; its size is zero if there is
// none.
func (x *index) put(hash uint64, name []byte, s spot) (old spot) {
	at, known := x.find(hash, name)
	if known {
		p := x.spot(at)
		old, s.name = *p, p.name
		if old.index == s.index {
			if s.index == 0 {
				s.place = p.place
			}
			*p = s
			return old
		}
		x.unlink(at)
		*x.spot(at) = s
		x.link(at)
		return old
	}
	s.name = x.names.add(name)
	last := len(x.chunks) - 1
	if last < 0 || len(x.chunks[last]) == tables.Chunk {
		last++
		x.chunks = append(x.chunks, make([]spot, 0, min(tables.Chunk, max(8, last*tables.Chunk))))
	}
	x.chunks[last] = append(x.chunks[last], s)
	x.byName.Add(hash, x.n)
	x.n++
	x.link(x.n - 1)
	return spot{}
}

// remove forgets the instance at that number. The last instance gets the number.
func (x *index) remove(at uint32) {
	x.unlink(at)
	last := x.n - 1
	x.byName.Remove(x.hash(x.name(at)), at)
	if at != last {
		s := *x.spot(last)
		x.byName.Move(x.hash(x.name(last)), last, at)
		*x.spot(at) = s
		if s.index != 0 {
			x.order.Move(s.index, at)
		} else {
			x.undecided[s.place] = at
		}
	}
	x.n--
	end := len(x.chunks) - 1
	if x.chunks[end] = x.chunks[end][:x.n%tables.Chunk]; x.n%tables.Chunk == 0 {
		x.chunks[end] = nil
		x.chunks = x.chunks[:end]
	}
}

// drop forgets the instances in r, and calls gone with the spot of each.
func (x *index) drop(r paxos.NameRange, gone func(spot)) {
	for at := uint32(0); at < x.n; {
		if name := x.name(at); string(name) < r.From || string(name) >= r.To {
			at++
			continue
		}
		gone(*x.spot(at))
		x.remove(at)
	}
}

// link enters the spot into undecided or order.
func (x *index) link(at uint32) {
	s := x.spot(at)
	if s.index != 0 {
		x.order.Add(tables.Place{Index: s.index, At: at})
		return
	}
	s.place = uint32(len(x.undecided))
	x.undecided = append(x.undecided, at)
}

// unlink undoes link.
func (x *index) unlink(at uint32) {
	s := x.spot(at)
	if s.index != 0 {
		x.order.Remove(s.index)
		return
	}
	end := len(x.undecided) - 1
	moved := x.undecided[end]
	x.undecided[s.place], x.spot(moved).place = moved, s.place
	if x.undecided = x.undecided[:end]; cap(x.undecided) > max(tables.Chunk, 8*end) {
		x.undecided = append(make([]uint32, 0, 2*end), x.undecided...)
	}
}

// undecidedNames returns the names of the instances that are not decided.
func (x *index) undecidedNames() []string {
	names := make([]string, len(x.undecided))
	for i, at := range x.undecided {
		names[i] = x.names.text(x.spot(at).name)
	}
	return names
}

// decided returns the decided instances above after, at most most.
func (x *index) decided(after uint64, most int) []paxos.Named {
	runs, n := x.order.Above(after, most)
	if n == 0 {
		return nil
	}
	named := make([]paxos.Named, 0, n)
	for _, run := range runs {
		for _, p := range run {
			named = append(named, paxos.Named{Instance: x.names.text(x.spot(p.At).name), Index: p.Index})
		}
	}
	return named
}
