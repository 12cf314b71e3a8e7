package sequence

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/singledecree/paxos"
)

// Entries returns every entry at from or above it, in order: first those that are there, then each new one as soon as this
// server learns it. Position{} is the begin of the sequence. To go on after an item, give the [Position.Next] of its Position.
//
// The sequence ends with an error, never without one: the error of ctx, or of [Register] Wait. It ends with a
// [*ForgottenError] if the reader is behind a [Log.Forget]. It takes what it missed from elsewhere, such as a snapshot, and goes
// on at Position{Slot: Next}. A value that is no batch gives an Item with its Position and an error that wraps [ErrFormat]; that
// error does not end the sequence.
//
// Readers do not hold up writers, or each other.
func (l *Log) Entries(ctx context.Context, from Position) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		for slot := from.Slot; ; slot++ {
			b, err := l.slot(ctx, slot)
			if err != nil && (!yield(Item{Position: Position{Slot: slot}}, err) || !errors.Is(err, ErrFormat)) {
				return
			}
			for _, item := range b.entries {
				if item.Slot = slot; !item.Less(from) && !yield(item, nil) {
					return
				}
			}
		}
	}
}

// slot waits for the batch of a slot.
func (l *Log) slot(ctx context.Context, slot uint64) (batch, error) {
	d, err := l.on.Wait(ctx, l.Instance(slot))
	if f, ok := l.forgotten(err, slot); ok {
		return batch{}, f
	}
	if err != nil {
		return batch{}, err
	}
	return decode(d)
}

// Forget forgets all slots below the given one, for ever. It refuses if the slot just before that is not decided yet. A reader that is behind gets
// a [*ForgottenError]. An [Entry] from below it can't be appended any more. The other errors are those of [Register] Forget.
func (l *Log) Forget(ctx context.Context, below uint64) error {
	if below == 0 {
		return nil
	}
	_, ok, err := l.on.Read(ctx, l.Instance(below-1))
	if errors.Is(err, paxos.ErrForgotten) {
		ok, err = true, nil
	}
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("sequence: slot %d of %q is not decided, so the slots up to it can't be forgotten", below-1, l.name)
	}
	return l.on.Forget(ctx, paxos.NameRange{From: l.Instance(0), To: l.Instance(below)})
}
