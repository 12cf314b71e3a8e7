package wal

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/singledecree/paxos"
)

// Save makes b durable, as a whole or not at all, with one write and one fdatasync. Between the two, it lets other goroutines run for a
// moment, while the transfer to the disk begins. Saves at the same time run one after the other.
//
// It allocates nothing for a record. Its time is in proportion to b. For the names in Drop it takes no time: they are gone at once, and a
// sweep in the background gives their memory back. That takes about a microsecond a name, and 50 ns for each name that stays. While
// Saves come, a sweep begins at most once a second, for all ranges since the last one.
//
// Save refuses
//   - a batch that [paxos.Batch.Check] refuses, and an Index that another instance has;
//   - names over 255 bytes, records over 16 MiB, and batches over 256 MiB;
//   - a batch that the disk has no room for, before anything is written.
//
// After any error the log is dead, since the state of the disk after a failed fsync is not known. Every later Save fails; reads still
// return what was saved before. After the next Open the batch is there as a whole, or not at all.
func (l *Log) Save(b paxos.Batch) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	if err := l.writable(); err != nil {
		return err
	}
	if err := l.save(&b); errors.Is(err, errClosed) {
		return err // nothing was written
	} else if err != nil {
		return l.die(err)
	}
	if l.saved = time.Now(); !l.armed && !l.options.inline {
		l.armed = true
		l.resting.Store(false)
		l.sealing.Reset(l.options.sealAfter)
	}
	return nil
}

// writable returns why nothing can be written; writing is held.
func (l *Log) writable() error {
	switch {
	case l.options.ReadOnly:
		return errReadOnly
	case l.closed:
		return errClosed
	}
	return l.alive()
}

func (l *Log) save(b *paxos.Batch) error {
	if b.Server == nil && len(b.Drop) == 0 && len(b.Records) == 0 {
		return nil
	}
	if err := l.check(b); err != nil {
		return fmt.Errorf("wal: %s: %w", l.dir, err)
	}
	if err := l.encode(b); err != nil {
		return fmt.Errorf("wal: %s: %w", l.dir, err)
	}
	if err := l.makeRoom(padded(int64(len(l.encoder.buf)))); err != nil {
		return err
	}
	s := l.active
	l.encoder.move(s.end)
	bytes := l.encoder.seal(l.store, uint64(s.number), uint64(s.end), l.sequence)
	if _, err := s.file.WriteAt(bytes, s.end); err != nil {
		return fmt.Errorf("wal: %s: %w", s.path, err)
	}
	sealed := l.sealIsDue(s)
	if sealed {
		if err := l.writeSeal(s); err != nil {
			return err
		}
	}
	s.file.Start(s.end, int64(len(bytes)))
	l.index.hashAll(b.Records)
	l.prefetch()
	giveWay()
	if err := s.file.Sync(); err != nil {
		return fmt.Errorf("wal: %s: %w", s.path, err)
	}
	if err := s.checkSize(); err != nil {
		return err
	}
	if sealed {
		l.noteSeal(s)
	}
	l.latest = proof{s.number, l.sequence, s.end, s.end + int64(len(bytes)), leUint32(bytes[60:])}
	l.mu.Lock()
	l.enter(b, s)
	l.mu.Unlock()
	if len(b.Drop) > 0 && !l.options.inline {
		l.work() // to sweep
	}
	l.plan.Lock()
	s.end += int64(len(bytes))
	s.batches++
	s.last = l.sequence
	l.plan.Unlock()
	l.sequence++
	s.unsealed++
	return nil
}

// encode encodes b for the active segment. If b does not fit there, it encodes b for the next one, without marks.
func (l *Log) encode(b *paxos.Batch) error {
	marked := l.findVotes(b)
	if err := l.encoder.encode(b, l.marks, l.active.end); err != nil || !marked || l.active.hasRoom(padded(int64(len(l.encoder.buf)))) {
		return err
	}
	clear(l.marks)
	return l.encoder.encode(b, nil, dataStart)
}

// check refuses a batch that must not be saved.
func (l *Log) check(b *paxos.Batch) error {
	if err := b.Check(l.state); err != nil {
		return err
	}
	if err := l.checkIndexes(b); err != nil {
		return err
	}
	slices.Sort(l.indexes)
	for i, index := range l.indexes[min(1, len(l.indexes)):] {
		if index == l.indexes[i] {
			return fmt.Errorf("Records: two have the Index %d", index)
		}
	}
	return nil
}

// checkIndexes puts the Indices of a batch into l.indexes, and refuses one that another instance has.
func (l *Log) checkIndexes(b *paxos.Batch) error {
	l.indexes = l.indexes[:0]
	l.mu.RLock() // the worker moves records, and sweeps dropped ones
	defer l.mu.RUnlock()
	for i := range b.Records {
		r := &b.Records[i]
		if !r.Chosen {
			continue
		}
		if r.Index <= l.index.order.Highest() {
			if err := l.index.checkIndex(r); err != nil {
				return err
			}
		}
		l.indexes = append(l.indexes, r.Index)
	}
	return nil
}

// prefetch makes the processor load the entries of the names that were hashed last, in parallel. If the index is locked, it does not wait.
func (l *Log) prefetch() {
	if l.mu.TryRLock() {
		l.index.byName.FetchAll(l.index.hashes)
		l.mu.RUnlock()
	}
}

// enter enters a durable batch into the index, after hashAll; mu is held.
func (l *Log) enter(b *paxos.Batch, s *segment) {
	spot := spot{segment: s.number, offset: uint32(s.end) + batchHead}
	sizes := l.encoder.sizes
	next := func() {
		spot.offset += spot.size
		spot.size, sizes = sizes[0], sizes[1:]
	}
	if b.Server != nil {
		next()
		l.enterState(*b.Server, spot)
	}
	for range b.Drop {
		next()
		l.segments[spot.segment].live += int64(spot.size)
	}
	l.drop(b.Drop)
	for i := range b.Records {
		next()
		r, of := &b.Records[i], l.marks[i]
		spot.index, spot.place, spot.vote = r.Index, of.offset, of.size
		l.name = append(l.name[:0], r.Instance...)
		l.enterRecord(l.index.hashes[i], l.name, spot)
		if s.marks && !r.Chosen && len(r.Acceptor.Value) >= leastMarked {
			l.votes.add(vote{spot.offset, spot.size, leUint32(l.encoder.buf[int64(spot.offset)-s.end:])}, r.Acceptor.Value)
		}
	}
}

// enterRecord makes s the spot of the instance with that name and that hash.
func (l *Log) enterRecord(hash uint64, name []byte, s spot) {
	l.leave(l.index.free(s.index))
	l.leave(l.index.put(hash, name, s))
	l.segments[s.segment].live += s.bytes()
}

// enterState makes state, which lies at s, the state of the server.
func (l *Log) enterState(state paxos.ServerState, s spot) {
	l.leave(l.stateAt)
	l.state, l.stateAt = state, s
	l.segments[s.segment].live += int64(s.size)
}

// makeRoom makes sure that the active segment has room for a batch of n bytes.
func (l *Log) makeRoom(n int64) error {
	for !l.active.hasRoom(n) {
		if err := l.takePrepared(n); err != nil {
			return fmt.Errorf("wal: %s: no room for a batch of %d bytes: %w", l.dir, n, err)
		}
		l.work()
	}
	return nil
}

// takePrepared closes the active segment, and makes the prepared one the active one, waiting for it if need be. It does both in one step:
// otherwise three segments could be listed as open.
//
// If the new one has no room for n bytes, takePrepared asks for a larger one. If there was no space to prepare a segment, it tries once
// more.
func (l *Log) takePrepared(n int64) error {
	l.plan.Lock()
	l.wanted, l.overflow = n, n
	l.failed = nil
	needed := l.prepared == nil
	l.plan.Unlock()
	if needed {
		l.work()
	}
	l.plan.Lock()
	defer l.plan.Unlock()
	for l.prepared == nil {
		switch {
		case l.failed == nil:
			l.waited = true
			l.ready.Wait()
		case l.scarce || !outOfSpace(l.failed):
			l.waited, l.scarce = false, false
			if isShortage(l.failed) {
				return errClosed // otherwise the shortage is waited out
			}
			return l.failed
		default: // the failed attempt may have been for more space than necessary
			l.failed, l.scarce = nil, true
			l.plan.Unlock()
			l.work()
			l.plan.Lock()
		}
	}
	l.waited, l.scarce = false, false
	l.long = l.active.data()+n >= l.options.reserved*int64(l.active.batches+1)
	l.active.close()
	if l.active.batches == 0 {
		l.active.last = l.sequence - 1
	}
	now := time.Now()
	if l.hurried = 0; now.Sub(l.begun) < l.options.hurry {
		l.hurried = l.active.size
	}
	l.active, l.begun, l.prepared = l.prepared, now, nil
	l.votes.reset()
	if l.active.hasRoom(n) {
		l.wanted = 0 // the next segment may be smaller
	}
	return nil
}

