// Package explore visits every state that a model can reach, breadth first, and tells the shortest way to the first one
// in which something is wrong.
//
// A state is a fixed number of 64-bit words, which the model packs as it likes. All states are kept, whole, so no two are ever taken for
// one. Work is spread over several workers. The result and the trace are the same for any number of them: a level is expanded in batches of
// fixed size. The states that a batch generates are merged in the order of their origins.
package explore

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
)

// A Model is a space of states and what must hold in each. Each worker has its own, so a Model may keep caches.
type Model interface {
	// Next calls emit for every step that can be taken from s, which it leaves as it is; emit keeps nothing of next.
	// The meaning of action is the model's own. An error says that the step emitted last must not happen.
	Next(s []uint64, emit func(action uint64, next []uint64)) error
	// Check returns an error if s must not be reached. Otherwise it returns bits, one for each kind of situation of which s is an example.
	// The Result has all bits that were seen, so that a test can require each situation to have occurred.
	Check(s []uint64) (seen uint64, err error)
	// Canonical turns s into the one state that stands for all those that differ from it by a symmetry only.
	Canonical(s []uint64)
}

// A Space is what Run explores.
type Space struct {
	Initial []uint64
	Model   func() Model // called once for each worker
	Workers int          // default: one for each processor
	Most    uint64       // how many distinct states to keep at most; default and maximum: 2^30
}

// A Result counts what Run found. The counts mean the same as in TLC. Generated counts every emitted step, and the initial state. Depth is
// the number of states on the shortest way to the farthest state; the initial state has depth 1.
type Result struct {
	Distinct, Generated uint64
	Depth               int
	Seen                uint64     // all bits that Check returned
	Violation           *Violation // nil: the whole space was explored and nothing is wrong
}

// A Violation is a shortest way to something that must not be. The first step has no action, only the initial state.
type Violation struct {
	Err   error
	Steps []Step
}

// A Step is an action and the state that it led to.
type Step struct {
	Action uint64
	State  []uint64
}

const (
	shardBits = 4
	shards    = 1 << shardBits
	taskSize  = 512 // states that a worker expands at a time
	batchSize = 64  // tasks between two merges
	beginning = -1  // the shard of the task that yields the initial state
	header    = 2   // words before each generated state: its hash and its parent
	most      = 1 << 30
)

// Run explores the space, level by level. It returns an error if the space has more states than allowed, or if it finds no way to a
// violation. In the second case Canonical merges states that are not symmetric.
func Run(s Space) (Result, error) {
	e := newExplorer(s)
	for tasks := []task{{shard: beginning}}; len(tasks) > 0; tasks = e.frontier() {
		if tasks[0].shard != beginning {
			e.result.Depth++
		}
		for batch := range slices.Chunk(tasks, batchSize) {
			found, err := e.run(batch)
			if err != nil {
				return e.result, err
			}
			if found != nil {
				e.result.Violation, err = e.trace(*found)
				return e.result, err
			}
		}
	}
	return e.result, nil
}

type explorer struct {
	space   Space
	width   int
	workers []*worker
	shards  [shards]shard
	result  Result
}

// A worker is what one goroutine uses by itself.
type worker struct {
	model     Model
	scratch   []uint64
	generated uint64
	seen      uint64
}

// A task is a run of states of one shard to expand, and the states that they lead to, by shard.
type task struct {
	shard    int
	from, to uint32
	out      *[shards][]uint64
	found    finding // a step that must not happen
}

// A finding is something wrong: the state id itself, or, if bySteps is set, a step out of it.
type finding struct {
	err     error
	id      uint32
	bySteps bool
}

func newExplorer(s Space) *explorer {
	e := &explorer{space: s, width: len(s.Initial)}
	if s.Most == 0 || s.Most > most {
		e.space.Most = most
	}
	if s.Workers < 1 {
		e.space.Workers = runtime.GOMAXPROCS(0)
	}
	for range e.space.Workers {
		e.workers = append(e.workers, &worker{model: s.Model(), scratch: make([]uint64, e.width)})
	}
	for i := range e.shards {
		e.shards[i].init(e.width)
	}
	return e
}

// frontier returns the states to expand next, as tasks.
func (e *explorer) frontier() (tasks []task) {
	for i := range e.shards {
		s := &e.shards[i]
		from := s.expanded
		s.expanded = s.count
		for ; from < s.count; from += taskSize {
			tasks = append(tasks, task{shard: i, from: from, to: min(from+taskSize, s.count)})
		}
	}
	return tasks
}

