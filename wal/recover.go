package wal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"

	"github.com/singledecree/paxos/internal/disk"
)

// A tail is the end of an open segment.
type tail struct {
	segment *segment
	began   int64  // where its last batch begins
	batch   []byte // the last batch
	garbage int64  // where the unreadable bytes behind it end; zero: there are none
	rescue  rescue // a batch that the file lacks; its bytes are nil if it lacks none
}

// readOpen reads the open segments, and finds where the log ends. sequence is that of their first batch. A proof that something is
// missing is damage. Otherwise unreadable bytes are the batch that was being saved when power was lost.
func (l *Log) readOpen(open []*segment, sequence uint64) (tails []tail, err error) {
	l.sequence = sequence
	saved, err := l.readRescue()
	if err != nil {
		return nil, err
	}
	var before, scan *scan
	var buf []byte
	for _, s := range open {
		if scan, err = l.newScan(s, buf, nil); err != nil {
			return nil, err
		}
		if saved.restore(scan); scan.rescued && l.options.ReadOnly {
			s.file = rescued{s.file, saved}
		}
		s.marks = hasMarks(scan.data)
		if err := l.recoverSegment(scan, before); err != nil {
			return nil, err
		}
		t := tail{segment: s, garbage: scan.garbage()}
		if scan.rescued {
			t.rescue = saved
		}
		if scan.batches > 0 {
			t.began, t.batch = scan.began, slices.Clone(scan.data[scan.began:s.end])
		}
		tails = append(tails, t)
		if scan.batches > 0 || before == nil {
			before = scan
		}
		buf, scan.data = scan.data, nil
	}
	return tails, nil
}

// recover makes the end of the log durable, after it was read. Unreadable bytes there are overwritten.
func (l *Log) recover(tails []tail) error {
	if len(tails) == 0 {
		return nil
	}
	last := 0
	for i, t := range tails {
		if err := t.rescue.writeBack(t.segment); err != nil {
			return err
		}
		if t.segment.batches > 0 {
			last = i
		}
	}
	l.settleRow(tails, last)
	for _, t := range tails[last:] {
		if err := l.clean(t); err != nil {
			return fmt.Errorf("wal: %s: %w", t.segment.path, err)
		}
	}
	if err := l.seal(); err != nil {
		return err
	}
	return l.removeRescue()
}

// recoverSegment enters the batches of one open segment. before is the segment in which the batches read so far end.
func (l *Log) recoverSegment(scan, before *scan) error {
	s := scan.segment
	if h, ok := scan.header(dataStart); ok && h.sequence > l.sequence && before != nil {
		return before.corrupt(before.at, "batch %d should be here, and can't be read; batch %d, which was written later, can", l.sequence, h.sequence)
	}
	scan.sequence = l.sequence
	for {
		entries, at, ok, err := scan.next()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		l.latest = scan.proof()
		l.proofs.seen = l.proofs.seen || l.latest == l.proofs.known
		if err := scan.eachEntry(entries, at, func(e entry) error { return l.enterEntry(s, e, scan.data) }); err != nil {
			return err
		}
	}
	s.end, s.batches, l.sequence = scan.at, scan.batches, scan.sequence
	if s.batches > 0 {
		s.last = l.sequence - 1
	}
	s.sealed, s.turn = scan.sealed()
	return scan.beyond()
}

// settleRow makes the last open segment with batches the active one. It closes those before it. The next one is the prepared one.
func (l *Log) settleRow(tails []tail, active int) {
	last := uint64(0)
	for i := active; i >= 0; i-- {
		s := tails[i].segment
		if s.batches == 0 {
			s.last = last
		}
		last = s.last - s.batches
		if i != active {
			s.close()
		}
	}
	l.active = tails[active].segment
	if active+1 < len(tails) {
		l.prepared = tails[active+1].segment
	}
}

