package wal

import (
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/singledecree/paxos/internal/disk"
)

// Compaction writes the entries that count in a run of closed segments to a new segment, which takes their place in the row. It leaves
// out a record that a later one has replaced. It leaves out a drop if no older segment is left. The order of the other entries stays. A
// mark becomes a whole record: see mark.

const (
	// copyChunk is how many bytes compaction writes and starts towards the disk at a time.
	copyChunk = 64 << 10
	// lookChunk is how many entries compaction looks up, or moves, while no Save can enter its records.
	lookChunk = 64
	// manySmall is how many small segments in a row are joined into one.
	manySmall = 8
)

// Compaction is not urgent. It waits until no Save comes for restAfter, or until there is more garbage than live bytes and slack
// together. So it does not slow a burst of Saves. And a disk that is always busy holds at most about twice the live bytes.
const (
	restAfter = 50 * time.Millisecond
	slack     = 64 << 20
)

// isDue reports whether compaction is due. resting reports that no Save comes.
func (l *Log) isDue() (due, resting bool) {
	if l.options.eager || l.resting.Load() {
		return true, true
	}
	_, due = l.garbage(1)
	return due, false
}

// garbage returns how much garbage there is. wasteful reports whether that is more than the given multiple of live bytes and slack
// together.
func (l *Log) garbage(times int64) (waste int64, wasteful bool) {
	l.plan.Lock()
	defer l.plan.Unlock()
	l.mu.RLock()
	defer l.mu.RUnlock()
	live := int64(0)
	for _, s := range l.row {
		if live += s.live; s.closed {
			waste += s.waste()
		}
	}
	return waste, waste > times*(live+slack)
}

// mustRush reports whether compaction must not rest any more: there is twice as much garbage as makes it due, and it became no less while
// compaction rested. before is the garbage before that, if there was an earlier run. A drop makes much garbage at once, and no more follows:
// that is no reason to rush.
func (l *Log) mustRush(before int64) (waste int64, rush bool) {
	waste, much := l.garbage(2)
	return waste, much && (l.rush || waste >= before)
}

// compactAll compacts until it is no longer due, or gains nothing more. Then, if it rests, the log writes the missing hints.
func (l *Log) compactAll() error {
	defer func() { l.rush = false }()
	for waste := int64(math.MaxInt64); ; {
		if err := l.sweep(); err != nil {
			return err
		}
		due, resting := l.isDue()
		if !due {
			return nil
		}
		run, first := l.worthwhile()
		if len(run) == 0 && resting {
			return l.hintAll()
		}
		if len(run) == 0 {
			return nil
		}
		waste, l.rush = l.mustRush(waste)
		if err := l.compact(run, first); err != nil {
			return err
		}
		if err := l.prepareNext(); err != nil {
			return err
		}
	}
}

// outruns reports whether an Index is above ServerState.Last. An earlier version may have left that. A copy is of this version, so the
// next Open would refuse it in a copy.
func (l *Log) outruns() bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.index.order.Highest() > l.state.Last
}

// worthwhile returns a run of closed segments to compact, and whether it begins with the oldest segment. Each segment of the run is at
// least a quarter garbage, or the run is of many small segments.
func (l *Log) worthwhile() (run []*segment, first bool) {
	if l.outruns() {
		return nil, false
	}
	l.plan.Lock()
	defer l.plan.Unlock()
	l.mu.RLock()
	defer l.mu.RUnlock()
	most := l.options.SegmentSize
	wasteful := func(s *segment) bool { return s.data() > 0 && 4*s.waste() >= s.data() }
	small := func(s *segment) bool { return s.data() <= most/manySmall }
	if run, first = l.runOf(wasteful, 1); len(run) == 0 {
		run, first = l.runOf(small, manySmall)
	}
	return run, first
}

// runOf returns the first run of closed segments that fits accepts. The run has at least least segments, and their live bytes fit into one segment.
// The locks plan and mu are held.
func (l *Log) runOf(fits func(*segment) bool, least int) (run []*segment, first bool) {
	for i := 0; i < len(l.row); i += max(len(run), 1) {
		run = nil
		live := int64(0)
		for _, s := range l.row[i:] {
			live += s.live
			if !s.closed || !fits(s) || len(run) > 0 && live > l.options.SegmentSize {
				break
			}
			run = append(run, s)
		}
		if len(run) >= least {
			return run, i == 0
		}
	}
	return nil, false
}

// An origin is the place from which compaction has copied an entry.
type origin struct{ segment, offset uint32 }

