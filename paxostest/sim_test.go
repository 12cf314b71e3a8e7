package paxostest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/singledecree/paxos"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestPanicsUnlessToldOtherwise: a broken Sim can't be overlooked.
func TestPanicsUnlessToldOtherwise(t *testing.T) {
	w := NewSim(SimConfig{})
	w.Crash(2)
	assert.Panics(t, func() { w.Crash(2) })

	var failure error
	w = NewSim(SimConfig{Fail: func(err error) { failure = err }})
	w.Propose(1, "lunch", "burger")
	w.Until("the sky falls", func() bool { return false })
	require.ErrorContains(t, failure, "never came to this: the sky falls")
	require.ErrorContains(t, failure, `3: learns "burger"`, "the end of the log helps")
	require.Error(t, w.Err())
	now := w.Now()
	w.Propose(1, "dinner", "soup")
	w.RunFor(0)
	assert.Equal(t, now, w.Now(), "it has stopped for good")
	assert.False(t, w.Step())
}

// TestPacketsStayTogether: messages without interference arrive in the packet in which they left.
func TestPacketsStayTogether(t *testing.T) {
	w := NewSim(SimConfig{})
	w.SaveTime(2, 30*time.Millisecond)
	for _, name := range []string{"a", "b", "c"} {
		w.Propose(1, name, "v")
	}
	w.Run()
	packets := map[uint64]int{}
	for _, e := range w.Log() {
		if e.Kind == paxos.EventReceive && e.Server == 1 && e.Peer == 2 {
			packets[e.Packet]++
		}
	}
	most := 0
	for _, n := range packets {
		most = max(most, n)
	}
	assert.Greater(t, most, 1, "%v", packets)
}

// TestDraw is about what Draw makes of a log; how it looks is package spacetime's.
func TestDraw(t *testing.T) {
	w := NewSim(SimConfig{Servers: 3, Learners: 1})
	w.Inject(2, 1, paxos.Message{Kind: 77, Instance: "lunch", Ballot: paxos.Ballot{Round: 2, Server: 2}})
	burger := w.Propose(1, "lunch", "burger")
	w.RunFor(5 * time.Millisecond)
	w.Pause(3)
	w.Cancel(burger)
	w.Resume(3)
	w.Crash(2)
	w.Restart(2)
	w.Propose(1, "lunch", "burger")
	w.Run()
	drawn := w.Draw()
	for _, part := range []string{"server 4 (learner)", "pauses", "resumes", "crashes", "starts again (boot 2)", "forged: kind(77) 2.2",
		"✗ dropped: its kind is not known", "fails: no quorum in prepare", "propose \"burger\"", "learns \"burger\", returns it"} {
		assert.Contains(t, drawn, part)
	}
	assert.NotContains(t, drawn, "@lunch", "there is one instance only")
	w.Propose(1, "dinner", "soup")
	w.Run()
	assert.Contains(t, w.Draw(), "@dinner")
}

// TestDrawChange: a diagram tells who the acceptors are, and how far a change came. It can do without what goes on all the time.
func TestDrawChange(t *testing.T) {
	w := NewSim(SimConfig{Learners: 1, Timing: paxos.Timing{Pull: 100 * time.Millisecond}})
	w.Propose(2, "lunch", "burger")
	w.RunFor(50 * time.Millisecond)
	change := w.Change(1, paxos.Members{Acceptors: []paxos.ServerID{1, 2, 4}})
	w.Until("the change ends", func() bool { return change.Ended })
	settled := w.Settled(1)
	w.Until("it is settled", func() bool { return settled.Ended && w.StoredState(1).Before == "" })

	assert.Equal(t, "change to {1,2,4} on server 1 returned {1,2,4}, chosen in ballot 1.1", change.String())
	drawn := w.Draw()
	for _, part := range []string{"◆ change to {1,2,4}", "★ learns {1,2,4}, returns it", "sealed", "complete", "settled", "◆ returns", "scan", "open: none",
		"pull", "names: ", "how far the names came"} {
		assert.Contains(t, drawn, part)
	}
	assert.NotContains(t, drawn, "@lunch", "there is one instance only")
	without := w.DrawWithout(paxos.KindPull, paxos.KindNames)
	for _, part := range []string{"pull", "names: ", "how far the names came"} {
		assert.NotContains(t, without, part)
	}
	for _, part := range []string{"sealed", "complete", "settled", "scan"} {
		assert.Contains(t, without, part)
	}
	assert.Equal(t, w.Draw(), w.DrawWithout())
}
