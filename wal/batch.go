package wal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/disk"
)

// formatVersion is the version of the manifest, and of segments and hints. A change that this version could not read needs the next
// number. All earlier versions are read.
//
// Version 2 brought marks: a segment of version 1 gets none. Version 3 brought SEAL. Batches, seals, and the slots of SEAL have versions
// of their own.
const (
	formatVersion = 3
	withMarks     = 2 // the first version with marks
	batchVersion  = 1
	sealVersion   = 1
)

// A batch is what one Save has written: a header, entries, and zeros up to a multiple of 8 bytes.
//
//	 0  4  "pxb" and the format version
//	 4  4  length of the entries
//	 8  8  store
//	16  8  segment
//	24  8  offset of this batch
//	32  8  sequence: batches have consecutive numbers, over all segments
//	40  8  watermark: all before this offset, and in earlier segments, was durable when this was written
//	48  4  number of entries
//	52  4  checksum of the entries
//	56  4  zero
//	60  4  checksum of the 60 bytes before
//	64     entries
type batchHeader struct {
	length                 int
	store, segment, offset uint64
	sequence, watermark    uint64
	entries                int
	entriesSum             uint32
}

const (
	batchHead = 64
	batchMark = 'p' | 'x'<<8 | 'b'<<16 | batchVersion<<24
	maxBatch  = 256 << 20 // bytes of a batch
)

// checksums are CRC-32C: processors have an instruction for it.
var checksums = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, checksums) }

// padded returns n rounded up to where the next batch may begin.
func padded(n int64) int64 { return (n + 7) &^ 7 }

// put writes h over the first bytes of b.
func (h *batchHeader) put(b []byte) {
	le := binary.LittleEndian
	le.PutUint32(b, batchMark)
	le.PutUint32(b[4:], uint32(h.length))
	le.PutUint64(b[8:], h.store)
	le.PutUint64(b[16:], h.segment)
	le.PutUint64(b[24:], h.offset)
	le.PutUint64(b[32:], h.sequence)
	le.PutUint64(b[40:], h.watermark)
	le.PutUint32(b[48:], uint32(h.entries))
	le.PutUint32(b[52:], h.entriesSum)
	le.PutUint32(b[56:], 0)
	le.PutUint32(b[60:], checksum(b[:60]))
}

// parseBatch reads a header. ok is false if there is none.
func parseBatch(b []byte) (h batchHeader, ok bool) {
	le := binary.LittleEndian
	if len(b) < batchHead || le.Uint32(b) != batchMark || le.Uint32(b[60:]) != checksum(b[:60]) {
		return h, false
	}
	h = batchHeader{length: int(le.Uint32(b[4:])), store: le.Uint64(b[8:]), segment: le.Uint64(b[16:]), offset: le.Uint64(b[24:]),
		sequence: le.Uint64(b[32:]), watermark: le.Uint64(b[40:]), entries: int(le.Uint32(b[48:])), entriesSum: le.Uint32(b[52:])}
	return h, h.length <= maxBatch
}

// An entry of a batch.
//
//	0  4  checksum of what follows, begun with the place: see seed
//	4  4  length of the payload, and in the highest byte what it is
//	8     payload
//
// A payload is one of
//
//	record  1  length of the name, name, Index as a varint (0: not decided), and the binary form of the Record without both
//	server  2  the binary form of the ServerState
//	drop    3  length of From as a varint, From, To
//	mark    4  length of the name, name, Index, the offset of the vote in this segment as a varint, the 4 bytes of its checksum, and the
//	           binary form of the Record without name, Index and value: the value is the vote's
const (
	entryHead  = 8
	kindRecord = 1
	kindServer = 2
	kindDrop   = 3
	kindMark   = 4
	maxPayload = 1<<24 - 1
)

// A place is where an entry lies. At any other place the checksum of the entry is wrong.
type place struct{ store, segment, offset uint64 }

