package wal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"math"
	"strings"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/disk"
)

// Open opens the storage that [Create] made in dir. All that the returned Log holds is durable. A killed process may have written data
// that it did not sync: Open writes and syncs that again first.
//
// Open drops one thing only: a batch that was being saved when power was lost. It drops the whole batch, and logs that.
//
// Open returns an error that is
//   - [fs.ErrNotExist], with what to do about it, if there is no storage in dir;
//   - a [*LockedError], which is [ErrLocked], if the storage is open already, in this process or another;
//   - a [*CorruptionError] if the storage is damaged;
//   - [ErrNewer] if a newer version of this package has written it.
//
// Other errors are those of the file system.
func Open(dir string, o Options) (*Log, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	files, err := o.fs.OpenDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, noStorage(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("wal: open: %w", err)
	}
	l := newLog(files, o)
	defer l.lines.Wait(linesGrace)
	l.resting.Store(true) // until the first Save
	if l.lock, err = l.lockDir(); err != nil {
		files.Close()
		return nil, err
	}
	if err := l.open(); err != nil {
		l.closeFiles()
		return nil, err
	}
	l.short.opened = true
	if !o.ReadOnly {
		l.sealing = time.AfterFunc(time.Hour, l.sealDue)
		l.sealing.Stop() // so, too
		if !o.inline {
			go l.workLoop()
		}
		l.work()
	}
	return l, nil
}

// lockDir locks the directory. If files can't be locked there, only a ReadOnly log goes on, without a lock.
func (l *Log) lockDir() (closer io.Closer, err error) {
	if _, err := readManifest(l.fs); errors.Is(err, fs.ErrNotExist) {
		return nil, absent(l.fs)
	}
	closer, err = lock(l.fs, l.options.ReadOnly)
	switch {
	case l.options.ReadOnly && errors.Is(err, disk.ErrNoLock):
		l.lines.Log(slog.LevelWarn, "wal: nothing says whether a server has this storage open: if one has, the data may change while it is read", "dir", l.dir)
		return unlocked{}, nil
	case err != nil:
		return nil, fmt.Errorf("wal: open: %w", err)
	}
	return closer, nil
}

// unlocked is the lock of a log that could not get one.
type unlocked struct{}

func (unlocked) Close() error { return nil }

// open reads and checks everything before it changes anything. If it refuses, the directory is as it was: with the right file back, the
// next Open works.
func (l *Log) open() (err error) {
	if l.manifest, err = readManifest(l.fs); err != nil {
		return err
	}
	l.store, l.state = l.manifest.state.Store, l.manifest.state
	if err := l.readProofs(); err != nil {
		return err
	}
	names, err := l.fs.List()
	if err != nil {
		return fmt.Errorf("wal: %s: %w", l.dir, err)
	}
	old := oldNames(names)
	leftovers, err := l.findLeftovers(names)
	if err != nil {
		return err
	}
	last := uint64(0)
	var open []*segment
	for _, e := range l.manifest.segments {
		s, err := l.openSegment(e, old[e.number])
		if err != nil {
			return err
		}
		if !s.closed {
			open = append(open, s)
			continue
		}
		last = max(last, s.last)
		if err := l.readClosed(s); err != nil {
			return err
		}
	}
	tails, err := l.readOpen(open, last+1)
	if err != nil {
		return err
	}
	l.sweepWhole()
	if err := l.checkProof(); err != nil {
		return err
	}
	if err := l.checkDisplaced(); err != nil {
		return err
	}
	if err := l.checkLast(); err != nil || l.options.ReadOnly {
		return err
	}
	// The process that wrote the manifest may have stopped before it synced the directory. The old manifest must not come back.
	if err := l.fs.Sync(); err != nil {
		return fmt.Errorf("wal: %s: %w", l.dir, err)
	}
	return l.settle(tails, leftovers)
}

