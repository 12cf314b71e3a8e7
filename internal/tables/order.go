package tables

import (
	"cmp"
	"slices"
)

// A Place says which record has an Index.
type Place struct {
	Index uint64
	At    uint32
}

// Chunk is how many records, or places, lie together. All growth is by chunks: nothing is copied when a number doubles.
const Chunk = 1024

// Order is the decided records by Index, in chunks: each ascending, none empty, and no two neighbours so small that half a
// chunk would hold both. Indices rise, so almost always one is added at the end; but any order will do. The zero Order is
// empty.
type Order struct{ chunks [][]Place }

// locate returns the chunk and the position in it of the lowest Index that is not below index. There must be one: index
// is not above the highest.
func (o *Order) locate(index uint64) (c, i int) {
	c, _ = slices.BinarySearchFunc(o.chunks, index, func(run []Place, index uint64) int {
		return cmp.Compare(run[len(run)-1].Index, index)
	})
	i, _ = slices.BinarySearchFunc(o.chunks[c], index, func(p Place, index uint64) int {
		return cmp.Compare(p.Index, index)
	})
	return c, i
}

// Highest returns the highest Index, or zero if there is none.
func (o *Order) Highest() uint64 {
	if len(o.chunks) == 0 {
		return 0
	}
	run := o.chunks[len(o.chunks)-1]
	return run[len(run)-1].Index
}

// Len returns how many records there are, and in how many chunks.
func (o *Order) Len() (n, chunks int) {
	for _, c := range o.chunks {
		n += len(c)
	}
	return n, len(o.chunks)
}

// Get returns which record has the Index.
func (o *Order) Get(index uint64) (at uint32, ok bool) {
	if index == 0 || index > o.Highest() {
		return 0, false
	}
	c, i := o.locate(index)
	if o.chunks[c][i].Index != index {
		return 0, false
	}
	return o.chunks[c][i].At, true
}

// Move says that the record with this Index, which is there, has another number.
func (o *Order) Move(index uint64, at uint32) {
	c, i := o.locate(index)
	o.chunks[c][i].At = at
}

// Add enters p, whose Index must be new.
func (o *Order) Add(p Place) {
	end := len(o.chunks) - 1
	if end < 0 || p.Index > o.Highest() {
		if end < 0 || len(o.chunks[end]) == Chunk {
			end++
			o.chunks = append(o.chunks, make([]Place, 0, min(Chunk, max(8, end*Chunk))))
		}
		o.chunks[end] = append(o.chunks[end], p)
		return
	}
	c, i := o.locate(p.Index)
	if run := o.chunks[c]; len(run) == Chunk {
		const half = Chunk / 2
		o.chunks[c] = slices.Clone(run[:half])
		o.chunks = slices.Insert(o.chunks, c+1, slices.Clone(run[half:]))
		if i > half {
			c, i = c+1, i-half
		}
	}
	o.chunks[c] = slices.Insert(o.chunks[c], i, p)
}

// Remove takes the Index, which must be there, out of the order.
func (o *Order) Remove(index uint64) {
	c, i := o.locate(index)
	if o.chunks[c] = slices.Delete(o.chunks[c], i, i+1); len(o.chunks[c]) == 0 {
		o.chunks = slices.Delete(o.chunks, c, c+1)
		return
	}
	o.join(c)
	o.join(c - 1)
}

// join makes chunks c and c+1 one, if they are there and half a chunk holds both.
func (o *Order) join(c int) {
	if c < 0 || c+1 >= len(o.chunks) || len(o.chunks[c])+len(o.chunks[c+1]) > Chunk/2 {
		return
	}
	o.chunks[c] = slices.Concat(o.chunks[c], o.chunks[c+1])
	o.chunks = slices.Delete(o.chunks, c+1, c+2)
}

// Above returns the n places with an Index above after, at most most of them, in runs, which are the Order's own.
func (o *Order) Above(after uint64, most int) (runs [][]Place, n int) {
	if after >= o.Highest() {
		return nil, 0
	}
	c, i := o.locate(after + 1)
	for ; c < len(o.chunks) && n < most; c, i = c+1, 0 {
		run := o.chunks[c][i:]
		run = run[:min(len(run), most-n)]
		runs, n = append(runs, run), n+len(run)
	}
	return runs, n
}
