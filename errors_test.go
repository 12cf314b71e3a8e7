package paxos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestOpErrorText(t *testing.T) {
	for _, c := range []struct {
		name string
		err  OpError
		want string
	}{
		{"no quorum, in full", OpError{Op: "propose", Instance: "lunch", Phase: "prepare", Ballot: Ballot{1, 1},
			Answered: []ServerID{1}, Silent: []ServerID{2, 3}, Quorum: QuorumNeeds(Majority(3), false), Err: context.DeadlineExceeded},
			`paxos: propose "lunch": no quorum in prepare: 1 of 3 acceptors answered, majority(3) needs 2 (silent: 2, 3): context deadline exceeded`},
		{"refused and silent", OpError{Op: "propose", Instance: "lunch", Phase: "accept",
			Answered: []ServerID{1, 4}, Refused: []ServerID{4}, Silent: []ServerID{9}, Quorum: QuorumNeeds(Majority(3), true), Err: context.Canceled},
			`paxos: propose "lunch": no quorum in accept: 2 of 3 acceptors answered, majority(3) needs 2 (refused: 4; silent: 9): context canceled`},
		{"nobody is missing", OpError{Op: "read", Instance: "lunch", Phase: "query",
			Answered: []ServerID{1, 2}, Quorum: "q", Err: ErrRounds},
			`paxos: read "lunch": no rounds are left (in query: 2 of 2 acceptors answered, q)`},
		{"the cause comes first", OpError{Op: "propose", Instance: "lunch", Phase: "prepare",
			Answered: []ServerID{1, 4}, Refused: []ServerID{4}, Silent: []ServerID{9}, Quorum: QuorumNeeds(Majority(3), false), Err: fmt.Errorf("storage: %w", io.ErrShortWrite)},
			`paxos: propose "lunch": storage: short write (in prepare: 2 of 3 acceptors answered, majority(3) needs 2; refused: 4; silent: 9)`},
		{"an end of the context with a cause", OpError{Op: "propose", Instance: "lunch", Phase: "prepare",
			Silent: []ServerID{1}, Quorum: "q", Err: fmt.Errorf("%w: %w", context.Canceled, io.EOF)},
			`paxos: propose "lunch": no quorum in prepare: 0 of 1 acceptors answered, q (silent: 1): context canceled: EOF`},
		{"no cause", OpError{Op: "propose", Instance: "lunch", Phase: "prepare", Silent: []ServerID{1}, Quorum: "q"},
			`paxos: propose "lunch": no quorum in prepare: 0 of 1 acceptors answered, q (silent: 1)`},
		{"it had not begun", OpError{Op: "propose", Instance: "lunch", Err: ErrBusy},
			`paxos: propose "lunch": too many calls or instances are open`},
		{"no instance", OpError{Op: "ready", Err: ErrClosed}, `paxos: ready: server is closed`},
		{"a name that needs quotes", OpError{Op: "wait", Instance: "a \"b\"\u00a0c", Err: ErrForgotten},
			`paxos: wait "a \"b\"\u00a0c": instance is forgotten`},
	} {
		t.Run(c.name, func(t *testing.T) { assert.EqualError(t, &c.err, c.want) })
	}
}

func TestSafetyErrorText(t *testing.T) {
	long := Value(strings.Repeat("x", 65))
	for _, c := range []struct {
		name string
		err  SafetyError
		want string
	}{
		{"all fields", SafetyError{Instance: "lunch", Ballot: Ballot{2, 1}, Values: [2]Value{"burger", "pizza"}, Server: 3,
			Reason: "two values were chosen"},
			`paxos: protocol broken in "lunch", ballot 2.1: two values were chosen: "burger" and "pizza" (said by server 3)`},
		{"the fewest", SafetyError{Reason: "a vote too early"}, `paxos: protocol broken, ballot -: a vote too early`},
		{"against the empty value", SafetyError{Ballot: Ballot{2, 1}, Values: [2]Value{"", "pizza"}, Reason: "two values"},
			`paxos: protocol broken, ballot 2.1: two values: "" and "pizza"`},
		{"bytes that are no text", SafetyError{Ballot: Ballot{2, 1}, Values: [2]Value{"\x00\xff", "\n"}, Reason: "two values"},
			`paxos: protocol broken, ballot 2.1: two values: "\x00\xff" and "\n"`},
		{"a long value is cut", SafetyError{Ballot: Ballot{2, 1}, Values: [2]Value{long, long[:64]}, Reason: "two values"},
			`paxos: protocol broken, ballot 2.1: two values: "` + string(long[:64]) + `"… (65 bytes) and "` + string(long[:64]) + `"`},
	} {
		t.Run(c.name, func(t *testing.T) { assert.EqualError(t, &c.err, c.want) })
	}
}

