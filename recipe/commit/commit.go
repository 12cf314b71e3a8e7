// Package commit is atomic commit for several participants, as in "Consensus on Transaction Commit" by Gray and Lamport. A
// transaction is committed if all its participants have prepared, and else it is aborted. All processes learn the same outcome.
//
//	tx, err := commit.New(server, "tx/42") // server is a *node.Node
//	…
//	err = tx.Begin(ctx, "orders", "stock")       // once: the participants
//	…
//	err = tx.Prepare(ctx, "orders", "on disk")   // each participant, after it has saved what it needs to commit
//	…
//	o, err := tx.Wait(ctx)                       // or tx.Finish(ctx), which aborts the participants that are silent
//
// Each participant has a register, in which "prepared" or "aborted" is decided once. Anybody may propose "aborted" there, so a
// participant that is silent holds up nobody. Nobody's memory is needed for the outcome: it follows from the registers. So a
// transaction is not blocked when its coordinator dies, in contrast to two-phase commit. Any process can learn it
// or finish it, as long as a quorum of servers is up.
//
// # What is guaranteed
//
//   - A transaction never has two outcomes.
//   - It is committed only if each participant has called Prepare, and no one was aborted before.
//   - [Transaction.Finish] returns an outcome whenever a quorum of servers answers, whoever has died.
//
// A participant keeps its part prepared, over crashes, until it learns the outcome. It must not give up by itself after Prepare,
// also if that failed: if [paxos.Unknown] of the error is true, it may count as prepared. [Transaction.Refuse] and
// Finish tell.
//
// The list of participants is decided once, too. Until then Finish aborts the transaction, so that nobody waits for a
// coordinator that died before Begin.
//
// # Names
//
// The transaction "tx/42" uses the instances "tx/42/list" and, for the participant "stock", "tx/42/vote/stock". Their values are
// texts. When all participants know the outcome, a service may forget them: [paxos.Prefix]("tx/42/"). Names are not
// used again.
package commit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/singledecree/paxos"
)

// A Register has the calls that a Transaction makes. A *node.Node is one. They must be safe for concurrent use, and mean what
// they mean there.
type Register interface {
	Propose(ctx context.Context, instance string, v paxos.Value) (paxos.Decision, error)
	Read(ctx context.Context, instance string) (d paxos.Decision, ok bool, err error)
	Wait(ctx context.Context, instance string) (paxos.Decision, error)
}

// MaxParticipants is the most participants of a transaction.
const MaxParticipants = 1024

// The errors that a call can wrap, for [errors.Is].
var (
	// ErrAborted: the participant is aborted, and the transaction with it.
	ErrAborted = errors.New("transaction is aborted")
	// ErrNotBegun: the list of participants is not decided yet.
	ErrNotBegun = errors.New("transaction has not begun")
	// ErrParticipants: the transaction has other participants.
	ErrParticipants = errors.New("transaction has other participants")
	// ErrOther: another process has prepared as this participant, with another value.
	ErrOther = errors.New("another process has prepared as this participant")
	// ErrFormat: a value is none that this package writes. Something else has proposed in the instance that the error names.
	ErrFormat = errors.New("not a value of a transaction")
)

// A State says how far a transaction or a participant is.
type State int

// The states. Prepared is that of a participant, Committed that of a transaction.
const (
	Pending State = iota // nothing is decided
	Prepared
	Committed
	Aborted
)

// String returns the state in lower case.
func (s State) String() string {
	names := []string{"pending", "prepared", "committed", "aborted"}
	if s < 0 || int(s) >= len(names) {
		return fmt.Sprintf("state(%d)", int(s))
	}
	return names[s]
}

// An Outcome is the state of a transaction: Pending, Committed or Aborted. The last two are for ever.
type Outcome struct {
	State State
	// Votes has the participants in the order of their names. It is empty if the list is not decided, or was aborted. After
	// Aborted, some may still be Pending here: one that is aborted is enough.
	Votes []Vote
}

// A Vote is the state of one participant: Pending, Prepared or Aborted.
type Vote struct {
	Participant string
	State       State
	With        paxos.Value // that it gave to Prepare
}

// A Transaction is one transaction, as one process sees it. It holds nothing but names, so there may be any number of them for
// one transaction, in any processes. Its methods are safe for concurrent use.
type Transaction struct {
	on   Register
	name string
}

