package paxos

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// The errors that a call can wrap, for errors.Is. Every error of a call on a Node or a Replica is an *OpError around one
// of these, around a *SafetyError, around the storage's error, or around the cause of the context's end.
var (
	ErrClosed    = errors.New("server is closed")
	ErrBusy      = errors.New("too many calls or instances are open")
	ErrTooLarge  = errors.New("too large")
	ErrForgotten = errors.New("instance is forgotten")
	ErrRounds    = errors.New("no rounds are left")
)

// errCancelled is what a Replica says of a call that its host cancelled. A Node puts the context's cause in its place.
var errCancelled = context.Canceled

// An OpError says how a call failed: who answered, who was silent, and how many were needed. It reads like
//
//	paxos: propose "lunch": no quorum in prepare: 1 of 3 acceptors answered, majority(3) needs 2 (silent: 2, 3): context deadline exceeded
type OpError struct {
	Op       string     // "propose", "wait", "peek", "ready", "decisions"
	Instance string     // empty: none
	Phase    string     // what the call was in: "prepare", "accept", "query", "backoff", "load"; empty: it had not begun
	Ballot   Ballot     // the attempt that ran last; zero: none
	Answered []ServerID // acceptors that answered the phase, this server included
	Refused  []ServerID // those of them that refused
	Silent   []ServerID // acceptors that did not answer
	Quorum   string     // what the phase wants, in words: "majority(3) needs 2"
	Err      error      // why the call ended

	unsent bool // certain: no value of this call has left
}

// Error reads as shown at OpError.
func (e *OpError) Error() string {
	var b strings.Builder
	b.WriteString("paxos: " + e.Op)
	if e.Instance != "" {
		fmt.Fprintf(&b, " %q", e.Instance)
	}
	if total := len(e.Answered) + len(e.Silent); total > 0 {
		fmt.Fprintf(&b, ": no quorum in %s: %d of %d acceptors answered, %s", e.Phase, len(e.Answered), total, e.Quorum)
		var who []string
		if len(e.Refused) > 0 {
			who = append(who, "refused: "+listIDs(e.Refused))
		}
		if len(e.Silent) > 0 {
			who = append(who, "silent: "+listIDs(e.Silent))
		}
		if len(who) > 0 {
			fmt.Fprintf(&b, " (%s)", strings.Join(who, "; "))
		}
	}
	if e.Err != nil {
		b.WriteString(": " + strings.TrimPrefix(e.Err.Error(), "paxos: "))
	}
	return b.String()
}

// Unwrap returns Err.
func (e *OpError) Unwrap() error { return e.Err }

// Unknown reports whether the call's value may still be chosen, or may have been chosen already. False: it is certain
// that this call's value was never handed to any acceptor or transport, as a hint or in an Accept. An OpError that was made
// outside this package is not certain of anything.
func (e *OpError) Unknown() bool { return !e.unsent }

// unsent returns the error of a call of which nothing has left.
func unsent(o op, instance string, err error) *OpError {
	return &OpError{Op: o.String(), Instance: shownName(instance), Err: err, unsent: true}
}

// Unknown reports whether a call that failed with err may have had an effect. It is false for nil and for an *OpError
// that says so, and true for an error that this package knows nothing of.
func Unknown(err error) bool {
	if err == nil {
		return false
	}
	var op *OpError
	return !errors.As(err, &op) || op.Unknown()
}

func listIDs(ids []ServerID) string {
	s := make([]string, len(ids))
	for i, id := range ids {
		s[i] = fmt.Sprint(uint64(id))
	}
	return strings.Join(s, ", ")
}

// A SafetyError is the proof that some server broke the protocol: it forgot what it had promised, used a ballot twice,
// or invented a message. The instance that it names has stopped on this server, since whatever was decided there can no
// longer be trusted. Nothing is papered over.
type SafetyError struct {
	Instance string
	Ballot   Ballot
	Values   [2]Value // the contradiction, where there is one
	Server   ServerID // who sent the message that proves it; zero: not known
	Reason   string
}

// Error names the instance, the ballot, the values and who said so. It shortens long values.
func (e *SafetyError) Error() string {
	var b strings.Builder
	b.WriteString("paxos: protocol broken")
	if e.Instance != "" {
		fmt.Fprintf(&b, " in %q", e.Instance)
	}
	fmt.Fprintf(&b, ", ballot %s: %s", e.Ballot, e.Reason)
	if e.Values[0] != e.Values[1] {
		fmt.Fprintf(&b, ": %s and %s", quoteShort(e.Values[0]), quoteShort(e.Values[1]))
	}
	if e.Server != 0 {
		fmt.Fprintf(&b, " (said by server %d)", e.Server)
	}
	return b.String()
}

// quoteShort quotes v for people, cut to what fits a line.
func quoteShort(v Value) string {
	const most = 64
	if len(v) <= most {
		return fmt.Sprintf("%q", string(v))
	}
	return fmt.Sprintf("%q… (%d bytes)", string(v[:most]), len(v))
}
