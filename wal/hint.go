package wal

import (
	"encoding/binary"
	"fmt"
)

// A hint lists the entries of a closed segment that count, so that Open need not read the segment. All its facts are in the segment, too:
// if a hint is missing or damaged, Open reads the segment.
//
//	 0  8  "paxohint"
//	 8  4  format version
//	12  8  store
//	20  8  number of the segment
//	28  8  offset where the segment's batches end
//	36     entries
//	 …  4  checksum of all before
//
// An entry of a hint:
//
//	1  what the entry is: record, server, drop or mark
//	   its offset, less that of the end of the one before, as a varint
//	   its size as a varint
//	   record: the Index as a varint, the length of the name in one byte, the name
//	   mark: the same; then how far before it its vote begins, and the vote's size, as varints
//	   server, drop: the entry itself
const (
	hintMark = "paxohint"
	hintHead = 36
)

// hintAll writes the missing hints of closed segments.
func (l *Log) hintAll() error {
	l.plan.Lock()
	var missing []*segment
	for _, s := range l.row {
		if s.closed && !s.hinted {
			missing = append(missing, s)
		}
	}
	l.plan.Unlock()
	for _, s := range missing {
		scan, err := l.newScan(s, nil, l.breathe)
		if err != nil {
			return err
		}
		if err := l.writeHint(scan, false); err != nil {
			return fmt.Errorf("wal: %s: %w", hintName(s.path), err)
		}
		s.hinted = true
		if err := l.prepareNext(); err != nil {
			return err
		}
	}
	return nil
}

// writeHint writes the hint of the scanned segment. all: of all entries; otherwise of those that count.
func (l *Log) writeHint(s *scan, all bool) error {
	le := binary.LittleEndian
	b := append(make([]byte, 0, len(s.data)/4+64), hintMark...)
	b = le.AppendUint32(b, formatVersion)
	b = le.AppendUint64(b, l.store)
	b = le.AppendUint64(b, uint64(s.segment.number))
	b = le.AppendUint64(b, uint64(s.segment.end))
	last, looked := int64(dataStart), 0
	l.mu.RLock()
	err := s.whole(func(e entry) error {
		if looked++; looked%lookChunk == 0 { // let a Save go on
			l.mu.RUnlock()
			err := l.breathe()
			l.mu.RLock()
			if err != nil {
				return beside(err)
			}
		}
		if !all {
			if counts, err := l.counts(s.segment, e, true); err != nil || !counts {
				return err
			}
		}
		b = append(b, e.kind)
		b = binary.AppendUvarint(b, uint64(e.offset-last))
		b = binary.AppendUvarint(b, uint64(len(e.bytes)))
		last = e.offset + int64(len(e.bytes))
		if e.kind != kindRecord && e.kind != kindMark {
			b = append(b, e.bytes...)
			return nil
		}
		name, index, _, err := recordHead(e.payload())
		b = binary.AppendUvarint(b, index)
		b = append(append(b, byte(len(name))), name...)
		if e.kind == kindMark {
			var of entry
			_, of, err = l.markIn(s.segment, s.data, e)
			b = binary.AppendUvarint(b, uint64(e.offset-of.offset))
			b = binary.AppendUvarint(b, uint64(len(of.bytes)))
		}
		return err
	})
	l.mu.RUnlock()
	if err != nil {
		return err
	}
	return writeFile(l.fs, hintName(s.segment.name), le.AppendUint32(b, checksum(b)))
}

// readHint enters the hint of a segment into the index. It returns false if the hint can't be used; then it has entered nothing.
func (l *Log) readHint(s *segment) (bool, error) {
	f, err := l.fs.Open(hintName(s.name), false)
	if err != nil {
		return false, nil
	}
	b, err := readAll(f, nil, nil)
	f.Close()
	le := binary.LittleEndian
	if err != nil || len(b) < hintHead+4 || le.Uint32(b[len(b)-4:]) != checksum(b[:len(b)-4]) || string(b[:8]) != hintMark ||
		le.Uint32(b[8:]) == 0 || le.Uint32(b[8:]) > formatVersion || le.Uint64(b[12:]) != l.store || le.Uint64(b[20:]) != uint64(s.number) ||
		le.Uint64(b[28:]) != uint64(s.end) {
		return false, nil
	}
	at := int64(dataStart)
	for rest := b[hintHead : len(b)-4]; len(rest) > 0; {
		if rest, at, err = l.enterHint(s, rest, at); err != nil {
			return false, unread(hintName(s.path), int64(len(b)-4-len(rest)), err)
		}
	}
	return true, nil
}

// enterHint enters the first entry of a hint. at is where the entry before it ends in the segment.
func (l *Log) enterHint(s *segment, b []byte, at int64) (rest []byte, end int64, err error) {
	kind := b[0]
	skip, n := binary.Uvarint(b[1:])
	if n <= 0 {
		return b, 0, fmt.Errorf("an offset is malformed")
	}
	b = b[1+n:]
	size, n := binary.Uvarint(b)
	if n <= 0 || size < entryHead || size > maxPayload+entryHead || skip > uint64(s.end) || at+int64(skip+size) > s.end {
		return b, 0, fmt.Errorf("an entry lies outside the segment, or its size is malformed")
	}
	b = b[n:]
	at += int64(skip)
	if kind != kindRecord && kind != kindMark {
		if uint64(len(b)) < size {
			return b, 0, fmt.Errorf("an entry is cut short")
		}
		return b[size:], at + int64(size), l.enterEntry(s, entry{kind, at, b[:size]}, nil)
	}
	index, n := binary.Uvarint(b)
	if n <= 0 || len(b) < n+1 || b[n] == 0 || len(b) < n+1+int(b[n]) {
		return b, 0, fmt.Errorf("a record is malformed")
	}
	name := b[n+1 : n+1+int(b[n])]
	b = b[n+1+len(name):]
	is := spot{index: index, segment: s.number, offset: uint32(at), size: uint32(size)}
	if kind == kindMark {
		if b, err = is.hintVote(b); err != nil {
			return b, 0, err
		}
	}
	l.enterRead(name, is)
	return b, at + int64(size), nil
}

// hintVote reads where the vote of the mark at s is.
func (s *spot) hintVote(b []byte) (rest []byte, err error) {
	back, n := binary.Uvarint(b)
	size, k := binary.Uvarint(b[max(n, 0):])
	if n <= 0 || k <= 0 || s.index == 0 || back > uint64(s.offset)-dataStart || size < entryHead || size > min(back, maxPayload+entryHead) {
		return b, fmt.Errorf("a mark is malformed")
	}
	s.place, s.vote = s.offset-uint32(back), uint32(size)
	return b[n+k:], nil
}
