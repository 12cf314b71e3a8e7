package wal

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/singledecree/paxos"
)

// Most decisions follow a vote for the same value, in the same segment. Then the decision is written as a mark: its record without the
// value. The value stays in the vote.
//
// The value of a mark is never inferred from ballots or checksums. Save writes a mark only after it has compared the value, byte by byte,
// with that of the vote. It keeps the values of votes in memory for a while. Mostly both are the same string, so the comparison costs
// nothing. If the vote is not kept any more, for example from an earlier process, Save writes a whole record.
//
// A mark and its vote lie in one segment. Compaction copies them as one whole record, so no copy has marks. So at any moment both are
// there or neither is, and no segment needs another.
//
// The mark has the place of its vote, and the checksum of the vote. That checksum begins with the vote's place, so no other entry fits.
// Only the value of the vote counts, and no later record of the instance changes the meaning of the mark.
type mark struct {
	record paxos.Record // its Value is empty
	offset int64        // of the vote, in the segment of the mark
	sum    uint32       // the checksum of the vote
}

// leastMarked is the length from which a value gets a mark. A mark saves all but about 8 bytes of the value, and costs Load a second read. The bound mostMarked leaves room for the rest of the record: compaction must be able to make a whole record of a mark.
const (
	leastMarked = 40
	mostMarked  = maxPayload - 1<<10
)

// A vote is the entry of a vote in the active segment.
type vote struct{ offset, size, sum uint32 }

// mark appends r as a mark. v is a vote with the value of r.
func (e *encoder) mark(r *paxos.Record, v vote) error {
	from := e.begin()
	e.buf = append(append(e.buf, byte(len(r.Instance))), r.Instance...)
	e.buf = binary.AppendUvarint(e.buf, r.Index)
	e.buf = binary.AppendUvarint(e.buf, uint64(v.offset))
	e.buf = binary.LittleEndian.AppendUint32(e.buf, v.sum)
	short := paxos.Record{Acceptor: r.Acceptor, Chosen: r.Chosen}
	short.Acceptor.Value = ""
	e.buf, _ = short.AppendBinary(e.buf)
	return e.end(from, kindMark)
}

// parseMark reads the payload of a mark.
func parseMark(b []byte) (m mark, err error) {
	name, index, rest, err := recordHead(b)
	if err != nil {
		return m, err
	}
	offset, n := binary.Uvarint(rest)
	if n <= 0 || len(rest) < n+4 || offset > maxSegment {
		return m, errors.New("a mark is cut short")
	}
	if err := m.record.UnmarshalBinary(rest[n+4:]); err != nil {
		return mark{}, err
	}
	m.offset, m.sum = int64(offset), leUint32(rest[n:])
	if m.record.Instance, m.record.Index = string(name), index; !m.record.Chosen || index == 0 || m.record.Acceptor.Value != "" {
		return mark{}, errors.New("a mark is malformed")
	}
	return m, nil
}

// check returns an error unless e, at the offset in the mark, is its vote.
func (m *mark) check(e entry) error {
	if e.kind == kindRecord && leUint32(e.bytes) == m.sum {
		if name, index, _, err := recordHead(e.payload()); err == nil && string(name) == m.record.Instance && index == 0 {
			return nil
		}
	}
	return m.missing()
}

func (m *mark) missing() error {
	return fmt.Errorf("a mark says that the vote for %q is at offset %d, but it is not there", m.record.Instance, m.offset)
}

// markIn reads the mark e of a segment, and finds its vote. data is the whole segment.
func (l *Log) markIn(s *segment, data []byte, e entry) (m mark, of entry, err error) {
	if m, err = parseMark(e.payload()); err != nil {
		return m, of, err
	}
	if m.offset < dataStart || m.offset >= e.offset || e.offset > int64(len(data)) {
		return m, of, m.missing()
	}
	if of, _, err = nextEntry(data[m.offset:e.offset], m.offset); err != nil || !l.intact(s, of) {
		return m, of, m.missing()
	}
	return m, of, m.check(of)
}

// whole returns the record of the mark, with the value of its vote.
func (m *mark) whole(of entry) (paxos.Record, error) {
	if err := m.check(of); err != nil {
		return paxos.Record{}, err
	}
	v, err := parseRecord(of.payload())
	if err != nil {
		return paxos.Record{}, err
	}
	r := m.record
	r.Acceptor.Value = v.Acceptor.Value
	return r, nil
}

// Votes are the values of the latest undecided votes in the active segment. Mostly the server has the same strings in memory for as long.
type votes struct {
	list  []keptVote // by offset
	gone  int        // so many at the beginning have no value any more
	bytes int        // of the values
}

type keptVote struct {
	vote
	value paxos.Value // empty: no longer kept
}

const (
	maxVotes     = 16 << 10
	maxVoteBytes = 16 << 20 // of values
)

// add keeps the value of a vote, which lies behind all others. If there are too many, it forgets the oldest.
func (v *votes) add(at vote, value paxos.Value) {
	if len(v.list) == maxVotes {
		const half = maxVotes / 2
		for v.gone < half {
			v.forgetOldest()
		}
		n := copy(v.list, v.list[half:])
		clear(v.list[n:])
		v.list, v.gone = v.list[:n], v.gone-half
	}
	v.list = append(v.list, keptVote{at, value})
	for v.bytes += len(value); v.bytes > maxVoteBytes; {
		v.forgetOldest()
	}
}

func (v *votes) forgetOldest() {
	v.forget(&v.list[v.gone])
	v.gone++
}

func (v *votes) forget(k *keptVote) {
	v.bytes -= len(k.value)
	k.value = ""
}

// take returns the vote at that offset if it has that value. The vote is then no longer kept.
func (v *votes) take(offset uint32, value paxos.Value) (at vote, ok bool) {
	i, ok := slices.BinarySearchFunc(v.list, offset, func(k keptVote, offset uint32) int { return cmp.Compare(k.offset, offset) })
	if !ok || v.list[i].value != value {
		return vote{}, false
	}
	v.forget(&v.list[i])
	return v.list[i].vote, true
}

// reset forgets all.
func (v *votes) reset() {
	clear(v.list)
	*v = votes{list: v.list[:0]}
}

// findVotes finds, for each record of b, the vote that allows a mark, and reports whether there is any. That vote must be the latest
// record of the instance in the index. Then l.marks has one vote for each record; its size is zero if there is none.
func (l *Log) findVotes(b *paxos.Batch) (any bool) {
	l.marks = append(l.marks[:0], make([]vote, len(b.Records))...)
	if len(l.votes.list) == 0 || !l.active.marks {
		return false
	}
	l.index.hashAll(b.Records)
	l.mu.RLock() // the worker moves records, and sweeps dropped ones
	defer l.mu.RUnlock()
	l.index.byName.FetchAll(l.index.hashes)
	for i := range b.Records {
		r := &b.Records[i]
		if n := len(r.Acceptor.Value); !r.Chosen || n < leastMarked || n > mostMarked {
			continue
		}
		at, ok := l.index.findHashed(l.index.hashes[i], r.Instance)
		if !ok {
			continue
		}
		if s := l.index.spot(at); s.index == 0 && s.segment == l.active.number {
			var found bool
			l.marks[i], found = l.votes.take(s.offset, r.Acceptor.Value)
			any = any || found
		}
	}
	return any
}
