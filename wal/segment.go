package wal

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/singledecree/paxos/internal/disk"
)

// A segment file begins with a head of three pages; batches follow, one after the other, then zeros.
//
//	    0  the header
//	 4096  seal 0
//	 8192  seal 1
//	12288  the first batch
//
// The parts of the head are a page apart, so that none can be damaged with another, nor with a batch.
const (
	pageSize  = 4096
	dataStart = 3 * pageSize
)

// The header of a segment.
//
//	 0  8  "paxoswal"
//	 8  4  format version
//	12  4  1: it is a copy of what counts in others, made by compaction; 0: it is not
//	16  8  store
//	24  8  number of the segment
//	32  4  checksum of the 32 bytes before
const (
	segmentMark = "paxoswal"
	segmentHead = 36
)

// A seal says how far a segment is durable. There are two, written in turns, so that one is whole at any time.
//
//	 0  8  "paxoseal"
//	 8  4  format version
//	12  4  which of the two it is
//	16  8  store
//	24  8  number of the segment
//	32  8  sequence of the last batch
//	40  8  offset of its end: all before it is durable
//	48  4  checksum of the 48 bytes before
const (
	sealMark = "paxoseal"
	sealSize = 52
)

// A segment is one file of batches.
type segment struct {
	number   uint32
	name     string
	path     string // for people to read
	file     disk.File
	size     int64        // of the file
	refs     atomic.Int32 // the Log's, and one for each reader
	obsolete atomic.Bool  // its file is removed at the last release

	// The fields below belong to the writer, and to holders of Log.plan.
	marks   bool   // there may be marks in it
	closed  bool   // nothing more is written to it
	copy    bool   // it was made by compaction
	hinted  bool   // it has a hint, or does not need one
	end     int64  // where its batches end
	batches uint64 // how many there are
	last    uint64 // sequence of the last batch in it, or in those that it replaces; zero: there is none

	// The writer's fields.
	sealed       int64     // all before it is sealed
	sealedBefore int64     // end that the other seal has
	turn         int       // which seal is written next
	unsealed     int       // batches since the last seal
	sealedAt     time.Time // when the last sealed batch was saved

	live int64 // bytes of the entries in it that count; guarded by Log.mu
}

// data is how many bytes of batches there are.
func (s *segment) data() int64 { return s.end - dataStart }

// hasRoom reports whether a batch of n bytes fits. The last bytes of a segment are never written. So if the file was cut short, no batch
// brings it back to its full size: see checkSize.
func (s *segment) hasRoom(n int64) bool { return s.size-s.end > n }

// checkSize returns an error if the file has not its original size. Then another program, such as a tool that rotates logs, has cut it
// short, and data is gone.
func (s *segment) checkSize() error {
	size, err := s.file.Size()
	if err != nil {
		return fmt.Errorf("wal: %s: %w", s.path, err)
	}
	if size != s.size {
		return &CorruptionError{s.path, min(size, s.size), fmt.Sprintf("the file has %d bytes and had %d: it was cut short or replaced while the log was "+
			"open, and its acknowledged data is gone", size, s.size)}
	}
	return nil
}

// waste returns about how much smaller a copy would be. For a copy, the heads of its batches do not count: the next copy would have them,
// too.
func (s *segment) waste() int64 {
	if s.copy {
		return s.data() - s.live - int64(s.batches)*(batchHead+8)
	}
	return s.data() - s.live
}

// acquire keeps the file open until release.
func (s *segment) acquire() { s.refs.Add(1) }

// release ends one use. The last release closes the file, and removes it if it is obsolete.
func (s *segment) release(fs disk.Dir) { s.releaseBy(fs.Remove) }

// releaseBy is release that removes files by that function.
func (s *segment) releaseBy(remove func(name string) error) {
	if s.refs.Add(-1) == 0 {
		s.file.Close()
		if s.obsolete.Load() {
			remove(hintName(s.name))
			remove(s.name)
		}
	}
}

const (
	segmentSuffix = ".wal"
	oldSuffix     = ".log" // of segments made before version 3; tools rotate files with this suffix
)

func segmentName(number uint32) string { return fmt.Sprintf("%016d%s", number, segmentSuffix) }

func oldName(number uint32) string { return fmt.Sprintf("%016d%s", number, oldSuffix) }

// segmentOf returns the number of the segment with that name.
func segmentOf(name string) (number uint32, ok bool) {
	if number, ok = segmentNumber(name, segmentSuffix); !ok {
		number, ok = segmentNumber(name, oldSuffix)
	}
	return number, ok
}

