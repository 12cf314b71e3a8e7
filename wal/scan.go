package wal

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/singledecree/paxos/internal/disk"
)

// maxSegment is more than the size of any segment. A larger file is no segment.
const maxSegment = 2 * maxBatch

// readChunk is how many bytes are read at once.
const readChunk = 1 << 20

// readAll reads a whole file into buf, or into a larger slice. It calls between, unless nil, between its pieces.
func readAll(f disk.File, buf []byte, between func() error) ([]byte, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > maxSegment {
		return nil, fmt.Errorf("it has %d bytes: no file of a log is that large", size)
	}
	if int64(cap(buf)) < size {
		buf = make([]byte, size)
	}
	buf = buf[:size]
	for at := int64(0); at < size; at += readChunk {
		piece := buf[at:min(at+readChunk, size)]
		if n, err := f.ReadAt(piece, at); n < len(piece) {
			return nil, fmt.Errorf("read %d of %d bytes: %w", at+int64(n), size, err)
		}
		if between != nil {
			if err := between(); err != nil {
				return nil, err
			}
		}
	}
	return buf, nil
}

// A scan reads the batches of one segment in order.
type scan struct {
	segment  *segment
	store    uint64
	data     []byte // the whole file
	at       int64  // where the next batch begins
	sequence uint64 // expected in the next batch; zero: any
	batches  uint64
	began    int64 // where the last batch began
	rescued  bool  // the rescue is in data
}

func (s *scan) corrupt(at int64, format string, args ...any) error {
	return &CorruptionError{s.segment.path, at, fmt.Sprintf(format, args...)}
}

// next returns the entries of the next batch. ok is false if none can be read: the segment ends here, or is damaged.
func (s *scan) next() (entries []byte, at int64, ok bool, err error) {
	h, ok := s.header(s.at)
	if !ok {
		return nil, 0, false, nil
	}
	if s.sequence != 0 && h.sequence != s.sequence {
		return nil, 0, false, s.corrupt(s.at, "batch %d is here, where batch %d should be", h.sequence, s.sequence)
	}
	end := padded(s.at + batchHead + int64(h.length))
	if end > int64(len(s.data)) {
		return nil, 0, false, s.corrupt(s.at, "a batch of %d bytes goes beyond the end of the file", h.length)
	}
	entries = s.data[s.at+batchHead:][:h.length:h.length]
	if checksum(entries) != h.entriesSum {
		return nil, 0, false, nil
	}
	s.began, at = s.at, s.at+batchHead
	s.at = end
	s.batches++
	s.sequence = h.sequence + 1
	return entries, at, true, nil
}

// proof returns the proof of the last batch.
func (s *scan) proof() proof {
	return proof{s.segment.number, s.sequence - 1, s.began, s.at, leUint32(s.data[s.began+60:])}
}

// header reads the header of a batch at that offset.
func (s *scan) header(at int64) (h batchHeader, ok bool) {
	if at < dataStart || at > int64(len(s.data)) {
		return h, false
	}
	h, ok = parseBatch(s.data[at:])
	return h, ok && h.store == s.store && h.segment == uint64(s.segment.number) && h.offset == uint64(at)
}

// sealed returns how far the segment is durable by its seals, and which seal is written next.
func (s *scan) sealed() (end int64, next int) {
	for turn := range 2 {
		if at := sealOffset(turn); at < int64(len(s.data)) {
			if is := parseSeal(s.data[at:], turn, s.store, s.segment.number); is > end {
				end, next = is, 1-turn
			}
		}
	}
	return end, next
}

// beyond looks for a proof that the batch at s.at was durable once: a seal, or a batch behind it, which was written later.
func (s *scan) beyond() error {
	if end, _ := s.sealed(); end > s.at {
		return s.corrupt(s.at, "the batch here can't be read, though a seal says that all is durable up to offset %d", end)
	}
	for at := padded(s.at + 1); at < int64(len(s.data)); at += 8 {
		if rest := s.data[at:]; len(rest) >= pageSize && bytes.Equal(rest[:pageSize], zeros[:]) {
			at += pageSize - 8
			continue
		} else if len(rest) < batchHead {
			break
		} else if binary.LittleEndian.Uint32(rest) != batchMark {
			continue
		}
		if h, ok := s.header(at); ok {
			return s.corrupt(s.at, "the batch here can't be read, though the later batch %d can", h.sequence)
		}
	}
	return nil
}

var zeros [pageSize]byte

// garbage returns where the bytes behind the last batch end that are not zero. Zero: there are none.
func (s *scan) garbage() (end int64) {
	for at := s.at; at < int64(len(s.data)); at += pageSize {
		part := s.data[at:min(at+pageSize, int64(len(s.data)))]
		if !bytes.Equal(part, zeros[:len(part)]) {
			end = at + int64(len(part))
		}
	}
	return end
}

// A besides is an error that is not the fault of an entry.
type besides struct{ error }

// beside returns err as a besides; nil if err is nil.
func beside(err error) error {
	if err == nil {
		return nil
	}
	return besides{err}
}

// eachEntry calls f with the entries of a batch, which begin at that offset. An error of f means that the entry is damaged, unless it is
// a besides.
func (s *scan) eachEntry(entries []byte, at int64, f func(entry) error) error {
	for len(entries) > 0 {
		e, rest, err := nextEntry(entries, at)
		if err == nil {
			err = f(e)
		}
		if other, ok := err.(besides); ok {
			return other.error
		}
		if err != nil {
			return unread(s.segment.path, at, err)
		}
		at += int64(len(e.bytes))
		entries = rest
	}
	return nil
}

// whole reads all batches of a closed segment, and checks that none is missing.
func (s *scan) whole(f func(entry) error) error {
	for s.at < s.segment.end {
		entries, at, ok, err := s.next()
		switch {
		case err != nil:
			return err
		case !ok:
			return s.corrupt(s.at, "the batch here can't be read, though all is durable up to offset %d", s.segment.end)
		}
		if err := s.eachEntry(entries, at, f); err != nil {
			return err
		}
	}
	if s.at != s.segment.end || s.batches != s.segment.batches {
		return s.corrupt(s.at, "%d batches end here, but the manifest says that %d end at offset %d", s.batches, s.segment.batches, s.segment.end)
	}
	return nil
}

// newScan reads the segment into buf, or into a larger slice, and checks its header. It calls between, unless nil, between pieces.
func (l *Log) newScan(s *segment, buf []byte, between func() error) (*scan, error) {
	data, err := readAll(s.file, buf, between)
	if err != nil {
		return nil, fmt.Errorf("wal: %s: %w", s.path, err)
	}
	if err := isNewer(data); err != nil {
		return nil, fmt.Errorf("wal: %s: %w", s.path, err)
	}
	if why := checkHeader(data, l.store, s.number); why != "" {
		return nil, &CorruptionError{s.path, 0, why}
	}
	return &scan{segment: s, store: l.store, data: data, at: dataStart}, nil
}
