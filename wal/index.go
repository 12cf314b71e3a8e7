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

	drops   tables.Drops // ranges of which records are still in the index
	moving  uint32       // while names move: those of records from this number on have moved
	listing uint64       // changes of the order of decisions, other than new ones at its end
}

// An arena keeps names one after the other, at multiples of 4 bytes, each with its length before it. The memory of a chunk is given back
// once none of its names is in use.
type arena struct {
	chunks [][]byte
	used   []uint32 // bytes of the names in use, by chunk
	free   []uint32 // chunks that are nil
	last   uint32   // the chunk that gets the next name
	bytes  int      // of the names in use
}

const (
	arenaChunk = 1 << 16
	arenaFirst = 1 << 9 // of the first chunk, in the beginning
	arenaUnit  = 4
	chunkUnits = arenaChunk / arenaUnit
)

// place returns how many bytes a name takes.
func (a *arena) place(name []byte) int { return (1 + len(name) + arenaUnit - 1) &^ (arenaUnit - 1) }

// add keeps a copy of name, and returns where it is.
func (a *arena) add(name []byte) uint32 {
	if len(a.chunks) == 0 || len(a.chunks[a.last])+1+len(name) > arenaChunk {
		a.begin()
	}
	c := a.chunks[a.last]
	at := a.last*chunkUnits + uint32(len(c)/arenaUnit)
	size := a.place(name)
	a.bytes += size
	a.used[a.last] += uint32(size)
	end := len(c) + size
	if end > cap(c) {
		c = append(make([]byte, 0, min(max(2*cap(c), end), arenaChunk)), c...)
	}
	c = append(append(c, byte(len(name))), name...)
	a.chunks[a.last] = c[:end] // the bytes behind the name are zero
	return at
}

// begin begins a new chunk. The first one grows, since the names of a small log take less.
func (a *arena) begin() {
	if len(a.chunks) > 0 && a.used[a.last] == 0 {
		a.chunks[a.last] = nil
		a.free = append(a.free, a.last)
	}
	room := arenaChunk
	if len(a.chunks) == 0 {
		room = arenaFirst
	}
	if n := len(a.free); n > 0 {
		a.last, a.free = a.free[n-1], a.free[:n-1]
	} else {
		a.last = uint32(len(a.chunks))
		a.chunks, a.used = append(a.chunks, nil), append(a.used, 0)
	}
	a.chunks[a.last] = make([]byte, 0, room)
}

// get returns the name there. It is a part of the arena, and never changes.
func (a *arena) get(at uint32) []byte {
	c := a.chunks[at/chunkUnits][at%chunkUnits*arenaUnit:]
	return c[1 : 1+int(c[0])]
}

// text returns the name as a string that shares the arena's bytes: these never change. It copies nothing, and keeps a chunk of the arena
// alive.
func (a *arena) text(at uint32) string {
	name := a.get(at)
	return unsafe.String(unsafe.SliceData(name), len(name))
}

// remove says that the name there is no longer in use.
func (a *arena) remove(at uint32) {
	size, c := a.place(a.get(at)), at/chunkUnits
	a.bytes -= size
	if a.used[c] -= uint32(size); a.used[c] == 0 && c != a.last {
		a.chunks[c] = nil
		a.free = append(a.free, c)
	}
}

// wasteful reports whether less than half of the arena is in use, and more than a few chunks are not. Then it pays to pack each name.
func (a *arena) wasteful() bool {
	held := (len(a.chunks) - len(a.free)) * arenaChunk
	return held > 2*a.bytes+4*arenaChunk
}

// pack moves a name out of a chunk of which less than three quarters are in use. It returns where the name is then.
func (a *arena) pack(at uint32) uint32 {
	if c := at / chunkUnits; c == a.last || a.used[c] >= arenaChunk/4*3 {
		return at
	}
	moved := a.add(a.get(at))
	a.remove(at)
	return moved
}

func (x *index) spot(at uint32) *spot { return &x.chunks[at/tables.Chunk][at%tables.Chunk] }

func (x *index) name(at uint32) []byte { return x.names.get(x.spot(at).name) }

func (x *index) text(at uint32) string { return x.names.text(x.spot(at).name) }

// dropped reports whether the record at that number was dropped, and waits to be swept.
func (x *index) dropped(at uint32) bool { return x.drops.Pending() && x.drops.Has(at, x.text(at)) }

func (x *index) hash(name []byte) uint64 { return maphash.Bytes(x.seed, name) }

// find returns the spot of a name with that hash, also of a dropped one.
func (x *index) find(hash uint64, name []byte) (at uint32, ok bool) {
	return x.byName.Find(hash, func(at uint32) bool { return string(x.name(at)) == string(name) })
}

// hashAll hashes the names of records that will be put next.
func (x *index) hashAll(records []paxos.Record) {
	x.hashes = x.hashes[:0]
	for i := range records {
		x.hashes = append(x.hashes, maphash.String(x.seed, records[i].Instance))
	}
}

