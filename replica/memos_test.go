package replica

import (
	"fmt"
	"strings"
	"testing"

	"github.com/singledecree/paxos"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A ring that grows, forgets, has gaps, and whose numbers begin anew finds the last so many memos, and no other.
func TestMemos(t *testing.T) {
	for _, most := range []int{1, 2, 15, 16, 17, 100, 1000} {
		d := memos{next: memoNumbers - 200}
		d.init()
		var names []string
		for i := range 700 {
			inst := &instance{name: fmt.Sprint("job/", i), index: uint64(i + 1)}
			inst.save.Value = paxos.Value(fmt.Sprint("v", i))
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
		inst.save.Value = v
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

// Who has promised to a ballot that another's decision overtakes is told of the decision at once: it waits for a proposer that does nothing
// more.
func TestReplicaDecidedTellsWhoHasPromised(t *testing.T) {
	p := newSolo(t, 5)
	p.propose(1, 1, "lunch", "mine")
	p.hear(1, 2, msg(t, "promise 1.1 @lunch"))
	assert.Equal(t, []string{"1 -> 2: chosen 7.3 @lunch"}, p.hear(1, 3, msg(t, `decided 7.3 "theirs" @lunch`)))
}