// seed is the initial value of the checksum of the entry at p.
func (p place) seed() uint32 {
	x := p.store + p.segment*0x9e3779b97f4a7c15 + p.offset*0xbf58476d1ce4e5b9
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return uint32(x ^ x>>31)
}

// sum is the checksum of the entry b, which lies at p.
func (p place) sum(b []byte) uint32 { return crc32.Update(p.seed(), checksums, b[4:]) }

// An encoder builds the batch of one Save.
type encoder struct {
	room  []byte // buf is its end, and begins in its first page
	buf   []byte
	sizes []uint32 // of the entries
}

// maxKept is the largest buffer that an encoder keeps for the next batch: room for 8 MiB of long values, and for more.
const maxKept = 8<<20 + 64<<10

// leastRoom is the least memory of an encoder, in bytes. Go has memory of that size begin where a page does.
const leastRoom = 32 << 10

// reset begins a batch with about n bytes of entries, for that offset of its segment. It lies in memory as it will lie in the file: see
// [disk.File].
func (e *encoder) reset(offset int64, n int) {
	if cap(e.buf) > cap(e.room) {
		e.room = e.buf[:0] // it has grown
	}
	pad := int(offset % disk.PageSize)
	if n += disk.PageSize + batchHead + 8; cap(e.room) < n || cap(e.room) > max(maxKept, 2*n) {
		e.room = make([]byte, 0, max(n, leastRoom))
	}
	e.buf = e.room[pad : pad+batchHead]
	clear(e.buf)
	e.sizes = e.sizes[:0]
}

// move has the batch lie in memory as at that offset of a segment, if it is long enough to matter.
func (e *encoder) move(offset int64) {
	pad, n := int(offset%disk.PageSize), len(e.buf)
	if n >= leastRoom && cap(e.room) >= n+disk.PageSize+8 {
		moved := e.room[pad : pad+n]
		copy(moved, e.buf)
		e.buf = moved
	}
}

// end ends the entry that began at offset from.
func (e *encoder) end(from int, kind uint32) error {
	n := len(e.buf) - from - entryHead
	if n > maxPayload || len(e.buf) > maxBatch {
		return fmt.Errorf("Batch: %d bytes in one record, %d in all: at most %d and %d are possible", n, len(e.buf), maxPayload, maxBatch)
	}
	binary.LittleEndian.PutUint32(e.buf[from+4:], uint32(n)|kind<<24)
	e.sizes = append(e.sizes, uint32(n+entryHead))
	return nil
}

func (e *encoder) begin() (from int) {
	from = len(e.buf)
	e.buf = append(e.buf, 0, 0, 0, 0, 0, 0, 0, 0)
	return from
}

// entriesOf returns about how many bytes the entries of b have, at most.
func entriesOf(b *paxos.Batch, marks []vote) (n int) {
	const rest = 64 // of a record
	for i := range b.Records {
		n += rest + len(b.Records[i].Instance)
		if i >= len(marks) || marks[i].size == 0 {
			n += len(b.Records[i].Acceptor.Value)
		}
	}
	return n
}