// New returns the Transaction of that name. It asks nobody. Different transactions must have different names, for ever. The error
// wraps [paxos.ErrName] if name is not valid. The names of its instances must be valid, too: see [paxos.CheckInstance].
func New(on Register, name string) (*Transaction, error) {
	if on == nil {
		return nil, errors.New("commit: registers are nil")
	}
	t := &Transaction{on, name}
	if err := errors.Join(paxos.CheckInstance(name), paxos.CheckInstance(t.list())); err != nil {
		return nil, fmt.Errorf("commit: transaction: %w", err)
	}
	return t, nil
}

func (t *Transaction) list() string                   { return t.name + "/list" }
func (t *Transaction) vote(participant string) string { return t.name + "/vote/" + participant }

// check returns an error if the name of a participant can't be one.
func (t *Transaction) check(participant string) error {
	err := paxos.CheckInstance(t.vote(participant))
	if err == nil && (participant == "" || strings.Contains(participant, "/")) {
		err = paxos.ErrName
	}
	if err != nil {
		return fmt.Errorf("commit: participant %q: %w", participant, err)
	}
	return nil
}

// Begin decides the participants, once. It returns nil if they are those, in any order, whoever began. Their names have no "/"
// and no control characters. It wraps [ErrParticipants] if others were decided, and [ErrAborted] if a Finish came first. The
// other errors are those of Propose. After one with [paxos.Unknown] true, call Begin again.
func (t *Transaction) Begin(ctx context.Context, participants ...string) error {
	names := slices.Sorted(slices.Values(participants))
	if n := len(slices.Compact(slices.Clone(names))); n != len(names) || n == 0 || n > MaxParticipants {
		return fmt.Errorf("commit: %d participants, %d of them different, want 1 to %d: %w", len(names), n, MaxParticipants, ErrParticipants)
	}
	for _, p := range names {
		if err := t.check(p); err != nil {
			return err
		}
	}
	d, err := t.on.Propose(ctx, t.list(), encodeList(names))
	if err != nil {
		return err
	}
	decided, err := decodeList(d)
	switch {
	case err != nil:
		return lost(t.list(), err)
	case decided == nil:
		return lost(t.list(), ErrAborted)
	case !slices.Equal(decided, names):
		return lost(t.list(), fmt.Errorf("%q: %w", decided, ErrParticipants))
	}
	return nil
}

// Prepare says that the participant has prepared: it can commit its part at any time from now on, also after a crash. So it
// has saved all that it needs for that before.
//
// with says what it has prepared, or which process it is. It may be empty if only one process ever is this participant. It is
// compared byte by byte: if another process has prepared as this participant with other bytes, the error wraps [ErrOther].
//
// The error wraps [ErrAborted] if the participant was aborted before, [ErrNotBegun] if the list of participants is not
// decided, and [ErrParticipants] if the participant is not in it. Other errors are those of Propose. A repeated Prepare gets the
// same result.
func (t *Transaction) Prepare(ctx context.Context, participant string, with paxos.Value) error {
	v, err := t.propose(ctx, participant, encodeVote(Vote{State: Prepared, With: with}))
	switch {
	case err != nil:
		return err
	case v.State == Aborted:
		return lost(t.vote(participant), ErrAborted)
	case v.With != with:
		return lost(t.vote(participant), ErrOther)
	}
	return nil
}

// Refuse says that the participant does not take part, and so aborts the transaction. Anybody may refuse for anybody. It returns
// what is decided for the participant: Aborted, or Prepared if that came first. Its errors are those of Prepare.
func (t *Transaction) Refuse(ctx context.Context, participant string) (State, error) {
	v, err := t.propose(ctx, participant, encodeVote(Vote{State: Aborted}))
	return v.State, err
}

// propose offers a vote of a participant that is in the list, and returns the one that was decided.
func (t *Transaction) propose(ctx context.Context, participant string, v paxos.Value) (Vote, error) {
	if err := t.check(participant); err != nil {
		return Vote{}, err
	}
	d, ok, err := t.on.Read(ctx, t.list())
	if err != nil {
		return Vote{}, err
	}
	if !ok {
		return Vote{}, lost(t.list(), ErrNotBegun)
	}
	switch names, err := decodeList(d); {
	case err != nil:
		return Vote{}, lost(t.list(), err)
	case names == nil:
		return Vote{}, lost(t.list(), ErrAborted)
	case !slices.Contains(names, participant):
		return Vote{}, lost(t.list(), fmt.Errorf("%q is not in %q: %w", participant, names, ErrParticipants))
	}
	if d, err = t.on.Propose(ctx, t.vote(participant), v); err != nil {
		return Vote{}, err
	}
	decided, err := decodeVote(d, participant)
	if err != nil {
		return Vote{}, lost(d.Instance, err)
	}
	return decided, nil
}

