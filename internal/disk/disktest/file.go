package disktest

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

// A content is the bytes of a file. Many files can share them: the first write of each copies them before.
type content struct {
	bytes  []byte
	shared bool
}

// share returns what another file can have as its content, too.
func (c *content) share() content {
	c.shared = true
	return *c
}

// own makes a copy of shared bytes, with room for need.
func (c *content) own(need int) {
	if c.shared {
		c.bytes, c.shared = append(make([]byte, 0, max(need, len(c.bytes))), c.bytes...), false
	}
}

// grow adds zeros until there are need bytes.
func (c *content) grow(need int) {
	if more := need - len(c.bytes); more > 0 {
		c.own(need)
		c.bytes = append(c.bytes, make([]byte, more)...)
	}
}

// write puts b at an offset.
func (c *content) write(at int64, b []byte) {
	need := int(at) + len(b)
	c.own(need)
	c.grow(need)
	copy(c.bytes[at:], b)
}
