package disktest

import (
	"bytes"
	"slices"
)

// A file is one file, whatever its names.
type file struct {
	number int
	data   content // as readers see it
	dirty  []Op    // writes since the last sync; Op.lost: the storage has dropped the page, and no sync will write it
	stable content // bytes that survive any crash
	failed error   // of a start or an await, which no sync has told yet
}

func (f *file) put(op Op) {
	f.data.write(op.At, op.Data)
	f.dirty = append(f.dirty, op)
}

// sync makes durable what is dirty and was not dropped.
func (f *file) sync() {
	kept := f.dirty[:0]
	for _, op := range f.dirty {
		if op.lost {
			kept = append(kept, op)
		} else {
			f.stable.write(op.At, op.Data)
		}
	}
	f.dirty = kept
}

// A page is what a content copies at least.
type page [1 << 10]byte

// zeros is what most of a new segment has.
var zeros [64 << 10]byte

func isZero(b []byte) bool { return len(b) <= len(zeros) && bytes.Equal(b, zeros[:len(b)]) }

// A content is the bytes of a file, in pages. Files can share each page, and the list of pages: a write copies before what is shared.
type content struct {
	size  int
	pages []*page // nil: zeros; behind the size there are only zeros
	own   []bool  // the pages that nobody shares; nil: the list is shared, too
}

// contentOf returns a content that reads b from now on.
func contentOf(b []byte) (c content) {
	c.write(0, b)
	return c
}

// share returns what another file can have as its content, too.
func (c *content) share() content {
	c.own = nil
	return *c
}

// unshare makes a copy of a list that is shared.
func (c *content) unshare() {
	if c.own == nil {
		c.pages, c.own = slices.Clone(c.pages), make([]bool, len(c.pages))
	}
}

// grow adds zeros until there are need bytes.
func (c *content) grow(need int) {
	c.size = max(c.size, need)
	if more := (c.size+len(page{})-1)/len(page{}) - len(c.pages); more > 0 {
		c.unshare()
		c.pages, c.own = append(c.pages, make([]*page, more)...), append(c.own, make([]bool, more)...)
	}
}

// write puts b at an offset. It may read b later, so b never changes.
func (c *content) write(at int64, b []byte) {
	c.grow(int(at) + len(b))
	c.unshare()
	for len(b) > 0 {
		i, from := int(at)/len(page{}), int(at)%len(page{})
		part := b[:min(len(b), len(page{})-from)]
		c.writePage(i, from, part)
		at, b = at+int64(len(part)), b[len(part):]
	}
}

// writePage puts b into one page, at an offset of the page.
func (c *content) writePage(i, from int, b []byte) {
	switch was := c.pages[i]; {
	case was == nil && isZero(b):
	case len(b) == len(page{}) && isZero(b):
		c.pages[i], c.own[i] = nil, false
	case len(b) == len(page{}):
		c.pages[i], c.own[i] = (*page)(b), false
	case was == nil:
		c.pages[i], c.own[i] = new(page), true
		copy(c.pages[i][from:], b)
	case !c.own[i]:
		now := *was
		c.pages[i], c.own[i] = &now, true
		copy(now[from:], b)
	default:
		copy(was[from:], b)
	}
}

// read is ReadAt.
func (c *content) read(b []byte, at int64) (n int) {
	if at >= int64(c.size) {
		return 0
	}
	b = b[:min(len(b), c.size-int(at))]
	for n < len(b) {
		i, from := (int(at)+n)/len(page{}), (int(at)+n)%len(page{})
		part := b[n:min(len(b), n+len(page{})-from)]
		if p := c.pages[i]; p != nil {
			copy(part, p[from:])
		} else {
			clear(part)
		}
		n += len(part)
	}
	return n
}

// bytes returns a copy of all.
func (c *content) bytes() []byte {
	b := make([]byte, c.size)
	c.read(b, 0)
	return b
}
