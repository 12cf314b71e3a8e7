package paxos

import (
	"cmp"
	"hash/maphash"
	"slices"
)

// A memoryRecord is a Record as the storage keeps it.
type memoryRecord struct {
	name     string
	acceptor Acceptor
	index    uint64 // zero: not Chosen
	place    uint32 // in undecided, if not Chosen
	step     uint32 // in undo, of the Save that put it last
}

func (r *memoryRecord) export() Record {
	return Record{Instance: r.name, Acceptor: r.acceptor, Chosen: r.index != 0, Index: r.index}
}

// memoryChunk is how many records, or places, lie together. What grows, grows by chunks: a record is not copied when the
// number of records doubles, and memory goes back when they are dropped.
const memoryChunk = 1024

// memoryRecords is the set of all records, each at a number from 0 to n-1, with what finds them: by name, not decided,
// and by Index. Only the records themselves hold pointers, so the garbage collector has nothing else to look at.
type memoryRecords struct {
	seed      maphash.Seed
	n         uint32
	chunks    [][]memoryRecord // all full but the last
	names     [256]memoryNames // by the highest byte of the name's hash, so that they grow one by one, at no great pause
	undecided []uint32         // in no order
	order     memoryOrder
}

func (m *memoryRecords) hash(name string) uint64 { return maphash.String(m.seed, name) }

func (m *memoryRecords) record(at uint32) *memoryRecord {
	return &m.chunks[at/memoryChunk][at%memoryChunk]
}

// find returns where the record of a name is.
func (m *memoryRecords) find(hash uint64, name string) (at uint32, ok bool) {
	t := &m.names[hash>>56]
	for i := t.home(hash); t.used > 0 && t.slots[i] != 0; i = t.next(i) {
		if uint32(t.slots[i]>>32) != uint32(hash) {
			continue
		}
		if at := uint32(t.slots[i]) - 1; m.record(at).name == name {
			return at, true
		}
	}
	return 0, false
}

// add puts a record, whose name must be new, at n.
func (m *memoryRecords) add(hash uint64, r *memoryRecord) {
	last := len(m.chunks) - 1
	if last < 0 || len(m.chunks[last]) == memoryChunk {
		last++
		m.chunks = append(m.chunks, make([]memoryRecord, 0, min(memoryChunk, max(8, last*memoryChunk))))
	}
	m.chunks[last] = append(m.chunks[last], *r)
	m.names[hash>>56].add(hash, m.n)
	m.n++
	m.link(m.n - 1)
}

// replace changes the record there.
func (m *memoryRecords) replace(at uint32, a *Acceptor, index uint64) {
	r := m.record(at)
	r.acceptor = *a
	if r.index == index {
		return
	}
	m.unlink(at)
	r.index = index
	m.link(at)
}

