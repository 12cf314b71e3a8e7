package memory

import (
	"hash/maphash"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/tables"
)

// A memoryRecord is a [paxos.Record] as the storage keeps it.
type memoryRecord struct {
	name     string
	acceptor paxos.Acceptor
	index    uint64 // zero: not Chosen
	place    uint32 // in undecided, if not Chosen
	step     uint32 // in undo, of the Save that put it last
}

func (r *memoryRecord) export() paxos.Record {
	return paxos.Record{Instance: r.name, Acceptor: r.acceptor, Chosen: r.index != 0, Index: r.index}
}

// memoryChunk is how many records lie together. Memory grows and shrinks by chunks. So no record is copied when the number
// of records doubles, and memory is given back when records are dropped.
const memoryChunk = tables.Chunk

// memoryRecords is the set of all records, each at a number from 0 to n-1. It finds them by name and by Index, and lists
// those that are not decided. Only the records hold pointers, so the garbage collector looks at nothing else.
type memoryRecords struct {
	seed      maphash.Seed
	n         uint32
	chunks    [][]memoryRecord // all full but the last
	names     tables.Names
	undecided []uint32 // in no order
	order     tables.Order
	hashes    []uint64 // of the names that were fetched last

	drops   tables.Drops // ranges of which records are still here
	listing uint64       // changes of the order of decisions, other than new ones at its end
}

func (m *memoryRecords) hash(name string) uint64 { return maphash.String(m.seed, name) }

func (m *memoryRecords) record(at uint32) *memoryRecord {
	return &m.chunks[at/memoryChunk][at%memoryChunk]
}

// find returns the number of the record of a name, also of a dropped one.
func (m *memoryRecords) find(hash uint64, name string) (at uint32, ok bool) {
	return m.names.Find(hash, func(at uint32) bool { return m.record(at).name == name })
}

// fetch hashes the names of records that are about to be found, and looks them up side by side. Their memory comes into the
// processor's caches by that.
func (m *memoryRecords) fetch(records []paxos.Record) {
	m.hashes = m.hashes[:0]
	for i := range records {
		m.hashes = append(m.hashes, m.hash(records[i].Instance))
	}
	m.names.FetchAll(m.hashes)
}

// add appends a record, at the number n. Its name must be new.
func (m *memoryRecords) add(hash uint64, r *memoryRecord) {
	last := len(m.chunks) - 1
	if last < 0 || len(m.chunks[last]) == memoryChunk {
		last++
		m.chunks = append(m.chunks, make([]memoryRecord, 0, min(memoryChunk, max(8, last*memoryChunk))))
	}
	m.chunks[last] = append(m.chunks[last], *r)
	m.names.Add(hash, m.n)
	m.n++
	m.link(m.n - 1)
}

// replace changes the record at that number.
func (m *memoryRecords) replace(at uint32, a *paxos.Acceptor, index uint64) {
	r := m.record(at)
	r.acceptor = *a
	if r.index == index {
		return
	}
	if r.index != 0 {
		m.listing++
	}
	m.unlink(at)
	r.index = index
	m.link(at)
}

// remove takes away the record at that number, and moves the last record there.
func (m *memoryRecords) remove(at uint32) {
	m.unlink(at)
	m.drops.Remove(at, m.n-1)
	gone, last := m.record(at), m.record(m.n-1)
	hash := m.hash(gone.name)
	m.names.Remove(hash, at)
	if gone != last {
		hash = m.hash(last.name)
		m.names.Move(hash, m.n-1, at)
		*gone = *last
		if gone.index != 0 {
			m.order.Move(gone.index, at)
		} else {
			m.undecided[gone.place] = at
		}
	}
	*last = memoryRecord{}
	m.n--
	end := len(m.chunks) - 1
	if m.chunks[end] = m.chunks[end][:m.n%memoryChunk]; m.n%memoryChunk == 0 {
		m.chunks[end] = nil
		m.chunks = m.chunks[:end]
	}
}

// sweep looks at most at that many records, and removes the dropped ones. A dropped one at the end goes first: otherwise it
// would only move.
func (m *memoryRecords) sweep(most int) {
	for range most {
		at, ok := m.drops.Next(m.n)
		switch {
		case !ok:
			return
		case !m.dropped(at):
			m.drops.Keep(m.n)
		case m.dropped(m.n - 1):
			m.remove(m.n - 1)
		default:
			m.remove(at)
		}
	}
}

// dropped reports whether the record at that number was dropped, and waits to be swept.
func (m *memoryRecords) dropped(at uint32) bool { return m.drops.Has(at, m.record(at).name) }

// listDecided returns the decided records above after, at most most. If it would pass very many dropped ones, it stops: more is
// true then, and the list goes on above next.
func (m *memoryRecords) listDecided(after uint64, most int) (named []paxos.Named, next uint64, more bool) {
	if m.drops.Pending() {
		name := func(at uint32) string { return m.record(at).name }
		next, more = m.drops.Above(&m.order, after, most, name, func(p tables.Place) {
			named = append(named, paxos.Named{Instance: name(p.At), Index: p.Index})
		})
		return named, next, more
	}
	runs, n := m.order.Above(after, most)
	if n == 0 {
		return nil, after, false
	}
	named = make([]paxos.Named, 0, n)
	for _, run := range runs {
		for _, p := range run {
			named = append(named, paxos.Named{Instance: m.record(p.At).name, Index: p.Index})
		}
	}
	return named, after, false
}

// link enters the record into undecided or order.
func (m *memoryRecords) link(at uint32) {
	r := m.record(at)
	if r.index != 0 {
		if r.index < m.order.Highest() {
			m.listing++
		}
		m.order.Add(tables.Place{Index: r.index, At: at})
		return
	}
	r.place = uint32(len(m.undecided))
	m.undecided = append(m.undecided, at)
}

// unlink undoes link.
func (m *memoryRecords) unlink(at uint32) {
	r := m.record(at)
	if r.index != 0 {
		m.order.Remove(r.index)
		return
	}
	end := len(m.undecided) - 1
	moved := m.undecided[end]
	m.undecided[r.place], m.record(moved).place = moved, r.place
	if m.undecided = m.undecided[:end]; cap(m.undecided) > max(memoryChunk, 8*end) {
		m.undecided = append(make([]uint32, 0, 2*end), m.undecided...)
	}
}
