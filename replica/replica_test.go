package replica

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/singledecree/paxos"
)

func TestReplicaUncontendedDecisionCosts(t *testing.T) {
	p := newPumpOf(t, 3)
	p.replicas[1].Propose(p.now, 1, "lunch", "burger")
	p.run()
	assert.Equal(t, paxos.Value("burger"), p.value(1))
	for _, k := range []paxos.Kind{paxos.KindPrepare, paxos.KindPromise, paxos.KindAccept, paxos.KindAccepted, paxos.KindChosen} {
		assert.Equal(t, 2, p.count(k), "messages of kind %v", k)
	}
	assert.Len(t, p.sent, 10, "and nothing else")
	assert.Equal(t, map[paxos.ServerID]int{1: 2, 2: 2, 3: 2}, p.saves, "2 saves in series")
	p.pass(lazySave)
	assert.Equal(t, map[paxos.ServerID]int{1: 3, 2: 3, 3: 3}, p.saves, "the record of the decision needs none, but is saved soon")
	for id := paxos.ServerID(1); id <= 3; id++ {
		assert.True(t, p.records[id]["lunch"].Chosen)
		assert.Equal(t, uint64(1), p.records[id]["lunch"].Index)
	}
	assert.Len(t, p.sent, 10)
}

// TestMain fails the package if a test leaves a goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Status lists what is open, the oldest first, and no more than a thousand of it.
func TestReplicaStatusOfOpenInstances(t *testing.T) {
	p := newSolo(t, 3)
	for i := range 1500 {
		p.now += time.Millisecond
		p.hear(1, 2, msg(t, fmt.Sprintf(`accept 3.2 "v" @job/%04d`, 1499-i)))
	}
	s := p.replicas[1].Status(p.now)
	assert.Equal(t, 1500, s.Open)
	require.Len(t, s.Instances, 1000)
	for i, open := range s.Instances {
		require.Equal(t, paxos.OpenInstance{Instance: fmt.Sprintf("job/%04d", 1499-i), Age: time.Duration(1499-i) * time.Millisecond, Ballot: paxos.Ballot{Round: 3, Server: 2}}, open)
	}
	p.hear(1, 2, msg(t, `decided 3.2 "v" @job/1499`))
	assert.Equal(t, "job/1498", p.replicas[1].Status(p.now).Instances[0].Instance)
	p.ready(1, 1)
	p.propose(1, 2, "mine", "v")
	p.propose(1, 3, "mine", "w")
	s = p.replicas[1].Status(p.now)
	assert.Equal(t, 3, s.Calls)
	assert.Equal(t, 1500, s.Open-1, "the question of Ready is in memory, too, and is no instance of anybody's")
	for _, open := range s.Instances {
		require.NotEqual(t, readyName, open.Instance)
	}
}

// Of many that are open the oldest are found without a list of all, in whatever order they are looked at.
func TestReplicaStatusListsNoMoreThanItShows(t *testing.T) {
	const many = 20_000
	src := rand.New(rand.NewPCG(1, 1))
	for name, age := range map[string]func(i int) int{
		"any order": func(int) int { return src.IntN(many / 4) }, "the oldest last": func(i int) int { return i }, "the oldest first": func(i int) int { return -i },
	} {
		l, all := openList{most: 1000}, []paxos.OpenInstance{}
		for i := range many {
			o := paxos.OpenInstance{Instance: fmt.Sprint("job/", i), Age: time.Duration(age(i))}
			all = append(all, o)
			l.add(o)
			require.LessOrEqual(t, len(l.all), 2000, name)
		}
		l.trim()
		slices.SortFunc(all, olderFirst)
		assert.Equal(t, all[:1000], l.all, name)
	}
}

// NoQuorum begins when an attempt, or a question that a caller waits for, has been without a quorum for a while, and ends with
// the next that has one; not with a caller who gives up.
func TestReplicaStatusOfTheQuorum(t *testing.T) {
	p := newSolo(t, 3)
	lost := func() time.Duration { return p.replicas[1].Status(p.now).NoQuorum }
	p.propose(1, 1, "job", "v")
	p.pass(100 * time.Millisecond)
	assert.Zero(t, lost(), "the answers may be on their way")
	p.pass(time.Minute)
	assert.InDelta(t, time.Minute.Seconds(), lost().Seconds(), 1)
	p.replicas[1].Cancel(p.now, 1)
	p.run()
	p.pass(time.Minute)
	assert.InDelta(t, 2*time.Minute.Seconds(), lost().Seconds(), 1, "nothing has changed")
	p.ready(1, 2)
	answer(p, 2, p.replicas[1].table.byName[readyName].asking.ballot.Round)
	assert.Contains(t, p.done, CallID(2))
	assert.Zero(t, lost())
	p.read(1, 3, "other")
	p.pass(time.Minute)
	assert.InDelta(t, time.Minute.Seconds(), lost().Seconds(), 2, "questions without an answer, too")
	changes := p.replicas[1].quorums.changes
	for call := range CallID(20) {
		p.propose(1, 10+call, fmt.Sprint("x", call), "v")
		p.pass(5 * time.Second)
		p.replicas[1].Cancel(p.now, 10+call)
		p.run()
	}
	assert.Equal(t, changes, p.replicas[1].quorums.changes, "one loss, however many calls time out")
}

// A proof that the protocol was broken stays in the Status for as long as the process runs, the last 16 of them, whatever becomes of the
// instance and of who looks.
func TestReplicaStatusOfABrokenProtocol(t *testing.T) {
	p := newSolo(t, 3)
	assert.Empty(t, p.replicas[1].Status(p.now).Broken)
	for i := range maxBroken + 4 {
		p.hear(1, 2, msg(t, fmt.Sprintf(`decided 3.2 "v" @job/%d`, i)))
		p.hear(1, 3, msg(t, fmt.Sprintf(`decided 4.3 "w" @job/%d`, i)))
		p.pass(time.Hour)
		s := p.replicas[1].Status(p.now)
		require.Len(t, s.Broken, min(i+1, maxBroken))
		last := s.Broken[len(s.Broken)-1]
		assert.Equal(t, fmt.Sprint("job/", i), last.Instance)
		assert.Equal(t, paxos.ServerID(3), last.Server)
		clear(s.Broken) // it is the caller's
	}
	s := p.replicas[1].Status(p.now)
	assert.Equal(t, "job/4", s.Broken[0].Instance)
	assert.Equal(t, uint64(maxBroken+4), s.Counters.Faults)
}
