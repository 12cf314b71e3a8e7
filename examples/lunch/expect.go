package main

import (
	"errors"
	"slices"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/paxostest"
)

// sentExactly reports whether as many messages were sent as counts says, of each kind, and none of any other.
func (st *stage) sentExactly(counts map[paxos.Kind]int) bool {
	all := 0
	for kind, n := range counts {
		if st.Sent(paxostest.Match{Kind: kind}) != n {
			return false
		}
		all += n
	}
	return st.Sent(paxostest.Match{}) == all
}

// expectNoneToSelf notes that no server sent itself a message.
func (st *stage) expectNoneToSelf() {
	none := true
	for _, e := range st.Log() {
		none = none && (e.Kind != paxos.EventSend || e.Server != e.Peer)
	}
	st.expect("no server sent itself a message", none)
}

// expectSilent notes the error of a call, which must name those servers as silent in that phase.
func (st *stage) expectSilent(c *paxostest.Call, phase string, silent ...paxos.ServerID) {
	var op *paxos.OpError
	st.expect(c.String(), errors.As(c.Err, &op) && op.Phase == phase && slices.Equal(op.Silent, silent) &&
		slices.Equal(op.Answered, []paxos.ServerID{1}))
}

// expectUndecided notes that no server learned anything.
func (st *stage) expectUndecided() {
	learned := 0
	for _, id := range st.Servers() {
		if _, ok := st.Learned(id, lunch); ok {
			learned++
		}
	}
	st.expect("nothing is decided", learned == 0 && st.Sent(paxostest.Match{Kind: paxos.KindChosen}) == 0)
}
