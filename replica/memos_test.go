package replica

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// A ring finds the last so many memos, and no other. It grows, forgets and has gaps, and its numbers begin anew.
func TestMemos(t *testing.T) {
	for _, most := range []int{1, 2, 15, 16, 17, 100, 1000} {
		d := memos{next: memoNumbers - 200}
		d.init()
		var names []string
		for i := range 700 {
			inst := &instance{name: fmt.Sprint("job/", i), index: uint64(i + 1)}
			inst.acceptor.Value = paxos.Value(fmt.Sprint("v", i))
			d.push(inst, most)
			names = append(names, inst.name)
			if i%5 == 3 { // one from the middle, if it is there yet
				if m := d.find(fmt.Sprint("job/", i-i%10)); m != nil {
					number, _ := d.names.Find(m.hash, func(n uint32) bool { return d.at(n) == m })
					names[i-i%10] = ""
					d.forget(number)
				}
			}
			checkDecided(t, &d, most)
		}
		kept := 0
		for i := len(names) - 1; i >= 0; i-- {
			if names[i] == "" {
				continue
			}
			m := d.find(names[i])
			require.Equal(t, kept < d.len, m != nil, "of %d, %s, after %d later ones", most, names[i], kept)
			if m != nil {
				kept++
				assert.Equal(t, paxos.Value(fmt.Sprint("v", i)), m.decision().Value)
				assert.Equal(t, uint64(i+1), m.index)
			}
		}
		assert.LessOrEqual(t, len(d.ring), max(16, 2*most), "most %d", most)
	}
}

// A value above the bound is kept alone.
func TestMemosOfLargeValues(t *testing.T) {
	var d memos
	d.init()
	large := paxos.Value(strings.Repeat("x", maxCacheBytes+1))
	for i, v := range []paxos.Value{"a", large, "b", large} {
		inst := &instance{name: fmt.Sprint(i)}
		inst.acceptor.Value = v
		d.push(inst, 10)
		checkDecided(t, &d, 10)
	}
	assert.Equal(t, 1, d.len)
	assert.NotNil(t, d.find("3"))
}

// Also when nothing but the decision is left in memory, whoever promises to a ballot that was overtaken is told, and another value is
// a fault.
func TestReplicaLateAnswers(t *testing.T) {
	p := newPump(t, membersOf(3))
	p.forged = true
	p.start(1)
	p.run()
	p.propose(1, 1, "lunch", "mine")
	p.hear(1, 2, msg(t, `decided 7.2 "theirs" @lunch`))
	p.pass(lazySave)
	require.Empty(t, p.replicas[1].table.byName)
	assert.Equal(t, paxos.Value("theirs"), p.value(1))
	assert.Empty(t, p.hear(1, 3, msg(t, "promise 9.1 @lunch")), "a ballot that there was not")
	assert.Equal(t, []string{"1 -> 3: chosen 7.2 @lunch"}, p.hear(1, 3, msg(t, "promise 1.1 @lunch")))
	assert.Equal(t, []string{`1 -> 3: decided 7.2 "theirs" @lunch`}, p.hear(1, 3, msg(t, "query 4.3 @lunch")))
	assert.Empty(t, p.hear(1, 3, msg(t, "chosen 8.3 @lunch"), msg(t, `decided 8.3 "theirs" @lunch`)))
	checkTables(t, p.replicas[1])
	p.hear(1, 3, msg(t, `decided 8.3 "another" @lunch`))
	require.Len(t, p.replicas[1].table.byName, 1)
	assert.Contains(t, p.replicas[1].table.byName["lunch"].stopped.Error(), "two values were decided")
	checkTables(t, p.replicas[1])
	assert.Empty(t, p.hear(1, 3, msg(t, "query 5.3 @lunch")), "nothing more is said")
	_, ok, known := p.replicas[1].Peek("lunch")
	assert.True(t, known && !ok)
}

// A server that has promised to a ballot is told at once when another's decision comes first: it waits for a proposer that does nothing
// more.
func TestReplicaDecidedTellsWhoHasPromised(t *testing.T) {
	p := newSolo(t, 5)
	p.propose(1, 1, "lunch", "mine")
	p.hear(1, 2, msg(t, "promise 1.1 @lunch"))
	assert.Equal(t, []string{"1 -> 2: chosen 7.3 @lunch"}, p.hear(1, 3, msg(t, `decided 7.3 "theirs" @lunch`)))
}

// The last so many decisions of this life have a teller; others have none.
func TestRecents(t *testing.T) {
	a, b := &peer{id: 1}, &peer{id: 2}
	recents := recents{room: 8}
	assert.Zero(t, recents.source(0))
	who := func(i uint64) source { return []source{{a, i}, {b, 7}, {}}[i%3] }
	for i := uint64(100); i < 150; i++ {
		recents.add(i, who(i))
		for j := uint64(0); j < 200; j++ {
			want := source{}
			if j >= 100 && j <= i && i-j < 8 {
				want = who(j)
			}
			require.Equal(t, want, recents.source(j), "%d of %d", j, i)
		}
	}
}

// A page holds the same from memory as from the storage, wherever it begins; and where memory has forgotten, or does not know yet,
// it says so.
func TestRecentNames(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	draw := rand.New(rand.NewPCG(seed, 0))
	p := newPump(t, membersOf(3))
	p.limits = paxos.Limits{Cache: 16}
	p.startAll()
	fromMemory, forgotten := 0, 0
	for i := range 200 {
		for range 1 + draw.IntN(3) {
			id := paxos.ServerID(1 + draw.IntN(3))
			p.propose(id, CallID(1000*i+len(p.done)), fmt.Sprint("job/", draw.IntN(150)), "v")
		}
		if draw.IntN(4) == 0 {
			p.pass(lazySave)
		}
		if i == 100 {
			p.crash(2)
			p.start(2)
			p.run()
		}
		for id, r := range p.replicas {
			for after := range r.index {
				names := r.table.recentNames(after, r.index)
				if names == nil {
					forgotten++
					continue
				}
				fromMemory++
				require.Equal(t, p.decidedNames(id, after, int(r.index-after)), names, "server %d after %d", id, after)
			}
		}
	}
	require.Greater(t, fromMemory, 1000)
	require.Greater(t, forgotten, 1000)
}

// An instance that has stopped is in no page, and the memos of its neighbours do not hide that.
func TestRecentNamesOfStopped(t *testing.T) {
	p := pulling(t, "")
	for i, name := range []string{"a", "b", "c"} {
		p.tells(2, uint64(i+1), msg(t, fmt.Sprintf(`decided 7.2 "v" @%s`, name)))
		p.pass(lazySave)
	}
	require.Len(t, p.replicas[1].table.recentNames(0, p.replicas[1].index), 3)
	p.tells(2, 3, msg(t, `decided 8.3 "another" @b`))
	require.Nil(t, p.replicas[1].table.recentNames(0, p.replicas[1].index))
	require.Len(t, p.replicas[1].table.recentNames(2, p.replicas[1].index), 1)
	assert.Equal(t, []string{`1 -> 3: names - "65 0 1 3\na\nc"`}, p.tells(3, 0, pullMessage(0, 0, 1)))
}