// The text that a user sees for the faults that the roles find themselves.
func TestSafetyErrorsOfTheRolesRead(t *testing.T) {
	voted := Acceptor{Ballot{2, 1}, Ballot{2, 1}, "burger"}
	_, _, err := voted.Step(Message{Kind: KindAccept, Instance: "lunch", Ballot: Ballot{2, 1}, Value: "pizza"})
	assert.EqualError(t, err, `paxos: protocol broken in "lunch", ballot 2.1: `+
		`an acceptor was asked to accept two values in one ballot: "burger" and "pizza"`)

	p := NewProposer(Ballot{2, 1}, "own", Majority(3))
	_, _, err = p.Step(0, Message{Kind: KindAccepted, Instance: "lunch", Ballot: Ballot{2, 1}})
	assert.EqualError(t, err, `paxos: protocol broken in "lunch", ballot 2.1: `+
		`an acceptor voted in a ballot before any value was asked for`)

	l, err := NewLearner(Majority(3)).Step(0, Ballot{2, 1}, "burger")
	require.NoError(t, err)
	_, err = l.Step(1, Ballot{2, 1}, "pizza")
	assert.EqualError(t, err, `paxos: protocol broken, ballot 2.1: `+
		`two acceptors voted for different values in one ballot: "burger" and "pizza"`)
}

func TestOpErrorUnwraps(t *testing.T) {
	causes := []error{ErrClosed, ErrBusy, ErrTooLarge, ErrForgotten, ErrRounds, ErrName, ErrIndex, context.DeadlineExceeded, io.ErrShortWrite}
	for _, cause := range causes {
		err := fmt.Errorf("booking: %w", &OpError{Op: "propose", Instance: "lunch", Err: fmt.Errorf("because: %w", cause)})
		assert.ErrorIs(t, err, cause)
		assert.NotErrorIs(t, err, io.EOF)
		var op *OpError
		require.ErrorAs(t, err, &op)
		assert.Equal(t, "lunch", op.Instance)
		assert.ErrorIs(t, errors.Unwrap(op), cause)
	}
	err := error(&OpError{Op: "propose", Err: &SafetyError{Ballot: Ballot{2, 1}, Reason: "two values"}})
	var broken *SafetyError
	require.ErrorAs(t, err, &broken)
	assert.Equal(t, Ballot{2, 1}, broken.Ballot)
	assert.NotErrorAs(t, error(&OpError{Op: "propose", Err: ErrBusy}), &broken)
}

func TestUnknown(t *testing.T) {
	safe, exposed := &OpError{Op: "propose", Err: ErrBusy, Unsent: true}, &OpError{Op: "propose", Err: ErrBusy}
	assert.False(t, safe.Unknown())
	assert.True(t, exposed.Unknown())
	for _, c := range []struct {
		name string
		err  error
		want bool
	}{
		{"nil", nil, false},
		{"a call whose value never left", safe, false},
		{"the same, wrapped", fmt.Errorf("booking: %w", safe), false},
		{"a call whose value left", exposed, true},
		{"the same, wrapped", fmt.Errorf("booking: %w", exposed), true},
		{"the same, joined", errors.Join(io.EOF, exposed), true},
		{"a foreign error", io.EOF, true},
		{"the bare cause of an OpError", ErrBusy, true},
		{"the end of a context", context.DeadlineExceeded, true},
		{"a SafetyError", &SafetyError{}, true},
	} {
		t.Run(c.name, func(t *testing.T) { assert.Equal(t, c.want, Unknown(c.err)) })
	}
}