// oldNames returns the segments in a directory that have only the old name. No number is used twice. If both names are there, an earlier
// program prepared the old one, and did not list it.
func oldNames(names []string) map[uint32]bool {
	old := map[uint32]bool{}
	for _, name := range names {
		if number, ok := segmentNumber(name, oldSuffix); ok {
			old[number] = true
		}
	}
	for _, name := range names {
		if number, ok := segmentNumber(name, segmentSuffix); ok {
			delete(old, number)
		}
	}
	return old
}

// hintName returns the name of the hint of the segment with that name. It takes and returns paths as well.
func hintName(segment string) string { return segment[:len(segment)-len(segmentSuffix)] + ".hint" }

// newSegment returns a segment with that number; nothing else is known of it.
func (l *Log) newSegment(number uint32) *segment {
	return l.namedSegment(segmentName(number), number)
}

// namedSegment is newSegment for a file of that name.
func (l *Log) namedSegment(name string, number uint32) *segment {
	return &segment{number: number, name: name, path: l.path(name), end: dataStart}
}

// close ends writing to the segment. From now on its file may be closed while it has no readers.
func (s *segment) close() {
	s.closed = true
	if f, ok := s.file.(*segmentFile); ok {
		f.unpin()
	}
}

// segmentNumber returns the number in the name of a file with that suffix.
func segmentNumber(name, suffix string) (number uint32, ok bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok || len(digits) != 16 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	return uint32(n), err == nil && n > 0
}

// putHeader writes the header of a segment over the first bytes of b.
func putHeader(b []byte, store uint64, number uint32, isCopy bool) {
	le := binary.LittleEndian
	copy(b, segmentMark)
	le.PutUint32(b[8:], formatVersion)
	le.PutUint32(b[12:], 0)
	if isCopy {
		le.PutUint32(b[12:], 1)
	}
	le.PutUint64(b[16:], store)
	le.PutUint64(b[24:], uint64(number))
	le.PutUint32(b[32:], checksum(b[:32]))
}

// checkHeader returns what is wrong with the header of a segment; empty: nothing.
func checkHeader(b []byte, store uint64, number uint32) string {
	le := binary.LittleEndian
	switch {
	case len(b) < segmentHead || string(b[:8]) != segmentMark || le.Uint32(b[32:]) != checksum(b[:32]):
		return "the header of the segment can't be read"
	case le.Uint32(b[8:]) == 0:
		return "format version 0: no program writes it"
	case le.Uint64(b[16:]) != store:
		return fmt.Sprintf("it belongs to the storage %016x, not to %016x", le.Uint64(b[16:]), store)
	case le.Uint64(b[24:]) != uint64(number):
		return fmt.Sprintf("it is segment %d under the name of another", le.Uint64(b[24:]))
	}
	return ""
}

// isNewer returns an error that is ErrNewer if b is a whole header of a later version.
func isNewer(b []byte) error {
	if len(b) >= segmentHead && string(b[:8]) == segmentMark && leUint32(b[32:]) == checksum(b[:32]) && leUint32(b[8:]) > formatVersion {
		return newer(uint64(leUint32(b[8:])))
	}
	return nil
}

// hasMarks reports whether a segment with that valid header may have marks.
func hasMarks(b []byte) bool { return leUint32(b[8:]) >= withMarks }

// isCopy reports whether a segment with that valid header is a copy.
func isCopy(b []byte) bool { return leUint32(b[12:]) == 1 }

// putSeal writes a seal over the first bytes of b.
func putSeal(b []byte, turn int, store uint64, number uint32, sequence uint64, end int64) {
	le := binary.LittleEndian
	copy(b, sealMark)
	le.PutUint32(b[8:], sealVersion)
	le.PutUint32(b[12:], uint32(turn))
	le.PutUint64(b[16:], store)
	le.PutUint64(b[24:], uint64(number))
	le.PutUint64(b[32:], sequence)
	le.PutUint64(b[40:], uint64(end))
	le.PutUint32(b[48:], checksum(b[:48]))
}

// parseSeal reads a seal, and returns the offset up to which the segment is durable. It returns zero if there is no seal of it.
func parseSeal(b []byte, turn int, store uint64, number uint32) (end int64) {
	le := binary.LittleEndian
	if len(b) < sealSize || string(b[:8]) != sealMark || le.Uint32(b[48:]) != checksum(b[:48]) ||
		le.Uint32(b[12:]) != uint32(turn) || le.Uint64(b[16:]) != store || le.Uint64(b[24:]) != uint64(number) {
		return 0
	}
	return int64(le.Uint64(b[40:]))
}

func sealOffset(turn int) int64 { return pageSize * int64(1+turn) }