// A compaction is the state of one running compaction.
type compaction struct {
	*Log
	out     *segment
	first   bool // the run begins with the oldest segment, and all of its drops are swept: it needs none of them
	file    disk.File
	encoder encoder
	origins []origin // of all entries written to out, in order
	pending []entry  // entries to be looked up
	from    *segment // the segment of pending
	data    []byte   // the whole content of from
	found   int64    // bytes of the entries of from that count
}

// compact replaces the run by one segment. It keeps the drops in it as long as the index has records of a dropped range: compaction may
// copy those records, too.
func (l *Log) compact(run []*segment, first bool) error {
	l.plan.Lock()
	number := l.manifest.next
	l.manifest.next++
	l.plan.Unlock()
	l.mu.RLock()
	first = first && !l.index.drops.Pending()
	l.mu.RUnlock()
	c := &compaction{Log: l, first: first, out: l.newSegment(number)}
	c.out.closed, c.out.copy, c.out.hinted, c.out.last = true, true, true, run[len(run)-1].last
	c.encoder.reset(dataStart, 0)
	if err := makeFile(l.fs, c.out.name, func(f disk.File) error { return c.write(f, run) }); err != nil {
		return fmt.Errorf("wal: %s: %w", c.out.path, err)
	}
	f, err := l.fs.Open(c.out.name, false)
	if err != nil {
		if isHarmless(err) {
			l.fs.Remove(c.out.name)
		}
		return fmt.Errorf("wal: %s: %w", c.out.path, err)
	}
	c.out.file, c.out.size = l.files.add(c.out.name, f, false), c.out.end
	c.out.acquire()
	if err := c.takePlace(run); err != nil {
		return err
	}
	l.lines.Log(slog.LevelDebug, "wal: compacted", "dir", l.dir, "segment", number, "bytes", c.out.end)
	return nil
}

// write writes the entries of the run that count to f.
func (c *compaction) write(f disk.File, run []*segment) error {
	head := make([]byte, dataStart)
	putHeader(head, c.store, c.out.number, true)
	if _, err := f.WriteAt(head, 0); err != nil {
		return err
	}
	c.file = f
	var buf []byte
	for _, s := range run {
		scan, err := c.newScan(s, buf, c.breathe)
		if err != nil {
			return err
		}
		c.from, c.data, c.found, buf = s, scan.data, 0, scan.data
		if err := scan.whole(c.look); err != nil {
			return err
		}
		if err := c.copyPending(); err != nil {
			return err
		}
		if err := c.checkFound(); err != nil {
			return err
		}
	}
	return c.flush()
}

// checkFound returns an error if more bytes of the segment count than were found in it: its hint was wrong.
func (c *compaction) checkFound() error {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.from.live > c.found {
		return &CorruptionError{hintName(c.from.path), 0, fmt.Sprintf("the hint says that %d bytes of the segment are in use, but %d were found", c.from.live, c.found)}
	}
	return nil
}

// look takes an entry of c.from.
func (c *compaction) look(e entry) error {
	if !c.intact(c.from, e) {
		return errEntrySum
	}
	if c.pending = append(c.pending, e); len(c.pending) < lookChunk {
		return nil
	}
	return beside(c.copyPending())
}

// copyPending copies the entries of c.pending that count. Only during the look-up no Save can enter its records.
func (c *compaction) copyPending() error {
	kept := c.pending[:0]
	c.mu.RLock()
	for _, e := range c.pending {
		counts, err := c.counts(c.from, e, !c.first)
		if err != nil {
			c.mu.RUnlock()
			return unread(c.from.path, e.offset, err)
		}
		if counts {
			kept = append(kept, e)
		} else if e.kind == kindDrop {
			c.found += int64(len(e.bytes))
		}
	}
	c.mu.RUnlock()
	for _, e := range kept {
		if err := c.copy(e); err != nil {
			return unread(c.from.path, e.offset, err)
		}
		if len(c.encoder.buf) >= copyChunk {
			if err := c.flush(); err != nil {
				return err
			}
		}
	}
	clear(c.pending)
	c.pending = c.pending[:0]
	return c.breathe()
}

// copy adds an entry of c.from to the copy. A mark becomes a whole record.
func (c *compaction) copy(e entry) error {
	c.origins = append(c.origins, origin{c.from.number, uint32(e.offset)})
	if e.kind != kindMark {
		c.found += int64(len(e.bytes))
		c.encoder.copied(e.bytes)
		return nil
	}
	m, of, err := c.markIn(c.from, c.data, e)
	if err != nil {
		return err
	}
	r, err := m.whole(of)
	if err != nil {
		return err
	}
	c.found += int64(len(of.bytes))
	return c.encoder.record(&r)
}