// findString returns the spot of a name that is not dropped.
func (x *index) findString(name string) (at uint32, ok bool) {
	return x.findHashed(maphash.String(x.seed, name), name)
}

// findHashed is findString for a name with that hash.
func (x *index) findHashed(hash uint64, name string) (at uint32, ok bool) {
	at, ok = x.byName.Find(hash, func(at uint32) bool { return string(x.name(at)) == name })
	return at, ok && !x.drops.Has(at, name)
}

// checkIndex returns an error if an instance other than the record's has its Index.
func (x *index) checkIndex(r *paxos.Record) error {
	if at, ok := x.order.Get(r.Index); ok && string(x.name(at)) != r.Instance && !x.dropped(at) {
		return fmt.Errorf("Record %q: Index: %d is that of %q", r.Instance, r.Index, x.name(at))
	}
	return nil
}

// put makes s the spot of the instance with that name and that hash. It returns the spot that it replaces; its size is zero if there is
// none. No other instance has the Index of s: see free.
func (x *index) put(hash uint64, name []byte, s spot) (old spot) {
	at, known := x.find(hash, name)
	if known {
		p := x.spot(at)
		old, s.name = *p, p.name
		x.noteLate(at)
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
		x.listing++
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
	x.noteLate(x.n - 1)
	return spot{}
}

// noteLate notes that the record at that number is later than all drops.
func (x *index) noteLate(at uint32) {
	if x.drops.Pending() {
		x.drops.Put(at, x.text(at))
	}
}

// free frees an Index that a dropped instance has. It returns the spot of that instance, which is gone now; its size is zero if there
// was none.
func (x *index) free(index uint64) (old spot) {
	if !x.drops.Pending() {
		return spot{}
	}
	at, ok := x.order.Get(index)
	if !ok || !x.dropped(at) {
		return spot{}
	}
	old = *x.spot(at)
	x.remove(at)
	return old
}

// remove forgets the instance at that number. The last instance gets the number.
func (x *index) remove(at uint32) {
	x.unlink(at)
	last := x.n - 1
	x.drops.Remove(at, last)
	x.byName.Remove(x.hash(x.name(at)), at)
	x.names.remove(x.spot(at).name)
	if at != last {
		s := *x.spot(last)
		x.byName.Move(x.hash(x.names.get(s.name)), last, at)
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

// sweepOne makes one step of a sweep: it removes one dropped instance, or finds that one stays. Then it makes room in the arena. It
// returns false once nothing is left to do in this pass.
func (x *index) sweepOne(gone func(spot)) (more bool) {
	if x.moving = min(x.moving, x.n); x.moving > 0 {
		x.moving--
		s := x.spot(x.moving)
		s.name = x.names.pack(s.name)
		return x.moving > 0
	}
	if x.drops.Pending() {
		if at, ok := x.drops.Next(x.n); ok {
			x.sweepAt(at, gone)
			return true
		}
	}
	if x.names.wasteful() {
		x.moving = x.n
	}
	return x.moving > 0
}

// sweepAt removes the instance at that number, if it is dropped. A dropped one at the end goes first: otherwise it would only move.
func (x *index) sweepAt(at uint32, gone func(spot)) {
	if !x.dropped(at) {
		x.drops.Keep(x.n)
		return
	}
	if x.dropped(x.n - 1) {
		at = x.n - 1
	}
	gone(*x.spot(at))
	x.remove(at)
}

// sweepIsDue reports whether there is anything to sweep.
func (x *index) sweepIsDue() bool { return x.moving > 0 || x.drops.Pending() || x.names.wasteful() }

// link enters the spot into undecided or order.
func (x *index) link(at uint32) {
	s := x.spot(at)
	if s.index != 0 {
		if s.index < x.order.Highest() {
			x.listing++
		}
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
	names := make([]string, 0, len(x.undecided))
	for _, at := range x.undecided {
		if name := x.text(at); !x.drops.Has(at, name) {
			names = append(names, name)
		}
	}
	return names
}

// decided returns the decided instances above after, at most most. If it would pass very many dropped ones, it stops: more is true
// then, and the list goes on above next.
func (x *index) decided(after uint64, most int) (named []paxos.Named, next uint64, more bool) {
	if x.drops.Pending() {
		next, more = x.drops.Above(&x.order, after, most, x.text, func(p tables.Place) {
			named = append(named, paxos.Named{Instance: x.text(p.At), Index: p.Index})
		})
		return named, next, more
	}
	runs, n := x.order.Above(after, most)
	if n == 0 {
		return nil, after, false
	}
	named = make([]paxos.Named, 0, n)
	for _, run := range runs {
		for _, p := range run {
			named = append(named, paxos.Named{Instance: x.text(p.At), Index: p.Index})
		}
	}
	return named, after, false
}