// encode puts b into the buffer, for that offset, without the fields that depend on its place. A record with a vote in marks becomes a
// mark. If marks is nil, no record does.
func (e *encoder) encode(b *paxos.Batch, marks []vote, offset int64) error {
	e.reset(offset, entriesOf(b, marks))
	if b.Server != nil {
		from := e.begin()
		e.buf, _ = b.Server.AppendBinary(e.buf)
		if err := e.end(from, kindServer); err != nil {
			return err
		}
	}
	for _, d := range b.Drop {
		from := e.begin()
		e.buf = binary.AppendUvarint(e.buf, uint64(len(d.From)))
		e.buf = append(append(e.buf, d.From...), d.To...)
		if err := e.end(from, kindDrop); err != nil {
			return err
		}
	}
	for i := range b.Records {
		r, err := &b.Records[i], error(nil)
		if i < len(marks) && marks[i].size > 0 {
			err = e.mark(r, marks[i])
		} else {
			err = e.record(r)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (e *encoder) record(r *paxos.Record) error {
	if len(r.Instance) > paxos.MaxName {
		return fmt.Errorf("Record %q: Instance: %d bytes: at most %d are possible", r.Instance, len(r.Instance), paxos.MaxName)
	}
	from := e.begin()
	e.buf = append(append(e.buf, byte(len(r.Instance))), r.Instance...)
	e.buf = binary.AppendUvarint(e.buf, r.Index)
	e.buf, _ = paxos.Record{Acceptor: r.Acceptor, Chosen: r.Chosen}.AppendBinary(e.buf)
	return e.end(from, kindRecord)
}

// copied adds an entry as it was read from another segment.
func (e *encoder) copied(entry []byte) {
	from := len(e.buf)
	e.buf = append(e.buf, entry...)
	e.sizes = append(e.sizes, uint32(len(e.buf)-from))
}

// seal completes the batch for its place, and returns it.
func (e *encoder) seal(store, segment, offset, sequence uint64) []byte {
	at := batchHead
	for _, n := range e.sizes {
		entry := e.buf[at : at+int(n)]
		binary.LittleEndian.PutUint32(entry, place{store, segment, offset + uint64(at)}.sum(entry))
		at += int(n)
	}
	h := batchHeader{length: len(e.buf) - batchHead, store: store, segment: segment, offset: offset, sequence: sequence,
		watermark: offset, entries: len(e.sizes), entriesSum: checksum(e.buf[batchHead:])}
	h.put(e.buf)
	for len(e.buf)%8 != 0 {
		e.buf = append(e.buf, 0)
	}
	return e.buf
}

// An entry as it was read. Its slices share memory with the data that was read.
type entry struct {
	kind   byte
	offset int64
	bytes  []byte // all of it
}

func (e entry) payload() []byte { return e.bytes[entryHead:] }

// nextEntry takes the first entry off b, which begins at offset. It checks the length, but not the checksum.
func nextEntry(b []byte, offset int64) (e entry, rest []byte, err error) {
	if len(b) < entryHead {
		return entry{}, nil, fmt.Errorf("an entry is cut short")
	}
	word := binary.LittleEndian.Uint32(b[4:])
	n := int(word&maxPayload) + entryHead
	if n > len(b) {
		return entry{}, nil, fmt.Errorf("an entry of %d bytes is cut short", n)
	}
	return entry{byte(word >> 24), offset, b[:n:n]}, b[n:], nil
}

// recordHead reads the name and the Index in the payload of a record, and returns the rest.
func recordHead(b []byte) (name []byte, index uint64, rest []byte, err error) {
	if len(b) < 2 || b[0] == 0 || len(b) < 2+int(b[0]) {
		return nil, 0, nil, fmt.Errorf("a record is cut short")
	}
	name, rest = b[1:1+int(b[0])], b[1+int(b[0]):]
	index, n := binary.Uvarint(rest)
	if n <= 0 {
		return nil, 0, nil, fmt.Errorf("the Index of a record is malformed")
	}
	return name, index, rest[n:], nil
}

// parseRecord reads the payload of a record.
func parseRecord(b []byte) (r paxos.Record, err error) {
	name, index, rest, err := recordHead(b)
	if err != nil {
		return r, err
	}
	if err := r.UnmarshalBinary(rest); err != nil {
		return paxos.Record{}, err
	}
	r.Instance, r.Index = string(name), index
	return r, nil
}

// parseDrop reads the payload of a drop.
func parseDrop(b []byte) (paxos.NameRange, error) {
	n, k := binary.Uvarint(b)
	if k <= 0 || n > uint64(len(b)-k) {
		return paxos.NameRange{}, fmt.Errorf("a drop is malformed")
	}
	return paxos.NameRange{From: string(b[k : k+int(n)]), To: string(b[k+int(n):])}, nil
}

func leUint32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }
