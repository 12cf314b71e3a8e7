package sequence

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/singledecree/paxos"
)

// A waiter is an entry, and the call that waits for its place. Log.mu guards it until done is closed.
type waiter struct {
	entry Entry
	// shared says that other calls may append the same entry, here or elsewhere. So it must be looked for in each slot.
	shared   bool
	proposed bool // it is in the batch that is proposed at this moment
	gone     bool // its caller does not wait any more
	done     chan struct{}
	at       Position
	err      error
}

// Append appends v, and returns its place when that and all places before it are decided. Callers that come while a slot is
// being decided go into the next batch together. To retry or hedge, use [Log.AppendEntry].
//
// The error is an [*AppendError], except before the end of the sequence is found: then it is that of [Register] Read. Errors
// are those of Propose, and [paxos.ErrNewer] if a later version of this package has written the slot. If ctx ends while the entry
// is in no proposal, Unknown is false.
func (l *Log) Append(ctx context.Context, v paxos.Value) (Position, error) {
	if err := l.start(ctx); err != nil {
		return Position{}, err
	}
	w := &waiter{entry: Entry{ID: newID(), Value: v}, done: make(chan struct{})}
	l.mu.Lock()
	w.entry.From = l.next
	l.enqueue(w)
	l.mu.Unlock()
	return l.await(ctx, w)
}

// AppendEntry appends an entry that other calls may append too: a retry, a hedged call on another server, or a call before a
// restart. All calls with one Entry, together, put it into one slot at most, and each that succeeds returns the same Position.
//
// It reads the slots from e.From to the end. If one of them is forgotten, nobody can tell whether it held the entry. The error
// then wraps [paxos.ErrForgotten], and Unknown is true. The other errors are those of [Log.Append]. They tell of this call
// alone: if Unknown is false, another call of the same Entry may have put it somewhere.
func (l *Log) AppendEntry(ctx context.Context, e Entry) (Position, error) {
	if err := l.start(ctx); err != nil {
		return Position{}, err
	}
	l.mu.Lock()
	next := l.next
	l.mu.Unlock()
	if e.From > next {
		end, err := l.seek(ctx, next)
		if err != nil {
			return Position{}, err
		}
		if e.From > end {
			return Position{}, l.failed(e.From, fmt.Errorf("the entry begins at slot %d, and the sequence ends at %d", e.From, end), false)
		}
	}
	w := &waiter{entry: e, shared: true, done: make(chan struct{})}
	for slot := e.From; ; slot++ {
		l.mu.Lock()
		if slot >= l.next {
			l.enqueue(w)
			l.mu.Unlock()
			return l.await(ctx, w)
		}
		l.mu.Unlock()
		at, ok, err := l.lookIn(ctx, slot, e.ID)
		if ok || err != nil {
			return at, err
		}
	}
}

// lookIn looks for an entry in a slot that is decided.
func (l *Log) lookIn(ctx context.Context, slot uint64, id ID) (at Position, ok bool, err error) {
	d, decided, err := l.on.Read(ctx, l.Instance(slot))
	if f, gone := l.forgotten(err, slot); gone {
		return at, false, l.failed(slot, f, true)
	}
	if err != nil {
		return at, false, err
	}
	if !decided {
		return at, false, l.failed(slot, errors.New("the registers have lost a decision"), true)
	}
	b, err := decode(d)
	if errors.Is(err, paxos.ErrNewer) {
		return at, false, l.failed(slot, err, true)
	}
	for _, e := range b.entries {
		if e.ID == id {
			return Position{slot, e.Index}, true, nil
		}
	}
	return at, false, nil
}

// failed returns an AppendError. Its Err is err itself if that is an OpError that says the same.
func (l *Log) failed(slot uint64, err error, unknown bool) *AppendError {
	if op, ok := err.(*paxos.OpError); !ok || op.Unknown() != unknown {
		err = &paxos.OpError{Op: "append", Instance: l.Instance(slot), Err: err, Unsent: !unknown}
	}
	return &AppendError{Slot: slot, Err: err}
}

// enqueue gives w to the goroutine that appends, and starts it if need be. l.mu is held.
func (l *Log) enqueue(w *waiter) {
	l.queue = append(l.queue, w)
	l.live++
	if !l.running {
		l.running = true
		go l.run()
	}
}

// await waits for the place of w.
func (l *Log) await(ctx context.Context, w *waiter) (Position, error) {
	select {
	case <-w.done:
		return w.at, w.err
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-w.done: // it came first
		return w.at, w.err
	default:
	}
	w.gone = true
	if l.live--; l.live == 0 && l.stop != nil {
		l.stop()
	}
	return Position{}, l.failed(l.next, context.Cause(ctx), w.proposed)
}

// finish ends the waiters for which end returns true, and forgets those without a caller. end sets their result. l.mu is held.
func (l *Log) finish(end func(*waiter) bool) {
	l.queue = slices.DeleteFunc(l.queue, func(w *waiter) bool {
		if !end(w) {
			return w.gone && !w.proposed
		}
		if !w.gone {
			l.live--
			close(w.done)
		}
		return true
	})
}

// run appends what is in the queue, one slot after the other, and ends when nobody waits.
func (l *Log) run() {
	for {
		l.mu.Lock()
		l.finish(func(*waiter) bool { return false })
		if l.live == 0 {
			l.running = false
			l.mu.Unlock()
			return
		}
		ctx, stop := context.WithCancel(context.Background())
		l.stop = stop
		slot, patience, far := l.next, l.turns.patience(l.writer), l.isFar()
		l.mu.Unlock()
		switch {
		case far:
			l.jump(ctx, slot)
		case patience == 0 || !l.learnWithin(ctx, slot, patience):
			l.propose(ctx, slot)
		}
		l.mu.Lock()
		l.stop = nil
		l.mu.Unlock()
		stop()
	}
}

// isFar reports whether the end of the sequence is likely to be far away, and no entry has to be looked for in the slots up to
// there. l.mu is held.
func (l *Log) isFar() bool { return l.losses >= 8 && !l.hasShared() }

func (l *Log) hasShared() bool {
	return slices.ContainsFunc(l.queue, func(w *waiter) bool { return w.shared })
}

// jump looks for the end of the sequence from slot on.
func (l *Log) jump(ctx context.Context, slot uint64) {
	end, err := l.seek(ctx, slot)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.losses = 0
	switch {
	case err != nil:
		l.fail(ctx, slot, err)
	case !l.hasShared():
		l.next = end
	}
}

// fail ends all waiters that are in no proposal with err, unless it is the end of ctx: then nobody waited for this call. l.mu is
// held.
func (l *Log) fail(ctx context.Context, slot uint64, err error) {
	if ctx.Err() != nil {
		return
	}
	l.finish(func(w *waiter) bool {
		w.err = l.failed(slot, err, w.shared)
		return true
	})
}

// learnWithin waits for others to decide the slot, and reports whether they did, or the call failed. Nothing is proposed at
// that time.
func (l *Log) learnWithin(ctx context.Context, slot uint64, patience time.Duration) bool {
	waiting, stop := context.WithTimeout(ctx, patience)
	defer stop()
	d, err := l.on.Wait(waiting, l.Instance(slot))
	if err != nil {
		return ctx.Err() != nil // else propose: that shows the error, if it is one
	}
	l.learn(slot, d)
	return true
}

// propose offers a batch of the entries that wait. An entry that begins in a later slot may be among them: the slots before
// that are decided, so it can't land there.
func (l *Log) propose(ctx context.Context, slot uint64) {
	l.mu.Lock()
	taken, size := l.take()
	l.mu.Unlock()
	if len(taken) == 0 { // their callers went just now
		return
	}
	began := time.Now()
	d, err := l.on.Propose(ctx, l.Instance(slot), encode(l.writer, taken))
	if err == nil {
		l.mu.Lock()
		l.turns.took(time.Since(began))
		l.mu.Unlock()
		l.learn(slot, d)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	unknown := paxos.Unknown(err)
	if f, ok := l.forgotten(err, slot); ok && !unknown && f.Next <= MaxSlot && !l.hasShared() {
		l.free()
		l.next = f.Next // these entries were in no slot before it
		return
	}
	if len(taken) > 1 && !unknown && errors.Is(err, paxos.ErrTooLarge) {
		l.free()
		l.most = size / 2
		return
	}
	l.finish(func(w *waiter) bool {
		if w.proposed {
			w.err = l.failed(slot, err, unknown || w.shared && errors.Is(err, paxos.ErrForgotten))
		}
		return w.proposed
	})
}

// take marks the entries of the next batch as proposed, and returns them with the bytes that they take. An entry that is in the
// queue twice is taken once. l.mu is held.
func (l *Log) take() (taken []*waiter, size int) {
	size = head
	ids := map[ID]bool{}
	for _, w := range l.queue {
		if w.gone {
			continue
		}
		if ids[w.entry.ID] {
			w.proposed = true
			continue
		}
		cost := entryCost + len(w.entry.Value)
		if len(taken) > 0 && size+cost > l.most || len(taken) == MaxEntries {
			break
		}
		ids[w.entry.ID], w.proposed = true, true
		taken, size = append(taken, w), size+cost
	}
	return taken, size
}

// free notes that nothing is proposed any more: it is certain that none of it was or will be chosen. l.mu is held.
func (l *Log) free() {
	for _, w := range l.queue {
		w.proposed = false
	}
}

// learn takes the decision of the slot. The entries in it have their place; the others of a proposal there have lost, for ever.
func (l *Log) learn(slot uint64, d paxos.Decision) {
	b, err := decode(d)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.free()
	if errors.Is(err, paxos.ErrNewer) {
		l.fail(context.Background(), slot, err)
		return
	}
	places := make(map[ID]int, len(b.entries))
	for _, e := range b.entries {
		places[e.ID] = e.Index
	}
	l.finish(func(w *waiter) bool {
		i, ok := places[w.entry.ID]
		if ok {
			w.at = Position{slot, i}
		}
		return ok
	})
	l.next = slot + 1
	if err == nil {
		l.turns.wrote(b.writer, slot)
	}
	if l.losses++; b.writer == l.writer {
		l.losses = 0
	}
}
