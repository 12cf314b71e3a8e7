package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"github.com/singledecree/paxos/internal/disk"
)

// The file SEAL says, outside the segments, how far the log was durable. If a segment is put back to an earlier time, its own seals are
// of that time, too; SEAL is not. It has two slots, a page apart. They are written in turns, so that one is whole at any time.
//
//	 0  8  "paxosend"
//	 8  4  version of the slot
//	12  4  which of the two it is
//	16  8  store
//	24  8  number of the segment
//	32  8  sequence of a batch; zero: none yet
//	40  8  offset of that batch
//	48  8  offset of its end
//	56  4  checksum in the head of the batch
//	60  4  checksum of the 60 bytes before
//
// A slot names a batch that was durable before the slot was written, and compaction keeps the sequence of the segments that it replaces.
// So an older SEAL stays true at any later time, and no crash makes it wrong. No Save waits for it.
const (
	proofName    = "SEAL"
	proofMark    = "paxosend"
	proofSize    = 64
	proofVersion = 1
	withProofs   = 3 // the first format version that has it
)

// proveWithin bounds the age of SEAL while Saves follow each other.
const proveWithin = time.Second

// A proof names a durable batch. All batches before it are durable, too.
type proof struct {
	segment    uint32
	sequence   uint64 // zero: there is none
	began, end int64
	sum        uint32 // in the head of the batch
}

// Proofs is the state of the file SEAL.
type proofs struct {
	known proof // the proof that Open read
	seen  bool  // Open found that batch in the log
	whole bool  // both slots can be read
	found bool  // the file is there

	mu   sync.Mutex // held while the file is written; its holder never waits for a Save
	file disk.File  // nil: nothing is written
	turn int        // which slot is written next
	said uint64     // the highest sequence in the file
	at   time.Time  // when the last write of it began
	page [pageSize]byte
}

// put writes p as a slot over the first bytes of b.
func (p proof) put(b []byte, turn int, store uint64) {
	le := binary.LittleEndian
	copy(b, proofMark)
	le.PutUint32(b[8:], proofVersion)
	le.PutUint32(b[12:], uint32(turn))
	le.PutUint64(b[16:], store)
	le.PutUint64(b[24:], uint64(p.segment))
	le.PutUint64(b[32:], p.sequence)
	le.PutUint64(b[40:], uint64(p.began))
	le.PutUint64(b[48:], uint64(p.end))
	le.PutUint32(b[56:], p.sum)
	le.PutUint32(b[60:], checksum(b[:60]))
}

// parseProof reads a slot. ok is false if the slot can't be read. An error is about a slot that can be read.
func parseProof(b []byte, turn int, store uint64) (p proof, ok bool, err error) {
	le := binary.LittleEndian
	if len(b) < proofSize || string(b[:8]) != proofMark || le.Uint32(b[60:]) != checksum(b[:60]) || le.Uint32(b[12:]) != uint32(turn) {
		return p, false, nil
	}
	if v := le.Uint32(b[8:]); v != proofVersion {
		return p, false, fmt.Errorf("a slot has version %d: this program knows version %d only", v, proofVersion)
	}
	if of := le.Uint64(b[16:]); of != store {
		return p, false, fmt.Errorf("it belongs to the storage %016x, not to %016x", of, store)
	}
	p = proof{uint32(le.Uint64(b[24:])), le.Uint64(b[32:]), int64(le.Uint64(b[40:])), int64(le.Uint64(b[48:])), le.Uint32(b[56:])}
	if uint64(p.segment) != le.Uint64(b[24:]) || p.sequence != 0 && (p.began < dataStart || p.end < p.began+batchHead || p.end > maxSegment) {
		return p, false, errors.New("its segment, batch and offsets contradict each other")
	}
	return p, true, nil
}

// readProofs reads SEAL, and keeps its better slot. A log of an earlier version has no SEAL, nor has one that was just created.
func (l *Log) readProofs() error {
	if l.manifest.version < withProofs {
		return nil
	}
	path := l.path(proofName)
	f, err := l.fs.Open(proofName, false)
	if errors.Is(err, fs.ErrNotExist) {
		if l.manifest.next == 1 && len(l.manifest.segments) == 0 {
			return nil
		}
		return &CorruptionError{path, 0, "the file is missing"}
	}
	if err != nil {
		return fmt.Errorf("wal: %w", err)
	}
	defer f.Close()
	b := make([]byte, 2*pageSize)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("wal: %s: %w", path, err)
	}
	return l.proofs.parse(b[:n], l.store, path)
}

// parse reads both slots. If one can't be read, a loss of power may have interrupted its write: the other one counts.
func (s *proofs) parse(b []byte, store uint64, path string) error {
	var slots [2]proof
	var whole [2]bool
	for turn := range slots {
		at := min(turn*pageSize, len(b))
		var err error
		if slots[turn], whole[turn], err = parseProof(b[at:], turn, store); err != nil {
			return &CorruptionError{path, int64(at), err.Error()}
		}
	}
	if !whole[0] && !whole[1] {
		return &CorruptionError{path, 0, "neither of its two slots can be read"}
	}
	if s.turn = 0; whole[0] && (!whole[1] || slots[1].sequence < slots[0].sequence) {
		s.turn = 1
	}
	s.found, s.whole = true, whole[0] && whole[1]
	s.known = slots[1-s.turn]
	return nil
}