// remove takes the record away, and puts the last one where it was.
func (m *memoryRecords) remove(at uint32) {
	m.unlink(at)
	gone, last := m.record(at), m.record(m.n-1)
	hash := m.hash(gone.name)
	m.names[hash>>56].remove(hash, at)
	if gone != last {
		hash = m.hash(last.name)
		m.names[hash>>56].move(hash, m.n-1, at)
		*gone = *last
		if gone.index != 0 {
			m.order.move(gone.index, at)
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

// link enters the record into undecided or order.
func (m *memoryRecords) link(at uint32) {
	r := m.record(at)
	if r.index != 0 {
		m.order.add(memoryPlace{r.index, at})
		return
	}
	r.place = uint32(len(m.undecided))
	m.undecided = append(m.undecided, at)
}

// unlink undoes link.
func (m *memoryRecords) unlink(at uint32) {
	r := m.record(at)
	if r.index != 0 {
		m.order.remove(r.index)
		return
	}
	end := len(m.undecided) - 1
	moved := m.undecided[end]
	m.undecided[r.place], m.record(moved).place = moved, r.place
	if m.undecided = m.undecided[:end]; cap(m.undecided) > max(memoryChunk, 8*end) {
		m.undecided = append(make([]uint32, 0, 2*end), m.undecided...)
	}
}

// memoryNames finds records by the hash of their names: open addressing, linear probing. A slot holds the lower half of
// the hash above the record's number plus one; zero is free. The number of slots is a power of two, at most 3/4 in use.
type memoryNames struct {
	slots []uint64
	used  int
}

func (t *memoryNames) home(hash uint64) uint64 { return uint64(uint32(hash)) & uint64(len(t.slots)-1) }
func (t *memoryNames) next(i uint64) uint64    { return (i + 1) & uint64(len(t.slots)-1) }
func memorySlot(hash uint64, at uint32) uint64 { return hash<<32 | uint64(at+1) }

func (t *memoryNames) add(hash uint64, at uint32) {
	if 4*t.used >= 3*len(t.slots) {
		t.resize(max(8, 2*len(t.slots)))
	}
	t.insert(memorySlot(hash, at))
	t.used++
}

func (t *memoryNames) insert(slot uint64) {
	i := t.home(slot >> 32)
	for t.slots[i] != 0 {
		i = t.next(i)
	}
	t.slots[i] = slot
}

func (t *memoryNames) resize(n int) {
	old := t.slots
	t.slots = make([]uint64, n)
	for _, slot := range old {
		if slot != 0 {
			t.insert(slot)
		}
	}
}

// locate returns where the slot is; it must be there.
func (t *memoryNames) locate(slot uint64) uint64 {
	i := t.home(slot >> 32)
	for t.slots[i] != slot {
		i = t.next(i)
	}
	return i
}

func (t *memoryNames) move(hash uint64, from, to uint32) {
	t.slots[t.locate(memorySlot(hash, from))] = memorySlot(hash, to)
}

// remove frees a slot, and puts those behind it that it kept from their home where they are found again.
func (t *memoryNames) remove(hash uint64, at uint32) {
	i := t.locate(memorySlot(hash, at))
	t.slots[i] = 0
	t.used--
	for i = t.next(i); t.slots[i] != 0; i = t.next(i) {
		slot := t.slots[i]
		t.slots[i] = 0
		t.insert(slot)
	}
	if n := len(t.slots); n > 8 && 8*t.used < n {
		t.resize(n / 2)
	}
}

// A memoryPlace says which record has an Index.
type memoryPlace struct {
	index uint64
	at    uint32
}

// memoryOrder is the decided records by Index, in chunks: each ascending, none empty, and no two neighbours so small that
// half a chunk would hold both. Indices rise, so almost always one is added at the end; but any order will do.
type memoryOrder struct{ chunks [][]memoryPlace }

// locate returns the chunk and the position in it of the lowest Index that is not below index. There must be one: index
// is not above the highest.
func (o *memoryOrder) locate(index uint64) (c, i int) {
	c, _ = slices.BinarySearchFunc(o.chunks, index, func(run []memoryPlace, index uint64) int {
		return cmp.Compare(run[len(run)-1].index, index)
	})
	i, _ = slices.BinarySearchFunc(o.chunks[c], index, func(p memoryPlace, index uint64) int {
		return cmp.Compare(p.index, index)
	})
	return c, i
}

func (o *memoryOrder) highest() uint64 {
	if len(o.chunks) == 0 {
		return 0
	}
	run := o.chunks[len(o.chunks)-1]
	return run[len(run)-1].index
}

func (o *memoryOrder) get(index uint64) (memoryPlace, bool) {
	if index == 0 || index > o.highest() {
		return memoryPlace{}, false
	}
	c, i := o.locate(index)
	if o.chunks[c][i].index != index {
		return memoryPlace{}, false
	}
	return o.chunks[c][i], true
}

// move says that the record with this Index is at another place now.
func (o *memoryOrder) move(index uint64, at uint32) {
	c, i := o.locate(index)
	o.chunks[c][i].at = at
}

// add enters p, whose Index must be new.
func (o *memoryOrder) add(p memoryPlace) {
	end := len(o.chunks) - 1
	if end < 0 || p.index > o.highest() {
		if end < 0 || len(o.chunks[end]) == memoryChunk {
			end++
			o.chunks = append(o.chunks, make([]memoryPlace, 0, min(memoryChunk, max(8, end*memoryChunk))))
		}
		o.chunks[end] = append(o.chunks[end], p)
		return
	}
	c, i := o.locate(p.index)
	if run := o.chunks[c]; len(run) == memoryChunk {
		const half = memoryChunk / 2
		o.chunks[c] = slices.Clone(run[:half])
		o.chunks = slices.Insert(o.chunks, c+1, slices.Clone(run[half:]))
		if i > half {
			c, i = c+1, i-half
		}
	}
	o.chunks[c] = slices.Insert(o.chunks[c], i, p)
}

// remove takes the Index, which must be there, out of the order.
func (o *memoryOrder) remove(index uint64) {
	c, i := o.locate(index)
	if o.chunks[c] = slices.Delete(o.chunks[c], i, i+1); len(o.chunks[c]) == 0 {
		o.chunks = slices.Delete(o.chunks, c, c+1)
		return
	}
	o.join(c)
	o.join(c - 1)
}

// join makes chunks c and c+1 one, if they are there and half a chunk holds both.
func (o *memoryOrder) join(c int) {
	if c < 0 || c+1 >= len(o.chunks) || len(o.chunks[c])+len(o.chunks[c+1]) > memoryChunk/2 {
		return
	}
	o.chunks[c] = slices.Concat(o.chunks[c], o.chunks[c+1])
	o.chunks = slices.Delete(o.chunks, c+1, c+2)
}

// above returns the n places with an Index above after, at most max, in runs.
func (o *memoryOrder) above(after uint64, max int) (runs [][]memoryPlace, n int) {
	if after >= o.highest() {
		return nil, 0
	}
	c, i := o.locate(after + 1)
	for ; c < len(o.chunks) && n < max; c, i = c+1, 0 {
		run := o.chunks[c][i:]
		run = run[:min(len(run), max-n)]
		runs, n = append(runs, run), n+len(run)
	}
	return runs, n
}
