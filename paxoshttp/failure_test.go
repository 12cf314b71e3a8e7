package paxoshttp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// TestErrorsCross: an error is on the other side as it was: its text, what it wraps, how far the call came, and whether it is Unknown.
func TestErrorsCross(t *testing.T) {
	cross := func(err error) *paxos.OpError {
		t.Helper()
		f := newFailure(err, paxos.Unknown(err))
		var same failure
		require.NoError(t, json.Unmarshal(encode(f), &same))
		require.Equal(t, f, same)
		return same.opError("propose", "a", "http://one", f.Code.Status())
	}
	for _, k := range kinds {
		if k.err == nil {
			continue
		}
		for _, unsent := range []bool{false, true} {
			err := &paxos.OpError{Op: "propose", Instance: "a", Phase: "accept", Ballot: paxos.Ballot{Round: 2, Server: 1}, Answered: []paxos.ServerID{1, 2}, Refused: []paxos.ServerID{2},
				Silent: []paxos.ServerID{3}, Quorum: "majority(3) needs 2", Storage: 3 * time.Second, Err: fmt.Errorf("so: %w", k.err), Unsent: unsent}
			got := cross(err)
			assert.Equal(t, err.Error(), got.Error(), k.code)
			require.ErrorIs(t, got, k.err)
			assert.Equal(t, unsent, !paxos.Unknown(got))
			var refused *ServerError
			require.ErrorAs(t, got, &refused)
			assert.Equal(t, ServerError{URL: "http://one", Status: k.status, Code: k.code, Text: "so: " + k.err.Error(), kind: k.err}, *refused)
			got.Err, err.Err = nil, nil
			assert.Equal(t, err, got)
		}
	}
	for _, names := range []paxos.NameRange{paxos.Prefix("job/"), paxos.OneName("a"), paxos.Prefix(""), {From: "\xff", To: "\xff\xff"}} {
		err := cross(&paxos.OpError{Op: "propose", Instance: "a", Err: &paxos.ForgottenError{Names: names}})
		var forgotten *paxos.ForgottenError
		require.ErrorAs(t, err, &forgotten)
		assert.Equal(t, names, forgotten.Names)
		assert.ErrorIs(t, err, paxos.ErrForgotten)
	}
	proof := &paxos.SafetyError{Instance: "a", Ballot: paxos.Ballot{Round: 7, Server: 2}, Values: [2]paxos.Value{"x", "\xff"}, Server: 3, Reason: "two values"}
	err := cross(&paxos.OpError{Op: "propose", Instance: "a", Err: proof})
	var broken *paxos.SafetyError
	require.ErrorAs(t, err, &broken)
	assert.Equal(t, proof, broken)
	assert.Equal(t, "paxos: propose \"a\": the disk failed", cross(&paxos.OpError{Op: "propose", Instance: "a", Err: errors.New("the disk failed")}).Error())
}

// TestCodes: each code has a status and stands once in the list, and errors have the code that says most.
func TestCodes(t *testing.T) {
	seen := map[Code]bool{}
	for _, k := range kinds {
		assert.False(t, seen[k.code], k.code)
		seen[k.code] = true
		assert.Equal(t, k.status, k.code.Status())
		assert.True(t, k.code.known())
		assert.Equal(t, k.err, k.code.err())
		if k.err != nil {
			assert.Equal(t, k.code, codeOf(&paxos.OpError{Err: fmt.Errorf("so: %w", k.err)}))
		}
	}
	assert.Equal(t, 500, Code("other").Status())
	assert.False(t, Code("other").known())
	assert.Nil(t, Code("other").err())
	assert.Equal(t, CodeInternal, codeOf(errors.New("disk")))
	assert.Equal(t, CodeName, codeOf(fmt.Errorf("%w: %w", paxos.ErrTooLarge, paxos.ErrName)), "of a name that is too long")
	assert.Equal(t, CodeClosed, codeOf(fmt.Errorf("%w: %w", paxos.ErrClosed, context.Canceled)))
}
