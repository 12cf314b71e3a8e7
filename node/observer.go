package node

import (
	"context"
	"errors"
	"time"

	"github.com/singledecree/paxos"
)

// An Observer gets the durations of a Node's work, for histograms and spans. Its methods are called from many goroutines at a time. None
// may call [Node.Close], and each should return within microseconds.
//
// No method of an Observer delays another caller, a Save or a packet. While RoundTrip or Save is slow, the server goes on, and tells the
// Observer fewer of them.
type Observer interface {
	// Call is told of a call that has ended. It runs in the goroutine of the caller, before the call returns, and gets the context of the
	// caller. So the call returns later if Call is slow, and a panic in Call is the caller's.
	Call(ctx context.Context, c Call)
	// Save is told of a Save of the storage, and RoundTrip of a round trip to a quorum. They run in one goroutine of the Node, one at a
	// time and up to 100 ms late. In 100 ms they are told of the first 4,096 Saves and the first 256 round trips: enough for a distribution.
	// [paxos.Counters] count all of them. Saves of a [paxos.InstantStorage] are not told.
	Save(s Save)
	RoundTrip(r paxos.RoundTrip)
}

// A Call is a call of a Node that has ended: Propose, Read, Wait, Peek, Ready, Forget, Change or Settled.
type Call struct {
	Op       string // the name of the call in an [paxos.OpError]: "propose", "read" and so on
	Instance string // empty: the call is about none. It is no label for metrics, because there is no end of names
	Outcome  Outcome
	Began    time.Time
	Duration time.Duration
	Err      error // the error that the call returns
}

// A Save is a Save of the storage that has ended.
type Save struct {
	Duration time.Duration
	Records  int
	Bytes    int   // of the names and values in these records
	Err      error // the error of the storage; the server stops then
}

// An Outcome says in a word how a call ended. There are ten, so it serves as a label of metrics.
type Outcome string

// The outcomes of calls.
const (
	OutcomeOK        Outcome = "ok"        // without an error
	OutcomeTimeout   Outcome = "timeout"   // the deadline of its context
	OutcomeCanceled  Outcome = "canceled"  // its context ended in another way
	OutcomeBusy      Outcome = "busy"      // [paxos.ErrBusy]
	OutcomeForgotten Outcome = "forgotten" // [paxos.ErrForgotten]
	OutcomeConflict  Outcome = "conflict"  // [paxos.ErrConflict]
	OutcomeRefused   Outcome = "refused"   // the caller asked for what can't be: a bad name, a value that is too large, members that are not ready
	OutcomeClosed    Outcome = "closed"    // the server has stopped, or is no member any more
	OutcomeBroken    Outcome = "broken"    // a [paxos.SafetyError]: some server broke the protocol
	OutcomeFailed    Outcome = "failed"    // any other error, such as one of the storage
)

// OutcomeOf returns the outcome of a call that returned err.
func OutcomeOf(err error) Outcome {
	if err == nil {
		return OutcomeOK
	}
	var broken *paxos.SafetyError
	switch {
	case errors.As(err, &broken):
		return OutcomeBroken
	case errors.Is(err, paxos.ErrClosed), errors.Is(err, paxos.ErrNotMember):
		return OutcomeClosed
	case errors.Is(err, paxos.ErrBusy):
		return OutcomeBusy
	case errors.Is(err, paxos.ErrForgotten):
		return OutcomeForgotten
	case errors.Is(err, paxos.ErrConflict):
		return OutcomeConflict
	case errors.Is(err, paxos.ErrName), errors.Is(err, paxos.ErrTooLarge), errors.Is(err, paxos.ErrNotReady):
		return OutcomeRefused
	case errors.Is(err, context.DeadlineExceeded):
		return OutcomeTimeout
	case errors.Is(err, context.Canceled):
		return OutcomeCanceled
	}
	return OutcomeFailed
}
