package wal

import (
	"errors"
	"fmt"
	"log/slog"
	"syscall"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/disk"
)

// The worker is the goroutine for work that no Save has to wait for: it prepares the next segment, sweeps, and
// compacts.

// work tells the worker to look for work.
func (l *Log) work() {
	if l.options.inline {
		l.workOnce()
		return
	}
	select {
	case l.wake <- struct{}{}:
	default: // it is told already
	}
}

func (l *Log) workLoop() {
	defer close(l.stopped)
	for range l.wake {
		l.workOnce()
	}
}

// workOnce does all work that is due now.
func (l *Log) workOnce() {
	err := l.tryWork()
	for l.short.wait(err) {
		err = l.tryWork()
	}
	switch {
	case err == nil || errors.Is(err, errStopping):
	case isShortage(err): // and the log is being closed
		l.fail(err)
	case outOfSpace(err):
		l.lines.Log(slog.LevelWarn, "wal: no space for background work", "dir", l.dir, "err", err)
	default:
		l.fail(err)
		l.lines.Log(slog.LevelError, "wal: the log is dead", "dir", l.dir, "err", l.die(err))
	}
}

func (l *Log) tryWork() error {
	if err := l.sweep(); err != nil { // also if there is no space
		return err
	}
	if err := l.prepareNext(); err != nil {
		return err
	}
	return l.compactAll()
}

// errStopping ends the current work of the worker: the log is being closed.
var errStopping = errors.New("the log is being closed")

// stopWorker ends the worker, and waits for it.
func (l *Log) stopWorker() {
	l.plan.Lock()
	l.stopping = true
	l.plan.Unlock()
	close(l.wake)
	if !l.options.inline {
		<-l.stopped
	}
}

func (l *Log) isStopping() bool {
	l.plan.Lock()
	defer l.plan.Unlock()
	return l.stopping
}

// A dropped instance is gone from the moment in which its drop is entered: no method finds it. Its name and its spot stay in the index
// until a sweep removes them, in pieces, between which readers and Saves go on. Only then its record no longer counts as live.
//
// The drop is durable before it is entered, and lies behind all records that it drops. So compaction may copy a record that waits to be
// swept, as long as it keeps the drop.

const (
	// sweepPiece is how long a sweep holds mu at a time, about. Saves and readers wait for mu.
	sweepPiece = 100 * time.Microsecond
	// sweepRests is how many times as long as a piece takes a sweep rests after it, while Saves come. A call waits for several Saves, one
	// after the other, so it waits for several pieces.
	sweepRests = 4
	// sweepLook is how many instances it looks at before it looks at the clock.
	sweepLook = 64
	// sweepEvery is the least time between two sweeps while Saves come.
	sweepEvery = time.Second
)

// drop drops the names in the ranges. It removes a single name itself. The lock mu is held, or the log is being opened.
func (l *Log) drop(ranges []paxos.NameRange) {
	if len(ranges) == 0 {
		return
	}
	l.index.listing++
	wide := ranges[:0:0]
	for _, r := range ranges {
		name, one := r.One()
		if !one {
			wide = append(wide, r)
			continue
		}
		if at, ok := l.index.find(l.index.hash([]byte(name)), []byte(name)); ok {
			l.leave(*l.index.spot(at))
			l.index.remove(at)
		}
	}
	l.index.drops.Add(wide)
}

// sweepIsDue reports whether it is time for a sweep.
func (l *Log) sweepIsDue() bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.index.sweepIsDue() && (l.resting.Load() || time.Since(l.swept) >= sweepEvery)
}

// sweep removes all dropped instances, if it is time to. Those that are dropped meanwhile may stay.
func (l *Log) sweep() error {
	if !l.sweepIsDue() {
		return nil
	}
	for more := true; more; {
		began := time.Now()
		more = l.sweepSome()
		if err := l.breatheAfter(began, sweepRests); err != nil {
			return err
		}
	}
	l.mu.Lock()
	l.swept = time.Now()
	l.mu.Unlock()
	return nil
}