// settle prepares a log that was read and checked for writing. It writes the end of the log again, and removes leftovers of a crash. A
// log that was just created gets its first segment.
func (l *Log) settle(tails []tail, leftovers []string) error {
	if err := l.remove(leftovers, isTemporary); err != nil { // the next writes may need their room
		return err
	}
	if err := l.recover(tails); err != nil {
		return err
	}
	if err := l.openProofs(); err != nil { // SEAL comes before the removal of files that it may name, and before the first segment is listed
		return err
	}
	if err := l.remove(leftovers, func(name string) bool { return !isTemporary(name) }); err != nil {
		return err
	}
	if len(tails) == 0 {
		if err := l.prepareNext(); err != nil {
			return err
		}
		l.active, l.prepared = l.prepared, nil
	}
	return nil
}

// remove removes the files whose name which accepts.
func (l *Log) remove(names []string, which func(name string) bool) error {
	for _, name := range names {
		if !which(name) {
			continue
		}
		if err := l.fs.Remove(name); err != nil {
			return fmt.Errorf("wal: %w", err)
		}
	}
	return nil
}

// findLeftovers returns the leftovers of a crash: files that were not ready, and segments that copies have replaced. A segment that
// should be listed, and is not, is damage.
func (l *Log) findLeftovers(names []string) (leftovers []string, err error) {
	listed := map[uint32]bool{}
	for _, s := range l.manifest.segments {
		listed[s.number] = true
	}
	unlisted := uint32(0) // the first prepared segment that is not listed
	for _, name := range names {
		number, isSegment := segmentOf(name)
		hinted, isHint := segmentNumber(name, ".hint")
		switch {
		case isSegment && !listed[number]:
			if unlisted, err = l.checkLeftover(name, number, unlisted); err != nil {
				return nil, err
			}
		case isHint && !listed[hinted], isTemporary(name), name == unfinished:
		default:
			continue
		}
		leftovers = append(leftovers, name)
	}
	return leftovers, nil
}

func isTemporary(name string) bool {
	of, ok := strings.CutSuffix(name, ".tmp")
	_, log := segmentOf(of)
	_, hint := segmentNumber(of, ".hint")
	return ok && (log || hint || of == manifestName || of == rescueName || of == proofName)
}

// checkLeftover returns an error unless a segment that is not listed is empty, a copy, or replaced by a copy.
//
// Compaction makes no copy before the prepared segment is listed. So the manifest is an old one if a prepared segment is not listed, and a copy with a higher number is not, either. The argument first is the lowest prepared segment found so far, or 0; checkLeftover
// returns its new value.
func (l *Log) checkLeftover(name string, number, first uint32) (uint32, error) {
	if number < l.manifest.next {
		return first, nil
	}
	s := l.namedSegment(name, number)
	f, err := l.fs.Open(s.name, false)
	if err != nil {
		return first, fmt.Errorf("wal: %w", err)
	}
	defer f.Close()
	s.file = f
	scan, err := l.newScan(s, nil, nil)
	switch {
	case err != nil:
		return first, err
	case isCopy(scan.data) && first != 0, !isCopy(scan.data) && scan.garbage() > 0:
		return first, &CorruptionError{l.path(manifestName), 0, fmt.Sprintf("segment %d is not listed, but has batches: "+
			"this manifest is an older copy", number)}
	case !isCopy(scan.data) && first == 0:
		first = number
	}
	return first, nil
}

// openSegment opens a listed segment, and puts it into the row.
func (l *Log) openSegment(e listed, old bool) (*segment, error) {
	s := l.newSegment(e.number)
	if old {
		s = l.namedSegment(oldName(e.number), e.number)
	}
	f, err := l.fs.Open(s.name, !e.closed && !l.options.ReadOnly)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &CorruptionError{s.path, 0, "the file is missing"}
	case err != nil:
		return nil, fmt.Errorf("wal: %w", err)
	}
	s.file, s.closed, s.copy = l.files.add(s.name, f, !e.closed), e.closed, e.copy
	s.acquire()
	l.row = append(l.row, s)
	l.segments[s.number] = s
	if e.closed {
		s.end, s.batches, s.last = e.end, e.batches, e.last
	}
	if s.size, err = f.Size(); err != nil {
		return nil, fmt.Errorf("wal: %s: %w", s.path, err)
	}
	if s.size < s.end {
		return nil, &CorruptionError{s.path, s.size, fmt.Sprintf("the file ends here, but the manifest says that its batches end at offset %d", s.end)}
	}
	return s, nil
}

