package paxos

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// The errors that a call can wrap, for [errors.Is].
//
// Every error of node.Start, and of a call on a Node or a Replica, is an [*OpError]. It wraps one of these errors, a
// [*SafetyError], the error of the storage, or the cause of the end of the context. The error of node.Start may also wrap
// one that names a wrong field of its Config.
var (
	ErrClosed   = errors.New("server is closed")
	ErrBusy     = errors.New("too many calls or instances are open")
	ErrTooLarge = errors.New("too large")
	// ErrForgotten: the instance is forgotten, for ever. The error is a [*ForgottenError], which says which names are.
	ErrForgotten = errors.New("instance is forgotten")
	ErrRounds    = errors.New("no rounds are left")
	// ErrNotMember: this server is no member of the cluster any more. The error names the configuration that left it out.
	ErrNotMember = errors.New("server is not a member any more")
	// ErrConflict: another change of members was decided than the one that was asked for.
	ErrConflict = errors.New("another change of members was decided")
	// ErrNotReady: a change of members was refused, because no quorum of the new members is here. The error names what they lack.
	ErrNotReady = errors.New("the new members are not ready")
	// ErrName: the name of an instance is not valid. The error says why. See [MaxName].
	ErrName = errors.New("not a valid name")
	// ErrNewer: a newer version of this package has written these bytes. A method UnmarshalBinary returns it, and says which
	// format version it met.
	ErrNewer = errors.New("a newer version has written it")
	// ErrIndex: Decisions was asked to go on after an Index that this storage has never given.
	ErrIndex = errors.New("not an Index of this storage")
	// ErrDecode: a decided value is not one of the type that the caller asked for. See [TypedOf].
	ErrDecode = errors.New("value can't be decoded")
)

// An OpError says how a call failed: which acceptors answered, which were silent, and how many were needed. Its text is like
// this:
//
//	paxos: propose "lunch": no quorum in prepare: 1 of 3 acceptors answered, majority(3) needs 2 (silent: 2, 3): context deadline exceeded
//
// If another cause than its context ended the call, the text has that cause first:
//
//	paxos: propose "lunch": storage: input/output error (in prepare: 1 of 3 acceptors answered, majority(3) needs 2; silent: 2, 3)
type OpError struct {
	Op       string     // "start", "propose", "read", "wait", "peek", "ready", "status", "decisions", "mint", "forget", "decode"
	Instance string     // empty: none
	Phase    string     // "prepare", "accept", "query", "forget", "backoff", "forward" or "load": where the call was; empty: it had not begun
	Ballot   Ballot     // the ballot of the last attempt; zero: none
	Answered []ServerID // acceptors that answered the phase, this server included
	Refused  []ServerID // the acceptors in Answered that refused
	Silent   []ServerID // acceptors that did not answer
	Quorum   string     // the answers that the phase needs, in words: "majority(3) needs 2"
	Err      error      // why the call ended
	// Storage is the time for which this server's own storage has not answered the call: the Load of its instance, or the Save
	// of the own vote. 0: the call waits for neither, or for no longer than Timing.Phase.
	Storage time.Duration

	// Unsent reports that no value of this call has left this server. That is certain then: see [OpError.Unknown].
	Unsent bool
}

// Error returns the text that is shown at [OpError].
func (e *OpError) Error() string {
	var b strings.Builder
	b.WriteString("paxos: " + e.Op)
	if e.Instance != "" {
		fmt.Fprintf(&b, " %q", e.Instance)
	}
	if e.Storage > 0 {
		fmt.Fprintf(&b, ": this server's storage has not answered for %v", e.Storage.Round(time.Millisecond))
	}
	cause := ""
	if e.Err != nil {
		cause = ": " + strings.TrimPrefix(e.Err.Error(), "paxos: ")
	}
	total := len(e.Answered) + len(e.Silent)
	if total == 0 {
		return b.String() + cause
	}
	progress := fmt.Sprintf("in %s: %d of %d acceptors answered, %s", e.Phase, len(e.Answered), total, e.Quorum)
	var who []string
	if len(e.Refused) > 0 {
		who = append(who, "refused: "+listIDs(e.Refused))
	}
	if len(e.Silent) > 0 {
		who = append(who, "silent: "+listIDs(e.Silent))
	}
	switch {
	case cause != "" && !errors.Is(e.Err, context.Canceled) && !errors.Is(e.Err, context.DeadlineExceeded):
		// Silent acceptors are not the reason why the call ended.
		return b.String() + cause + " (" + strings.Join(append([]string{progress}, who...), "; ") + ")"
	case len(who) > 0:
		progress += " (" + strings.Join(who, "; ") + ")"
	}
	return b.String() + ": no quorum " + progress + cause
}

// Unwrap returns Err.
func (e *OpError) Unwrap() error { return e.Err }

// Unknown reports whether the value of the call may still be chosen, or may have been chosen already. If it is false, one
// thing is certain: this call handed its value to no acceptor and no transport, as a hint or in an Accept. An earlier call
// that offered the same bytes is another matter.
func (e *OpError) Unknown() bool { return !e.Unsent }

// Unknown reports whether a call that failed with err may have had an effect. It is false for nil. For an [*OpError] it is
// [OpError.Unknown], and for any other error it is true.
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

// A SafetyError is the proof that some server broke the protocol: it forgot a promise, used a ballot twice, or invented a
// message. The instance that it names has stopped on this server, because a decision there can no longer be trusted.
type SafetyError struct {
	Instance string
	Ballot   Ballot
	Values   [2]Value // the contradiction, where there is one
	Server   ServerID // the sender of the message that proves it; zero: not known
	Reason   string
}

// Error names the instance, the ballot, the values and the server that said so. It shortens long values.
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

// quoteShort quotes v for people. It cuts v to the length of a line.
func quoteShort(v Value) string {
	const most = 64
	if len(v) <= most {
		return fmt.Sprintf("%q", string(v))
	}
	return fmt.Sprintf("%q… (%d bytes)", string(v[:most]), len(v))
}

// clip cuts words from a peer to the length of a log line, and removes line ends and other control characters.
func clip(s string) string {
	const most = 512
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(s[:min(len(s), most)], "?"))
}
