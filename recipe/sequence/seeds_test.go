package sequence

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/recipetest"
	"github.com/singledecree/paxos/node"
)

var _ Register = (*node.Node)(nil)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A result is what a caller was told of an entry.
type result struct {
	key        string // of the entry: calls with one key appended the same Entry
	id         ID     // zero: it is not known
	value      paxos.Value
	began, end time.Time
	at         Position
	err        error
}

// A history is what the callers in a world were told.
type history struct {
	t *testing.T
	w *recipetest.World

	mu      sync.Mutex
	results []*result
}

// TestSequenceOverSeeds runs writers with retries, hedged calls, restarts and short contexts over the faults of each seed, and checks
// the promises of the package over the whole history.
func TestSequenceOverSeeds(t *testing.T) {
	recipetest.Run(t, 1000, func(t *testing.T, w *recipetest.World) {
		h := &history{t: t, w: w}
		h.run()
		<-time.After(time.Hour) // late effects come
		h.check(h.decided())
	})
}

// TestSequenceOnNodes runs the same writers on real Nodes.
func TestSequenceOnNodes(t *testing.T) {
	recipetest.RunNodes(t, 10, func(t *testing.T, w *recipetest.World) {
		h := &history{t: t, w: w}
		h.run()
		var items []Item
		w.Go(1, func(p *recipetest.Process) { items = h.read(p) })
		w.Wait()
		if items != nil { // else that process crashed
			h.check(items)
		}
	})
}

// run starts a few writers. Each keeps the Entries that it has made, as on a disk, and goes on with them after a crash.
func (h *history) run() {
	w := h.w
	for writer := range 2 + w.IntN(4) {
		kept, made := []Entry{}, 0
		w.Go(3, func(p *recipetest.Process) {
			logs := []*Log{h.log(p), h.log(p)}
			for _, e := range kept {
				h.appendOften(p, logs, e)
			}
			var all sync.WaitGroup
			for made < 6 && p.Alive() {
				made++
				key, value := fmt.Sprint(writer, ".", made), paxos.Value(fmt.Sprint(writer, ".", made))
				if w.Chance(0.5) {
					value = paxos.Value(fmt.Sprint(w.IntN(2))) // equal to those of others
				}
				one := func() { h.append(p, logs[0], key, value) }
				if e, err := logs[0].NewEntry(p.Life(), value); err == nil && w.Chance(0.5) {
					kept = append(kept, e)
					one = func() { h.appendOften(p, logs, e) }
				}
				if all.Go(one); w.Chance(0.5) {
					all.Wait()
				}
			}
			all.Wait()
		})
	}
	w.Wait()
}

func (h *history) log(p *recipetest.Process) *Log {
	l, err := New(p, "log")
	require.NoError(h.t, err)
	return l
}

func (h *history) append(p *recipetest.Process, l *Log, key string, value paxos.Value) {
	h.note(p, &result{key: key, value: value}, func(ctx context.Context) (Position, error) { return l.Append(ctx, value) })
}

// appendOften appends one Entry up to three times, each time on one or two Logs at once.
func (h *history) appendOften(p *recipetest.Process, logs []*Log, e Entry) {
	for range 1 + h.w.IntN(3) {
		var both sync.WaitGroup
		for _, l := range logs[:1+h.w.IntN(2)] {
			both.Go(func() {
				r := &result{key: e.ID.String(), id: e.ID, value: e.Value}
				h.note(p, r, func(ctx context.Context) (Position, error) { return l.AppendEntry(ctx, e) })
			})
		}
		both.Wait()
	}
}

// note makes a call, and notes what it returns. A process that crashes in the middle is never told.
func (h *history) note(p *recipetest.Process, r *result, call func(ctx context.Context) (Position, error)) {
	r.began, r.err = time.Now(), errCrashed
	h.mu.Lock()
	h.results = append(h.results, r)
	h.mu.Unlock()
	ctx, stop := p.Context()
	defer stop()
	r.at, r.err = call(ctx)
	r.end = time.Now()
}

var errCrashed = errors.New("the process crashed in the middle of the call")

// decided returns what is in the registers.
func (h *history) decided() (items []Item) {
	l := &Log{name: "log"}
	all := h.w.Decided()
	for slot := range uint64(len(all)) {
		v, ok := all[l.Instance(slot)]
		require.True(h.t, ok, "a gap at %d", slot)
		b, err := decode(paxos.Decision{Instance: l.Instance(slot), Value: v})
		require.NoError(h.t, err)
		for _, item := range b.entries {
			item.Slot = slot
			items = append(items, item)
		}
	}
	return items
}