// sweepSome sweeps a piece, and reports whether there is more to do.
func (l *Log) sweepSome() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for began := time.Now(); time.Since(began) < sweepPiece; {
		for range sweepLook {
			if !l.index.sweepOne(l.leave) {
				return false
			}
		}
	}
	return true
}

// removeRests is how many times as long as it took to free a piece of a file the worker rests after that, while Saves come. A file system
// that frees much room at once keeps the syncs of Saves waiting.
const removeRests = 4

// discard removes the files of segments that are in use no more, but to those who read them now. If the log is being closed, it no longer
// rests.
func (l *Log) discard(run []*segment) (err error) {
	began := time.Now()
	rest := func() {
		if err == nil {
			err = l.breatheAfter(began, removeRests)
		}
		began = time.Now()
	}
	for _, s := range run {
		s.obsolete.Store(true)
		s.releaseBy(func(name string) error {
			defer rest()
			return l.fs.RemoveSlowly(name, rest)
		})
	}
	return err
}

// leave notes that the entry at s no longer counts.
func (l *Log) leave(s spot) {
	if from := l.segments[s.segment]; from != nil && s.size > 0 {
		from.live -= s.bytes()
	}
}

// sweepWhole sweeps all that is left. The log is being opened.
func (l *Log) sweepWhole() {
	for l.entered = 0; l.index.sweepIsDue(); {
		l.index.sweepOne(l.leave)
	}
}

// sweepSoon sweeps if enough records were read since the last sweep. So the sweeps of Open take time in proportion to the records, and not
// to the drops as well. And Open remembers not too many records as later than a drop.
func (l *Log) sweepSoon() {
	if l.entered++; l.index.drops.Pending() && 2*l.entered >= l.index.n {
		l.sweepWhole()
	}
}

// outOfSpace reports whether err says that the disk is full. Work that needs room can be done later.
func outOfSpace(err error) bool { return errors.Is(err, syscall.ENOSPC) || isQuota(err) }

// isHarmless reports whether err is a shortage that may pass. Nothing was changed then.
func isHarmless(err error) bool { return outOfSpace(err) || isShortage(err) }

// fail tells a Save that waits for a prepared segment that there will be none.
func (l *Log) fail(err error) {
	l.plan.Lock()
	defer l.plan.Unlock()
	l.failed = err
	l.ready.Broadcast()
}

// prepareNext prepares a segment, if there is none. If there is no space for it, a waiting Save is told.
func (l *Log) prepareNext() error {
	for {
		l.plan.Lock()
		if l.stopping {
			l.plan.Unlock()
			return errStopping
		}
		needed := l.prepared == nil
		size := padded(dataStart + l.wanted + 1)
		if !l.scarce {
			size = max(size, l.nextSize())
		}
		l.plan.Unlock()
		if !needed {
			return nil
		}
		if err := l.prepare(size); err != nil {
			if l.short.wait(err) {
				continue
			}
			if outOfSpace(err) {
				l.fail(err)
			}
			return err
		}
	}
}

// fewBatches is the least number of batches that a segment has room for, also of large ones. Then most votes are in the segment of their
// decisions, which can be marks.
const fewBatches = 8

// nextSize returns the size of the next segment: a sixteenth of the live bytes, so that a small log has little space prepared. If
// segments fill so fast that Saves might wait for the next one, it is up to twice as large as the last. The lock plan is held.
func (l *Log) nextSize() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	live, least := int64(0), l.options.least
	for _, s := range l.segments {
		live += s.live
	}
	size := max(live/16, least)
	few := int64(fewBatches)
	if l.wanted > 0 { // a Save waits for the segment
		few = 2
	}
	size = max(size, few*l.overflow)
	if l.hurried > 0 {
		size = max(size, min(2*l.hurried, max(live/8, 4*least)))
	}
	return min(size+dataStart, max(l.options.SegmentSize, least))
}