// clean makes the end of a segment durable. The last batch may be in memory only: it is written again. Unreadable bytes behind it become
// zeros. Both are synced before any caller sees them.
func (l *Log) clean(t tail) error {
	s := t.segment
	if t.garbage > 0 {
		l.lines.Log(slog.LevelWarn, "wal: a batch that was being saved when the server stopped is dropped", "dir", l.dir, "segment", s.number,
			"offset", s.end, "bytes", t.garbage-s.end)
	}
	if t.garbage == 0 && (s.batches == 0 || s.sealed == s.end) {
		return nil
	}
	if len(t.batch) > 0 && s.sealed < s.end {
		if err := writeFile(l.fs, rescueName, t.batch); err != nil {
			return err
		}
		if _, err := s.file.WriteAt(t.batch, t.began); err != nil {
			return err
		}
	}
	for at := s.end; at < t.garbage; at += pageSize {
		if _, err := s.file.WriteAt(zeros[:min(pageSize, t.garbage-at)], at); err != nil {
			return err
		}
	}
	return s.file.Sync()
}

// The rescue is a copy of the last batch in a file of its own, while that batch is written again. The batch may have been acknowledged,
// so it must survive a loss of power in the middle. The place in it never changes. So a rescue that comes back later, since its removal
// was not synced, does no harm. If its segment lacks the batch by then, Open writes it back.
type rescue struct {
	batchHeader
	bytes []byte // nil: there is none
}

const rescueName = "RESCUE"

// readRescue reads the rescue, if there is one. The file gets its name only when it is whole.
func (l *Log) readRescue() (r rescue, err error) {
	f, err := l.fs.Open(rescueName, false)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return r, fmt.Errorf("wal: %w", err)
	}
	defer f.Close()
	b, err := readAll(f, nil, nil)
	if err != nil {
		return r, fmt.Errorf("wal: %s: %w", l.path(rescueName), err)
	}
	h, ok := parseBatch(b)
	if !ok || h.store != l.store || int64(len(b)) != padded(int64(batchHead+h.length)) || checksum(b[batchHead:batchHead+h.length]) != h.entriesSum {
		return r, &CorruptionError{l.path(rescueName), 0, "it holds no batch of this storage"}
	}
	return rescue{h, b}, nil
}

// restore puts the batch into its place in the data of its segment, as it was read.
func (r rescue) restore(s *scan) {
	if r.bytes != nil && r.segment == uint64(s.segment.number) && r.offset <= maxSegment && r.offset+uint64(len(r.bytes)) <= uint64(len(s.data)) {
		s.rescued = !bytes.Equal(s.data[r.offset:][:len(r.bytes)], r.bytes)
		copy(s.data[r.offset:], r.bytes)
	}
}

// writeBack writes the batch into its file, which lacks it, and syncs that. RESCUE may go only after it.
func (r rescue) writeBack(s *segment) error {
	if r.bytes == nil {
		return nil
	}
	if _, err := s.file.WriteAt(r.bytes, int64(r.offset)); err != nil {
		return fmt.Errorf("wal: %s: %w", s.path, err)
	}
	if err := s.file.Sync(); err != nil {
		return fmt.Errorf("wal: %s: %w", s.path, err)
	}
	return nil
}

// A rescued file reads as if the rescue were written back, which a ReadOnly log can't do.
type rescued struct {
	disk.File
	rescue rescue
}

// ReadAt reads the file, and takes the bytes of the batch from the rescue.
func (f rescued) ReadAt(b []byte, at int64) (int, error) {
	n, err := f.File.ReadAt(b, at)
	begins, ends := int64(f.rescue.offset), int64(f.rescue.offset)+int64(len(f.rescue.bytes))
	if from, to := max(at, begins), min(at+int64(n), ends); from < to {
		copy(b[from-at:to-at], f.rescue.bytes[from-begins:to-begins])
	}
	return n, err
}

// removeRescue removes the rescue, if there is one.
func (l *Log) removeRescue() error {
	if err := l.fs.Remove(rescueName); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("wal: %w", err)
	}
	return nil
}