// counts reports whether the entry is the latest about its subject. A drop counts if drops is set. mu is held.
func (l *Log) counts(s *segment, e entry, drops bool) (bool, error) {
	at := spot{segment: s.number, offset: uint32(e.offset)}
	switch e.kind {
	case kindServer:
		return l.stateAt.segment == at.segment && l.stateAt.offset == at.offset, nil
	case kindDrop:
		return drops, nil
	case kindRecord, kindMark:
		name, _, _, err := recordHead(e.payload())
		if err != nil {
			return false, err
		}
		i, ok := l.index.find(l.index.hash(name), name)
		return ok && l.index.spot(i).segment == at.segment && l.index.spot(i).offset == at.offset, nil
	}
	return false, fmt.Errorf("an entry has an unknown kind: %d", e.kind)
}

// flush writes the gathered batch. Then it prepares the next segment, if one is needed.
func (c *compaction) flush() error {
	if len(c.encoder.sizes) == 0 {
		return nil
	}
	b := c.encoder.seal(c.store, uint64(c.out.number), uint64(c.out.end), c.out.batches+1)
	if _, err := c.file.WriteAt(b, c.out.end); err != nil {
		return err
	}
	startNext(c.file, c.out.end, int64(len(b)))
	c.out.end += int64(len(b))
	c.out.batches++
	c.encoder.reset(c.out.end, 0)
	if err := c.prepareNext(); err != nil {
		return err
	}
	return c.breathe()
}

// takePlace replaces the run by the copy: first in the manifest, then in the index. Then it removes the files of the run.
func (c *compaction) takePlace(run []*segment) error {
	scan, err := c.newScan(c.out, nil, c.breathe)
	if err != nil {
		return c.giveUp(err)
	}
	if err := c.writeHint(scan, true); err != nil {
		return c.giveUp(err)
	}
	c.plan.Lock()
	old := c.row
	at := 0
	for c.row[at] != run[0] {
		at++
	}
	c.row = append(append(append([]*segment{}, old[:at]...), c.out), old[at+len(run):]...)
	m := c.listing()
	c.plan.Unlock()
	if err := writeManifest(c.fs, &m); err != nil {
		c.plan.Lock()
		c.row = append(append([]*segment{}, old[:at]...), append(run, c.row[at+1:]...)...)
		c.plan.Unlock()
		return c.giveUp(err)
	}
	c.plan.Lock()
	c.replaced = run
	c.plan.Unlock()
	c.mu.Lock()
	c.segments[c.out.number] = c.out
	c.mu.Unlock()
	*scan = newScanAgain(scan)
	if err := scan.whole(c.take); err != nil {
		return err
	}
	if err := c.move(); err != nil {
		return err
	}
	c.mu.Lock()
	for _, s := range run {
		delete(c.segments, s.number)
	}
	c.mu.Unlock()
	c.plan.Lock()
	c.replaced = nil
	c.plan.Unlock()
	return c.discard(run)
}

// giveUp removes the copy if the log goes on. If not, the manifest may list the copy already; the next Open finds out.
func (c *compaction) giveUp(err error) error {
	c.out.obsolete.Store(isHarmless(err))
	c.out.release(c.fs)
	return fmt.Errorf("wal: %s: %w", c.dir, err)
}

// take takes an entry of the copy.
func (c *compaction) take(e entry) error {
	if c.pending = append(c.pending, e); len(c.pending) < lookChunk {
		return nil
	}
	return beside(c.move())
}

// move lets the index point to the entries of c.pending in the copy. Entries that were replaced meanwhile stay out.
func (c *compaction) move() error {
	c.mu.Lock()
	for i, e := range c.pending {
		from, size := c.origins[i], int64(len(e.bytes))
		at := &c.stateAt
		switch e.kind {
		case kindDrop:
			c.out.live += size
			continue
		case kindRecord:
			name, _, _, _ := recordHead(e.payload())
			n, ok := c.index.find(c.index.hash(name), name)
			if !ok {
				continue
			}
			at = c.index.spot(n)
		}
		if (origin{at.segment, at.offset}) == from {
			c.leave(*at)
			if at.segment, at.offset, at.size = c.out.number, uint32(e.offset), uint32(size); at.vote > 0 {
				at.place, at.vote = 0, 0
			}
			c.out.live += size
		}
	}
	c.mu.Unlock()
	c.origins = c.origins[len(c.pending):]
	clear(c.pending)
	c.pending = c.pending[:0]
	return c.breathe()
}

// newScanAgain returns s before its first batch.
func newScanAgain(s *scan) scan {
	return scan{segment: s.segment, store: s.store, data: s.data, at: dataStart}
}