// read returns what a reader sees, up to a last entry of its own.
func (h *history) read(p *recipetest.Process) (items []Item) {
	l := h.log(p)
	last := Entry{}
	err := p.Tried(func(ctx context.Context) (err error) {
		if last.ID == (ID{}) {
			last, err = l.NewEntry(ctx, "last")
		}
		if err == nil {
			_, err = l.AppendEntry(ctx, last)
		}
		return err
	})
	from := Position{}
	if err == nil {
		err = p.Tried(func(context.Context) error { return h.readTo(p, l, last.ID, &items, &from) })
	}
	if !p.Alive() {
		return nil
	}
	require.NoError(h.t, err)
	return items
}

// readTo reads on, up to an entry.
func (h *history) readTo(p *recipetest.Process, l *Log, last ID, items *[]Item, from *Position) error {
	for item, err := range l.Entries(p.Life(), *from) {
		switch {
		case err != nil:
			return err
		case item.ID == last:
			return nil
		}
		*items, *from = append(*items, item), item.Next()
	}
	return nil
}

// check holds the promises against what is in the log.
func (h *history) check(all []Item) {
	items, ids, values := map[Position]Item{}, map[ID]Position{}, map[paxos.Value][]Position{}
	last := Position{Index: -1}
	for _, item := range all {
		require.True(h.t, last.Less(item.Position), "the order of reading")
		last = item.Position
		first, twice := ids[item.ID]
		require.False(h.t, twice, "entry %q is at %v and at %v", item.Value, first, item.Position)
		items[item.Position], ids[item.ID] = item, item.Position
		values[item.Value] = append(values[item.Value], item.Position)
	}
	landed, maybe := map[string]Position{}, map[string]bool{}
	byValue := map[paxos.Value]map[string]bool{}
	for _, r := range h.results {
		if byValue[r.value] == nil {
			byValue[r.value] = map[string]bool{}
		}
		if paxos.Unknown(r.err) {
			maybe[r.key] = true
		}
		if r.err == nil {
			h.checkPlace(r, items)
			if at, ok := landed[r.key]; ok {
				assert.Equal(h.t, at, r.at, "calls with one Entry")
			}
			landed[r.key] = r.at
		}
		byValue[r.value][r.key] = true
	}
	owner := map[Position]string{}
	for key, at := range landed {
		require.Empty(h.t, owner[at], "%s and %s believe that %v is theirs", owner[at], key, at)
		owner[at] = key
	}
	for value, keys := range byValue {
		least, most := 0, 0
		for key := range keys {
			if _, ok := landed[key]; ok {
				least, most = least+1, most+1
			} else if maybe[key] {
				most++
			}
		}
		require.GreaterOrEqual(h.t, len(values[value]), least, "%q", value)
		require.LessOrEqual(h.t, len(values[value]), most, "%q: an error said that it is nowhere", value)
		if len(keys) == 1 && least == 0 && len(values[value]) == 1 {
			h.checkDoubt(value, values[value][0])
		}
	}
	h.checkOrder()
}

// checkPlace holds that the entry of r is where r says.
func (h *history) checkPlace(r *result, items map[Position]Item) {
	item, ok := items[r.at]
	require.True(h.t, ok, "nothing is at %v", r.at)
	require.Equal(h.t, r.value, item.Value)
	if r.id != (ID{}) {
		require.Equal(h.t, r.id, item.ID)
	}
}

// checkDoubt holds that an entry with a value of its own, which no call knew to have landed, is in a slot that an error named.
func (h *history) checkDoubt(value paxos.Value, at Position) {
	var named []uint64
	for _, r := range h.results {
		var failed *AppendError
		switch {
		case r.value != value:
		case r.err == errCrashed:
			return
		case paxos.Unknown(r.err) && errors.As(r.err, &failed):
			named = append(named, failed.Slot)
		}
	}
	require.Contains(h.t, named, at.Slot, "the slot in doubt")
}

// checkOrder holds that an append which began after another had returned comes after it.
func (h *history) checkOrder() {
	first := map[string]time.Time{} // the begin of the first call with the Entry
	for _, r := range h.results {
		if began, ok := first[r.key]; !ok || r.began.Before(began) {
			first[r.key] = r.began
		}
	}
	for _, a := range h.results {
		for _, b := range h.results {
			if a.err == nil && b.err == nil && a.end.Before(first[b.key]) {
				require.True(h.t, a.at.Less(b.at), "%s at %v returned before %s at %v began", a.key, a.at, b.key, b.at)
			}
		}
	}
}
