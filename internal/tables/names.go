// Package tables has the two tables by which storages find records, each of which is at a number: by the hash of its name,
// and by its Index. They hold no pointers but to their own chunks, and grow without a pause.
package tables

import (
	"hash/maphash"
	"runtime"
	"slices"
)

// Names finds records by the hash of their names. It is in 256 parts, by the highest byte of the hash, so that they grow one by
// one, at no great pause. The zero Names is empty.
type Names struct {
	parts  [256]part
	recent *[1024]uint64 // slots that were entered or changed lately, by another part of their hashes; see Remember
}

// Remember has the names that were entered last be found without a look at the whole, which may be too large for the processor's
// caches. It takes 8 KiB, and is for who asks for most names soon after they are entered.
func (n *Names) Remember() { n.recent = new([1024]uint64) }

// note remembers a name with that hash. Zero makes it forget the name in that place.
func (n *Names) note(hash, slot uint64) {
	if n.recent != nil {
		n.recent[hash>>32%uint64(len(n.recent))] = slot
	}
}

// remembered returns the slot of a name with that hash, or zero.
func (n *Names) remembered(hash uint64) uint64 {
	if n.recent == nil {
		return 0
	}
	if s := n.recent[hash>>32%uint64(len(n.recent))]; s>>32 == hash&(1<<32-1) {
		return s
	}
	return 0
}

// A part is open addressing with linear probing. A slot holds the lower half of the hash above the record's number plus
// one; zero is free. The number of slots is a power of two, at most 3/4 in use.
type part struct {
	slots []uint64
	used  int
}

// Find returns the record with this hash of which is says that it is the one that is meant: two names may have one hash.
func (n *Names) Find(hash uint64, is func(at uint32) bool) (at uint32, ok bool) {
	if s := n.remembered(hash); s != 0 {
		if at := uint32(s) - 1; is(at) {
			return at, true
		}
	}
	t := &n.parts[hash>>56]
	if t.used == 0 {
		return 0, false
	}
	for i := t.home(hash); t.slots[i] != 0; i = t.next(i) {
		if uint32(t.slots[i]>>32) != uint32(hash) {
			continue
		}
		if at := uint32(t.slots[i]) - 1; is(at) {
			return at, true
		}
	}
	return 0, false
}

// FetchAll reads where Find begins to look for these hashes. If many names are fetched before the first is looked up, the reads of memory
// overlap, and the wait is about that for one. It changes nothing, so it may run beside Find.
func (n *Names) FetchAll(hashes []uint64) {
	var all uint64
	for _, hash := range hashes {
		all ^= n.fetch(hash)
	}
	runtime.KeepAlive(all) // else the compiler would leave the reading out
}

// FetchNames is FetchAll for names with hashes of that seed.
func (n *Names) FetchNames(seed maphash.Seed, names []string) {
	var hashes [64]uint64
	for part := range slices.Chunk(names, len(hashes)) {
		for i, name := range part {
			hashes[i] = maphash.String(seed, name)
		}
		n.FetchAll(hashes[:len(part)])
	}
}

func (n *Names) fetch(hash uint64) uint64 {
	if n.remembered(hash) != 0 {
		return 0
	}
	t := &n.parts[hash>>56]
	if t.used == 0 {
		return 0
	}
	return t.slots[t.home(hash)]
}

// Add enters a record, which is not there yet.
func (n *Names) Add(hash uint64, at uint32) {
	t := &n.parts[hash>>56]
	if 4*t.used >= 3*len(t.slots) {
		t.resize(max(8, 2*len(t.slots)))
	}
	t.insert(slot(hash, at))
	t.used++
	n.note(hash, slot(hash, at))
}

// Move says that a record, which is there, has another number.
func (n *Names) Move(hash uint64, from, to uint32) {
	t := &n.parts[hash>>56]
	t.slots[t.locate(slot(hash, from))] = slot(hash, to)
	n.note(hash, slot(hash, to))
}

// Remove takes out a record, which is there.
func (n *Names) Remove(hash uint64, at uint32) {
	t := &n.parts[hash>>56]
	gap := t.locate(slot(hash, at))
	// A name behind the gap takes its place if it would not be found any more: if the gap is at its home, or between the two.
	for i := t.next(gap); t.slots[i] != 0; i = t.next(i) {
		if mask := uint64(len(t.slots) - 1); (i-t.home(t.slots[i]>>32))&mask >= (i-gap)&mask {
			t.slots[gap], gap = t.slots[i], i
		}
	}
	t.slots[gap] = 0
	t.used--
	n.note(hash, 0)
	if n := len(t.slots); n > 8 && 8*t.used < n {
		t.resize(n / 2)
	}
}

// Len returns how many records there are, and for how many there is room.
func (n *Names) Len() (used, slots int) {
	for i := range n.parts {
		used, slots = used+n.parts[i].used, slots+len(n.parts[i].slots)
	}
	return used, slots
}

func (t *part) home(hash uint64) uint64  { return uint64(uint32(hash)) & uint64(len(t.slots)-1) }
func (t *part) next(i uint64) uint64     { return (i + 1) & uint64(len(t.slots)-1) }
func slot(hash uint64, at uint32) uint64 { return hash<<32 | uint64(at+1) }

func (t *part) insert(slot uint64) {
	i := t.home(slot >> 32)
	for t.slots[i] != 0 {
		i = t.next(i)
	}
	t.slots[i] = slot
}

func (t *part) resize(n int) {
	old := t.slots
	t.slots = make([]uint64, n)
	for _, slot := range old {
		if slot != 0 {
			t.insert(slot)
		}
	}
}

// locate returns where the slot is; it must be there.
func (t *part) locate(slot uint64) uint64 {
	i := t.home(slot >> 32)
	for t.slots[i] != slot {
		i = t.next(i)
	}
	return i
}