// checkProof returns an error unless the log holds the batch in SEAL, or a copy has replaced its segment.
func (l *Log) checkProof() error {
	p, last := l.proofs.known, l.sequence-1
	if p.sequence == 0 {
		return nil
	}
	s := l.segments[p.segment]
	switch {
	case s == nil && (p.segment >= l.manifest.next || p.sequence > last):
		return &CorruptionError{l.path(manifestName), 0, fmt.Sprintf("segment %d is not listed, but batch %d was saved in it, as %s says: this manifest is an older copy",
			p.segment, p.sequence, proofName)}
	case s == nil: // a copy has replaced it
		return nil
	case p.sequence > last || p.end > s.end:
		return &CorruptionError{s.path, s.end, fmt.Sprintf("the file ends here, and the log with batch %d. It must hold all batches up to %d, which ends at "+
			"offset %d, as %s says: the file is an older copy, or was cut back", last, p.sequence, p.end, proofName)}
	case s.closed:
		return l.checkProven(s)
	case !l.proofs.seen:
		return l.unproven(s)
	}
	return nil
}

// unproven returns the error for a segment with another batch in the place of the one in SEAL.
func (l *Log) unproven(s *segment) error {
	return &CorruptionError{s.path, l.proofs.known.began, fmt.Sprintf("batch %d is not here, but was saved here, as %s says: the file is another copy",
		l.proofs.known.sequence, proofName)}
}

// checkProven looks for the batch of SEAL in a closed segment, which Open may not have read.
func (l *Log) checkProven(s *segment) error {
	p, b := l.proofs.known, make([]byte, batchHead)
	if n, err := s.file.ReadAt(b, p.began); n < len(b) && !errors.Is(err, io.EOF) {
		return fmt.Errorf("wal: %s: %w", s.path, err)
	}
	h, ok := parseBatch(b)
	if !ok || h.store != l.store || h.segment != uint64(s.number) || h.offset != uint64(p.began) || h.sequence != p.sequence || leUint32(b[60:]) != p.sum {
		return l.unproven(s)
	}
	return nil
}

// openProofs opens SEAL for writing, and updates it. If there is none, it makes one. It turns a log of an earlier version into one of
// this version: SEAL is durable before the manifest that requires it.
func (l *Log) openProofs() (err error) {
	s := &l.proofs
	if !s.found {
		err := makeFile(l.fs, proofName, func(f disk.File) error {
			for turn := range 2 {
				l.latest.put(s.page[:], turn, l.store)
				if _, err := f.WriteAt(s.page[:], int64(turn)*pageSize); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("wal: %s: %w", l.path(proofName), err)
		}
		s.known, s.whole = l.latest, true
	}
	if s.file, err = l.fs.Open(proofName, true); err != nil {
		return fmt.Errorf("wal: %w", err)
	}
	s.at = time.Now()
	if s.whole { // otherwise the same is written again, over the slot that can't be read
		s.said = s.known.sequence
	}
	if err := l.prove(l.latest, true); err != nil {
		return err
	}
	if s.said = max(s.said, s.known.sequence); l.manifest.version >= withProofs || len(l.row) == 0 {
		return nil
	}
	m := l.listing()
	if err := writeManifest(l.fs, &m); err != nil {
		return fmt.Errorf("wal: %s: %w", l.dir, err)
	}
	return nil
}

// prove writes the batch p to SEAL, and syncs that. While Saves follow each other, it does so only every proveWithin.
func (l *Log) prove(p proof, rested bool) error {
	s := &l.proofs
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil || p.sequence <= s.said || !rested && time.Since(s.at) < proveWithin {
		return nil
	}
	begun := time.Now()
	p.put(s.page[:], s.turn, l.store)
	if _, err := s.file.WriteAt(s.page[:], int64(s.turn)*pageSize); isHarmless(err) {
		l.lines.Log(slog.LevelWarn, "wal: no space for background work", "dir", l.dir, "err", err)
		return nil
	} else if err != nil {
		return fmt.Errorf("wal: %s: %w", l.path(proofName), err)
	}
	if err := s.file.Sync(); err != nil {
		return fmt.Errorf("wal: %s: %w", l.path(proofName), err)
	}
	s.turn, s.said, s.at = 1-s.turn, p.sequence, begun
	return nil
}

// closeProofs waits until SEAL is not being written, and closes it.
func (l *Log) closeProofs() {
	l.proofs.mu.Lock()
	defer l.proofs.mu.Unlock()
	if l.proofs.file != nil {
		l.proofs.file.Close()
		l.proofs.file = nil
	}
}
