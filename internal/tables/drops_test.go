package tables

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// A dropTable is records as a storage keeps them: each at a number, the last one in the place of one that is taken out.
type dropTable struct {
	drops Drops
	order Order
	names []string
	index []uint64
	model map[string]uint64 // the Index of each name that is not dropped
	last  uint64
}

func (d *dropTable) name(at uint32) string { return d.names[at] }

func (d *dropTable) remove(at int) {
	last := len(d.names) - 1
	d.drops.Remove(uint32(at), uint32(last))
	d.order.Remove(d.index[at])
	if at != last {
		d.order.Move(d.index[last], uint32(at))
		d.names[at], d.index[at] = d.names[last], d.index[last]
	}
	d.names, d.index = d.names[:last], d.index[:last]
}

func (d *dropTable) put(name string) {
	d.last++
	d.model[name] = d.last
	at := slices.Index(d.names, name)
	if at < 0 {
		at = len(d.names)
		d.names, d.index = append(d.names, name), append(d.index, 0)
	} else {
		d.order.Remove(d.index[at])
	}
	d.index[at] = d.last
	d.order.Add(Place{d.last, uint32(at)})
	d.drops.Put(uint32(at), name)
}

func (d *dropTable) drop(ranges []paxos.NameRange) {
	d.drops.Add(ranges)
	for name := range d.model {
		if slices.ContainsFunc(ranges, func(r paxos.NameRange) bool { return r.Has(name) }) {
			delete(d.model, name)
		}
	}
}

// sweep makes one step, and reports whether the pass goes on.
func (d *dropTable) sweep() bool {
	n := uint32(len(d.names))
	at, ok := d.drops.Next(n)
	if !ok {
		return false
	}
	if d.drops.Has(at, d.names[at]) {
		d.remove(int(at))
	} else {
		d.drops.Keep(n)
	}
	return true
}

// check checks that exactly the names of the model are not dropped, and listed.
func (d *dropTable) check(t *testing.T) {
	t.Helper()
	found := map[string]uint64{}
	for at, name := range d.names {
		if !d.drops.Has(uint32(at), name) {
			found[name] = d.index[at]
		}
	}
	require.Equal(t, d.model, found)
	listed, after, last := 0, uint64(0), uint64(0)
	for more := true; more; {
		after, more = d.drops.Above(&d.order, after, 1<<30, d.name, func(p Place) {
			require.Equal(t, d.model[d.name(p.At)], p.Index)
			require.Greater(t, p.Index, last)
			last = p.Index
			listed++
		})
	}
	require.Len(t, d.model, listed)
	for i, s := range d.drops.spans {
		require.Less(t, s.names.From, s.names.To)
		require.True(t, i == 0 || d.drops.spans[i-1].names.To <= s.names.From, "spans %d and %d meet", i-1, i)
	}
}

// names returns ranges that may overlap, touch, be empty, or hold one name.
func (d *dropTable) ranges(x *rand.Rand) (ranges []paxos.NameRange) {
	for range 1 + x.IntN(4) {
		from := x.IntN(200)
		switch x.IntN(6) {
		case 0:
			ranges = append(ranges, paxos.OneName(fmt.Sprintf("n%03d", from)))
		case 1:
			ranges = append(ranges, paxos.NameRange{From: fmt.Sprintf("n%03d", from), To: fmt.Sprintf("n%03d", from-x.IntN(3))})
		default:
			ranges = append(ranges, paxos.NameRange{From: fmt.Sprintf("n%03d", from), To: fmt.Sprintf("n%03d", from+x.IntN(40))})
		}
	}
	return ranges
}

