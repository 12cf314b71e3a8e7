package wal

import (
	"errors"
	"fmt"
	"log/slog"
	"syscall"

	"github.com/singledecree/paxos/internal/disk"
)

// The worker is the goroutine for work that no Save has to wait for: it prepares the next segment, and compacts.

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

// prepare makes a segment of that size, full of zeros, and lists it.
func (l *Log) prepare(size int64) error {
	l.plan.Lock()
	number := l.manifest.next
	l.plan.Unlock()
	s := l.newSegment(number)
	if err := l.makeSegment(s.name, number, size); err != nil {
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
func (l *Log) makeSegment(name string, number uint32, size int64) error {
	head := make([]byte, pageSize)
	putHeader(head, l.store, number, false)
	zero := make([]byte, min(zeroChunk, size))
	return makeFile(l.fs, name, func(f disk.File) error {
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
		if _, err := f.WriteAt(head, 0); err != nil {
			return err
		}
		return nil
	})
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