// run expands a batch and merges what it generated. Of several findings it returns the one of the first task.
func (e *explorer) run(batch []task) (*finding, error) {
	e.parallel(len(batch), func(w *worker, i int) { e.expand(w, &batch[i]) })
	var merged [shards][]finding
	e.parallel(shards, func(w *worker, i int) { merged[i] = e.merge(w, i, batch) })
	e.result.Distinct = 0
	for i := range e.shards {
		e.result.Distinct += uint64(e.shards[i].count)
	}
	e.result.Generated, e.result.Seen = 0, 0
	for _, w := range e.workers {
		e.result.Generated += w.generated
		e.result.Seen |= w.seen
	}
	for i, t := range batch {
		releaseOut(t.out)
		for k := range merged {
			if merged[k] != nil && merged[k][i].err != nil {
				return &merged[k][i], nil
			}
		}
		if t.found.err != nil {
			return &t.found, nil
		}
	}
	if e.result.Distinct > e.space.Most {
		return nil, fmt.Errorf("explore: more than %d states", e.space.Most)
	}
	return nil, nil
}

// parallel calls do for 0 to n-1, spread over the workers, and waits.
func (e *explorer) parallel(n int, do func(w *worker, i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for _, w := range e.workers {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(w, i)
			}
		})
	}
	wg.Wait()
}

var outs = sync.Pool{New: func() any { return new([shards][]uint64) }}

func releaseOut(out *[shards][]uint64) {
	for i := range out {
		out[i] = out[i][:0]
	}
	outs.Put(out)
}

// expand generates the steps out of the states of t, up to the first that must not happen.
func (e *explorer) expand(w *worker, t *task) {
	t.out = outs.Get().(*[shards][]uint64)
	var parent uint32
	emit := func(_ uint64, next []uint64) {
		w.generated++
		copy(w.scratch, next)
		w.model.Canonical(w.scratch)
		h := hash(w.scratch)
		out := &t.out[h>>(64-shardBits)]
		*out = append(append(*out, h, uint64(parent)), w.scratch...)
	}
	if t.shard == beginning {
		parent = none
		emit(0, e.space.Initial)
		return
	}
	for i := t.from; i < t.to; i++ {
		parent = i<<shardBits | uint32(t.shard)
		if err := w.model.Next(e.shards[t.shard].state(i), emit); err != nil {
			t.found = finding{err: err, id: parent, bySteps: true}
			return
		}
	}
}

// merge adds what the batch generated for one shard. It returns, if there is any, the first finding of each task.
func (e *explorer) merge(w *worker, shard int, batch []task) (found []finding) {
	s := &e.shards[shard]
	for i, t := range batch {
		for out := t.out[shard]; len(out) > 0; out = out[header+e.width:] {
			state := out[header : header+e.width]
			index, added := s.add(out[0], state, uint32(out[1]))
			if !added {
				continue
			}
			seen, err := w.model.Check(state)
			w.seen |= seen
			if err == nil || found != nil && found[i].err != nil {
				continue
			}
			if found == nil {
				found = make([]finding, len(batch))
			}
			found[i] = finding{err: err, id: index<<shardBits | uint32(shard)}
		}
	}
	return found
}

var errNoTrace = errors.New("the way to it cannot be told: Canonical merges states that are no symmetry")

// trace follows the parents of f back to the initial state. Then it takes the steps again, forwards and without symmetry, so that names
// stay the same from one step to the next.
func (e *explorer) trace(f finding) (*Violation, error) {
	var way [][]uint64
	for id := f.id; id != none; {
		s := &e.shards[id&(shards-1)]
		way = append(way, s.state(id>>shardBits))
		id = s.parent(id >> shardBits)
	}
	slices.Reverse(way)
	w := e.workers[0]
	v := &Violation{Err: f.err, Steps: []Step{{State: slices.Clone(e.space.Initial)}}}
	for _, want := range way[1:] {
		step, ok := e.step(w, v.Steps[len(v.Steps)-1].State, want)
		if !ok {
			return v, fmt.Errorf("explore: %w: %w", f.err, errNoTrace)
		}
		v.Steps = append(v.Steps, step)
	}
	if !f.bySteps {
		if _, err := w.model.Check(v.Steps[len(v.Steps)-1].State); err != nil {
			v.Err = err
		}
		return v, nil
	}
	var last Step
	v.Err = w.model.Next(v.Steps[len(v.Steps)-1].State, func(action uint64, next []uint64) {
		last = Step{action, slices.Clone(next)}
	})
	if v.Err == nil {
		return v, fmt.Errorf("explore: %w: %w", f.err, errNoTrace)
	}
	v.Steps = append(v.Steps, last)
	return v, nil
}

// step returns the first step from a state to one that want stands for.
func (e *explorer) step(w *worker, from, want []uint64) (step Step, ok bool) {
	// An error cannot come before the step is found: from was expanded without one.
	_ = w.model.Next(from, func(action uint64, next []uint64) {
		copy(w.scratch, next)
		w.model.Canonical(w.scratch)
		if !ok && slices.Equal(w.scratch, want) {
			step, ok = Step{action, slices.Clone(next)}, true
		}
	})
	return step, ok
}
