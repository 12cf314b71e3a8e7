package replica

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/singledecree/paxos"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The last so many decisions of this life have a teller; others have none.
func TestRecents(t *testing.T) {
	a, b := &peer{id: 1}, &peer{id: 2}
	recents := recents{room: 8}
	assert.Zero(t, recents.teller(0))
	who := func(i uint64) teller { return []teller{{a, i}, {b, 7}, {}}[i%3] }
	for i := uint64(100); i < 150; i++ {
		recents.add(i, who(i))
		for j := uint64(0); j < 200; j++ {
			want := teller{}
			if j >= 100 && j <= i && i-j < 8 {
				want = who(j)
			}
			require.Equal(t, want, recents.teller(j), "%d of %d", j, i)
		}
	}
}

// What a page holds is the same from memory as from the storage, wherever it begins; and where memory has forgotten, or does not know yet,
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
			for after := range r.saves.index {
				names := r.recentNames(after)
				if names == nil {
					forgotten++
					continue
				}
				fromMemory++
				require.Equal(t, p.decidedNames(id, after, int(r.saves.index-after)), names, "server %d after %d", id, after)
			}
		}
	}
	require.Greater(t, fromMemory, 1000)
	require.Greater(t, forgotten, 1000)
}

// An instance that has stopped is in no page, and what memory knows of its neighbours does not hide that.
func TestRecentNamesOfStopped(t *testing.T) {
	p := pulling(t, "")
	for i, name := range []string{"a", "b", "c"} {
		p.tells(2, uint64(i+1), msg(t, fmt.Sprintf(`decided 7.2 "v" @%s`, name)))
		p.pass(lazySave)
	}
	require.Len(t, p.replicas[1].recentNames(0), 3)
	p.tells(2, 3, msg(t, `decided 8.3 "another" @b`))
	require.Nil(t, p.replicas[1].recentNames(0))
	require.Len(t, p.replicas[1].recentNames(2), 1)
	assert.Equal(t, []string{`1 -> 3: names - "65 0 1 3\na\nc"`}, p.tells(3, 0, pullMessage(0, 0, 1)))
}