// prepare makes a segment of that size, which reads as zeros, and lists it.
func (l *Log) prepare(size int64) error {
	l.plan.Lock()
	number, reserve := l.manifest.next, l.long || l.wanted >= l.options.reserved
	l.plan.Unlock()
	s := l.newSegment(number)
	if err := l.makeSegment(s.name, number, size, reserve); err != nil {
		return fmt.Errorf("wal: %s: %w", s.path, err)
	}
	f, err := l.fs.Open(s.name, true)
	if err != nil {
		return fmt.Errorf("wal: %s: %w", s.path, err)
	}
	s.file, s.size, s.marks = l.files.add(s.name, f, true), size, true
	s.acquire()
	l.plan.Lock()
	l.manifest.next = number + 1
	l.row = append(l.row, s)
	m := l.listing()
	l.plan.Unlock()
	if err := writeManifest(l.fs, &m); err != nil {
		l.plan.Lock()
		l.row = l.row[:len(l.row)-1]
		l.plan.Unlock()
		s.obsolete.Store(isHarmless(err)) // otherwise the manifest may list it
		s.release(l.fs)
		return fmt.Errorf("wal: %s: %w", l.dir, err)
	}
	l.mu.Lock()
	l.segments[number] = s
	l.mu.Unlock()
	l.plan.Lock()
	l.prepared, l.failed = s, nil
	l.ready.Broadcast()
	l.plan.Unlock()
	return nil
}

// listing returns the manifest to write now; plan is held.
func (l *Log) listing() manifest {
	m := manifest{state: l.manifest.state, next: l.manifest.next}
	for _, s := range l.row {
		e := listed{number: s.number, closed: s.closed, copy: s.copy}
		if s.closed {
			e.end, e.batches, e.last = s.end, s.batches, s.last
		}
		m.segments = append(m.segments, e)
	}
	return m
}

// zeroChunk is how many bytes of zeros are written and started towards the disk at a time. It is small, so that Saves do not wait long
// behind them.
const zeroChunk = 64 << 10

// makeSegment makes the file of a segment. The file gets its name once all of it is durable.
//
// A short batch is durable sooner in a place that was written before: the file system need not note that it holds data now. For long
// batches that matters less than to write each byte once. So for those the place is reserved, where the platform can, and not written.
func (l *Log) makeSegment(name string, number uint32, size int64, reserve bool) error {
	head := make([]byte, pageSize)
	putHeader(head, l.store, number, false)
	return makeFile(l.fs, name, func(f disk.File) error {
		if !reserve || f.Reserve(size) != nil { // if the disk is at fault, the zeros fail, too
			if err := l.fillZeros(f, size); err != nil {
				return err
			}
		}
		_, err := f.WriteAt(head, 0)
		return err
	})
}

// fillZeros writes size bytes of zeros.
func (l *Log) fillZeros(f disk.File, size int64) error {
	zero := make([]byte, min(zeroChunk, size))
	for at := int64(0); at < size; at += int64(len(zero)) {
		if l.isStopping() {
			return errStopping
		}
		if _, err := f.WriteAt(zero[:min(int64(len(zero)), size-at)], at); err != nil {
			return err
		}
		startNext(f, at, int64(len(zero)))
		l.rest(writeRest)
	}
	return nil
}

// startNext starts the transfer of n bytes to the disk. Before it returns, it waits for the n bytes before them. So a sequence of writes
// is never far ahead of the disk.
func startNext(f disk.File, at, n int64) {
	f.Start(at, n)
	before := max(at-n, 0)
	f.Await(before, at-before)
}

// syncNames syncs the directory after the rename of a file. If that fails, the state of the directory is not known. So its error is never
// one that the log survives, such as a lack of space.
func syncNames(files disk.Dir) error {
	if err := files.Sync(); err != nil {
		return fmt.Errorf("sync of the directory: %v", err)
	}
	return nil
}