// readClosed enters a closed segment into the index, from its hint or from the segment itself.
func (l *Log) readClosed(s *segment) error {
	hinted, err := l.readHint(s)
	if err != nil {
		return err
	}
	if s.hinted = hinted; hinted {
		return nil
	}
	scan, err := l.newScan(s, nil, nil)
	if err != nil {
		return err
	}
	return scan.whole(func(e entry) error { return l.enterEntry(s, e, scan.data) })
}

// enterEntry enters an entry of s into the index. data is the whole segment.
func (l *Log) enterEntry(s *segment, e entry, data []byte) error {
	at := spot{segment: s.number, offset: uint32(e.offset), size: uint32(len(e.bytes))}
	switch e.kind {
	case kindServer:
		var state paxos.ServerState
		if err := state.UnmarshalBinary(e.payload()); err != nil {
			return err
		}
		l.enterState(state, at)
	case kindDrop:
		r, err := parseDrop(e.payload())
		if err != nil {
			return err
		}
		l.segments[at.segment].live += int64(at.size)
		l.drop([]paxos.NameRange{r})
		maps.DeleteFunc(l.displaced, func(name string, _ spot) bool { return r.From <= name && name < r.To })
	case kindRecord:
		name, index, _, err := recordHead(e.payload())
		if err != nil {
			return err
		}
		at.index = index
		l.enterRead(name, at)
	case kindMark:
		m, of, err := l.markIn(s, data, e)
		if err != nil {
			return err
		}
		at.index, at.place, at.vote = m.record.Index, uint32(of.offset), uint32(len(of.bytes))
		l.enterRead([]byte(m.record.Instance), at)
	default:
		return fmt.Errorf("an entry has an unknown kind: %d", e.kind)
	}
	return nil
}

// enterRead enters a record that was read. If another instance has the Index in an older record, that instance has got another Index
// since. A later record must say so.
func (l *Log) enterRead(name []byte, at spot) {
	l.leave(l.index.free(at.index))
	if i, ok := l.index.order.Get(at.index); ok && string(l.index.name(i)) != string(name) {
		if l.displaced == nil {
			l.displaced = map[string]spot{}
		}
		l.displaced[string(l.index.name(i))] = *l.index.spot(i)
		l.leave(*l.index.spot(i))
		l.index.remove(i)
	}
	if len(l.displaced) > 0 {
		delete(l.displaced, string(name))
	}
	l.enterRecord(l.index.hash(name), name, at)
	l.sweepSoon()
}

// checkDisplaced returns an error if an instance has lost its Index to another one, and got no other.
func (l *Log) checkDisplaced() error {
	for name, s := range l.displaced {
		return &CorruptionError{l.segments[s.segment].path, int64(s.offset), fmt.Sprintf("%q has the Index of another instance, %d", name, s.index)}
	}
	l.displaced = nil
	return nil
}

// checkLast returns an error if a decision has an Index above ServerState.Last. Save refuses that, so one part of the log is of an
// earlier time than the rest. Segments made before version 3 may hold it: Save did not check it then.
func (l *Log) checkLast() error {
	runs, _ := l.index.order.Above(l.state.Last, math.MaxInt)
	for _, run := range runs {
		for _, p := range run {
			s := l.index.spot(p.At)
			if from := l.segments[s.segment]; !strings.HasSuffix(from.name, oldSuffix) {
				return &CorruptionError{from.path, int64(s.offset), fmt.Sprintf("%q has the Index %d, above ServerState.Last, %d: "+
					"a part of the log is older than the rest", l.index.name(p.At), p.Index, l.state.Last)}
			}
		}
	}
	return nil
}