// While names are put, dropped, taken out and swept in any order, Has says what a map says. At the end of a pass after the last drop
// all dropped records are out, and no memory is kept.
func TestDropsAgainstMap(t *testing.T) {
	for round := range uint64(60) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		x := rand.New(rand.NewPCG(seed, 0))
		d := &dropTable{model: map[string]uint64{}}
		for range 1500 {
			switch n := x.IntN(20); {
			case n < 8:
				d.put(fmt.Sprintf("n%03d", x.IntN(200)))
			case n == 8:
				d.drop(d.ranges(x))
			case n == 9 && len(d.names) > 0: // another reason than a sweep
				at := x.IntN(len(d.names))
				if !d.drops.Has(uint32(at), d.names[at]) {
					delete(d.model, d.names[at])
				}
				d.remove(at)
			case n < 10+int(round%10):
				d.sweep()
			}
			if x.IntN(10) == 0 {
				d.check(t)
			}
		}
		for d.drops.Pending() {
			for d.sweep() {
			}
		}
		d.check(t)
		require.Len(t, d.names, len(d.model))
		d.drops.last, d.drops.swept, d.drops.pass, d.drops.at = 0, 0, 0, 0
		require.Equal(t, Drops{}, d.drops)
	}
}

// A range that grows with each drop stays one range, and one pass after the last drop is enough. Few records are
// remembered as later than a drop.
func TestDropsOfAGrowingRange(t *testing.T) {
	d := &dropTable{model: map[string]uint64{}}
	for i := range 2000 {
		d.put(fmt.Sprintf("n%04d", i))
	}
	most := 0
	for i := range 1000 {
		d.drop([]paxos.NameRange{{From: "n", To: fmt.Sprintf("n%04d", i)}})
		d.put(fmt.Sprintf("n%04d", i/2)) // soon dropped again
		for range 40 {
			d.sweep()
		}
		require.Len(t, d.drops.spans, 1)
		most = max(most, len(d.drops.late))
	}
	require.Less(t, most, 200)
	passes := 0
	for d.drops.Pending() {
		for d.sweep() {
		}
		passes++
	}
	require.LessOrEqual(t, passes, 2, "the one that ran, and another one")
	d.check(t)
	require.Len(t, d.names, len(d.model))
}

// A record that was put in a dropped range is remembered until that range is swept, and no longer, though other ranges keep coming.
func TestDropsForgetsWhatWasPut(t *testing.T) {
	d := &dropTable{model: map[string]uint64{}}
	names := func(put bool) {
		for i := range 100 {
			if d.put(fmt.Sprintf("a%04d", i)); put {
				d.put(fmt.Sprintf("b%04d", i))
			}
		}
	}
	names(true)
	d.drop([]paxos.NameRange{paxos.Prefix("a")})
	names(false)
	require.Len(t, d.drops.late, 100)
	for i := range 100 {
		d.drop([]paxos.NameRange{{From: "b", To: fmt.Sprintf("b%04d", i)}})
		for range 10 {
			d.sweep()
		}
		require.True(t, d.drops.Pending())
		d.check(t)
	}
	require.Empty(t, d.drops.late)
}

// Drops that are taken back leave what was dropped before.
func TestDropsTakenBack(t *testing.T) {
	for range 200 {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		x := rand.New(rand.NewPCG(seed, 0))
		d := &dropTable{model: map[string]uint64{}}
		for i := range 200 {
			if d.put(fmt.Sprintf("n%03d", x.IntN(200))); i%40 == 39 {
				d.drop(d.ranges(x))
			}
		}
		before := map[string]bool{}
		for at, name := range d.names {
			before[name] = d.drops.Has(uint32(at), name)
		}
		state := d.drops.State()
		d.drops.Add(d.ranges(x))
		type put struct {
			at     uint32
			before uint64
		}
		var puts []put
		for range 40 {
			at := uint32(x.IntN(len(d.names)))
			if x.IntN(8) == 0 {
				d.drops.Add(d.ranges(x))
			}
			puts = append(puts, put{at, d.drops.Put(at, d.names[at])})
		}
		for _, p := range slices.Backward(puts) {
			d.drops.Unput(p.at, p.before)
		}
		d.drops.Back(state)
		for at, name := range d.names {
			require.Equal(t, before[name], d.drops.Has(uint32(at), name), "%q", name)
		}
	}
}