// sealDue seals the log if no Save came for a while. If none came for longer, it lets the worker compact.
func (l *Log) sealDue() {
	if err := l.sealOnce(); err != nil && !errors.Is(err, errStopping) {
		l.lines.Log(slog.LevelError, "wal: the log is dead", "dir", l.dir, "err", l.die(err))
	}
}

// sealOnce does the work that is due now, and sets the timer for the rest; or the next Save sets it. While it writes SEAL, it holds no
// lock that a Save waits for.
func (l *Log) sealOnce() error {
	p, rested, err := l.sealRested()
	if err != nil {
		return err
	}
	if err := l.prove(p, rested); err != nil {
		return err
	}
	return l.sealNext(p, rested)
}

// sealRested seals the log if no Save came for sealAfter. It returns how far the log is durable, and whether it rested that long.
func (l *Log) sealRested() (p proof, rested bool, err error) {
	l.writing.Lock()
	defer l.writing.Unlock()
	if l.writable() != nil {
		return p, false, errStopping
	}
	if rested = time.Since(l.saved) >= l.options.sealAfter; rested {
		err = l.seal()
	}
	return l.latest, rested, err
}

// sealNext sets the timer for the next work, after SEAL was written with p. rested says whether the log rested before that.
func (l *Log) sealNext(p proof, rested bool) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	if l.writable() != nil {
		return errStopping
	}
	since := time.Since(l.saved)
	if !l.options.inline && l.sweepIsDue() {
		l.work()
	}
	switch {
	case since < l.options.sealAfter:
		l.sealing.Reset(l.options.sealAfter - since)
		return nil
	case !rested || l.latest != p: // time has passed since
		l.sealing.Reset(0)
		return nil
	case since < restAfter:
		l.sealing.Reset(restAfter - since)
		return nil
	}
	if err := l.sealAgain(); err != nil {
		return err
	}
	l.armed = false
	l.resting.Store(true)
	l.work()
	return nil
}

// While Saves follow each other, no seal has a sync of its own. A seal goes with the batch of a Save, and says that all before this batch
// is durable. So only the last batches are without proof, however long the load lasts.

// sealWithin is when a seal is due under load: the last batch was saved this much later than the last sealed one.
const sealWithin = 20 * time.Millisecond

// sealIsDue reports whether a seal goes with the next batch of the segment.
func (l *Log) sealIsDue(s *segment) bool {
	return s.unsealed >= l.options.sealEvery || s.unsealed > 0 && !l.options.inline && l.saved.Sub(s.sealedAt) >= sealWithin
}

// seal writes in the active segment that all of it is durable; writing is held.
func (l *Log) seal() error {
	s := l.active
	if s.sealed == s.end || s.end == dataStart {
		return nil
	}
	return l.syncSeal(s)
}

// sealAgain makes both seals of the active segment say that all of it is durable. Then damage to one place hides nothing. writing is
// held.
func (l *Log) sealAgain() error {
	s := l.active
	if s.sealed != s.end || s.sealedBefore == s.end || s.end == dataStart {
		return nil
	}
	return l.syncSeal(s)
}

// syncSeal writes a seal and syncs it.
func (l *Log) syncSeal(s *segment) error {
	if err := l.writeSeal(s); err != nil {
		return err
	}
	if err := s.file.Sync(); err != nil {
		return fmt.Errorf("wal: %s: %w", s.path, err)
	}
	if err := s.checkSize(); err != nil {
		return err
	}
	l.noteSeal(s)
	return nil
}

// writeSeal writes, over the older of the two seals, that all batches of the segment so far are durable.
func (l *Log) writeSeal(s *segment) error {
	putSeal(l.head[:], s.turn, l.store, s.number, l.sequence-1, s.end)
	if _, err := s.file.WriteAt(l.head[:], sealOffset(s.turn)); err != nil {
		return fmt.Errorf("wal: %s: %w", s.path, err)
	}
	return nil
}

// noteSeal notes that the written seal is durable.
func (l *Log) noteSeal(s *segment) {
	s.sealed, s.sealedBefore, s.turn = s.end, s.sealed, 1-s.turn
	s.sealedAt, s.unsealed = l.saved, 0
}