// lost returns the error of a call that had no effect and never will: something else is decided in the instance.
func lost(instance string, err error) error {
	return &paxos.OpError{Op: "commit", Instance: instance, Err: err, Unsent: true}
}

// Outcome returns the outcome, if there was one when the call began. Else its State is Pending. It proposes nothing. Its errors are
// those of Read.
func (t *Transaction) Outcome(ctx context.Context) (Outcome, error) {
	return t.learn(ctx, func(ctx context.Context, instance string, _ paxos.Value) (d paxos.Decision, ok bool, err error) {
		return t.on.Read(ctx, instance)
	})
}

// Wait returns the outcome as soon as there is one. It proposes nothing, and so may wait for a silent participant until ctx ends.
// Then call [Transaction.Finish]. Its errors are those of Wait.
func (t *Transaction) Wait(ctx context.Context) (Outcome, error) {
	return t.learn(ctx, func(ctx context.Context, instance string, _ paxos.Value) (d paxos.Decision, ok bool, err error) {
		d, err = t.on.Wait(ctx, instance)
		return d, err == nil, err
	})
}

// Finish brings about an outcome: it aborts each participant that has not prepared, or the list if that is not decided. It
// returns Committed if all had prepared. Any process may call it, at any time and more than once. Its errors are those of Propose.
// After an error, call it again.
func (t *Transaction) Finish(ctx context.Context) (Outcome, error) {
	return t.learn(ctx, func(ctx context.Context, instance string, abort paxos.Value) (d paxos.Decision, ok bool, err error) {
		d, err = t.on.Propose(ctx, instance, abort)
		return d, err == nil, err
	})
}

// WaitThenFinish waits for the outcome for the given time, and then calls [Transaction.Finish].
func (t *Transaction) WaitThenFinish(ctx context.Context, patience time.Duration) (Outcome, error) {
	waiting, stop := context.WithTimeout(ctx, patience)
	defer stop()
	if o, err := t.Wait(waiting); err == nil {
		return o, nil
	}
	return t.Finish(ctx)
}

// An ask asks for the decision of an instance. abort is what to propose there, if the ask proposes.
type ask func(ctx context.Context, instance string, abort paxos.Value) (d paxos.Decision, ok bool, err error)

// learn asks for the list, and for all votes at the same time. It ends as soon as one of them is aborted.
func (t *Transaction) learn(ctx context.Context, ask ask) (Outcome, error) {
	d, ok, err := ask(ctx, t.list(), encodeList(nil))
	if err != nil || !ok {
		return Outcome{}, err
	}
	names, err := decodeList(d)
	if err != nil {
		return Outcome{}, err
	}
	if names == nil {
		return Outcome{State: Aborted}, nil
	}
	votes, err := t.votes(ctx, names, ask)
	o := Outcome{State: Committed, Votes: votes}
	for _, v := range votes {
		switch {
		case v.State == Aborted:
			o.State = Aborted
			return o, nil // whatever the errors of the others were
		case v.State != Prepared:
			o.State = Pending
		}
	}
	if err != nil {
		return Outcome{}, err
	}
	return o, nil
}

// votes asks for all votes at the same time. An error is one of several.
func (t *Transaction) votes(ctx context.Context, names []string, ask ask) ([]Vote, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	votes, errs := make([]Vote, len(names)), make([]error, len(names))
	var asking sync.WaitGroup
	for i, name := range names {
		votes[i].Participant = name
		asking.Go(func() {
			d, ok, err := ask(ctx, t.vote(name), encodeVote(Vote{State: Aborted}))
			if err != nil || !ok {
				errs[i] = err
				return
			}
			v, err := decodeVote(d, name)
			if err != nil {
				errs[i] = err
				return
			}
			if votes[i] = v; v.State == Aborted {
				stop() // the others change nothing
			}
		})
	}
	asking.Wait()
	for _, err := range errs {
		if err != nil {
			return votes, err
		}
	}
	return votes, nil
}
