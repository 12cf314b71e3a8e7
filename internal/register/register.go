// Package register checks the results of calls to a cluster. To the callers an instance is a register that is written once. Propose writes
// it, or returns its value. Read and Wait return its value, and Read may say that it has none. All results must fit one order of the calls,
// in which each call takes place between its begin and its return.
//
// Once a Forget has returned without an error, nothing is written any more, and no Read says that there was nothing. Each call is told that
// the instance is forgotten, or the old value. Before that, some servers may have forgotten it, and others not.
package register

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/anishathalye/porcupine"

	"github.com/singledecree/paxos"
)

// A Call is what a caller asked for.
type Call struct {
	Op       string // "propose", "read", "wait", "forget"; "forgets" is the begin of a "forget"
	Instance string
	Value    string // proposed
}

// A Result is what it was told.
type Result struct {
	Unknown   bool // a propose failed, and its value may be written at any time
	OK        bool // there was a decision, or a forget succeeded
	Value     string
	Forgotten bool // the call failed, because the instance is forgotten
}

type register struct {
	written   bool
	value     string
	forgets   bool // a forget has begun
	forgotten bool // a forget has succeeded
}

// Model is the register, for porcupine.
var Model = porcupine.Model{
	Init:      func() any { return register{} },
	Partition: partition,
	Step: func(state, input, output any) (bool, any) {
		s, in, out := state.(register), input.(Call), output.(Result)
		switch {
		case in.Op == "forgets":
			s.forgets = true
			return true, s
		case in.Op == "forget":
			s.forgotten = true
			return s.forgets, s
		case out.Forgotten:
			return s.forgets, s
		case in.Op == "propose" && !s.written && !s.forgotten:
			s.written, s.value = true, in.Value
		}
		if out.Unknown {
			return true, s
		}
		return out.OK == s.written && out.Value == s.value && (out.OK || !s.forgotten), s
	},
}

func partition(history []porcupine.Operation) (parts [][]porcupine.Operation) {
	at := map[string]int{}
	for _, o := range history {
		name := o.Input.(Call).Instance
		i, ok := at[name]
		if !ok {
			i = len(parts)
			at[name], parts = i, append(parts, nil)
		}
		parts[i] = append(parts[i], o)
	}
	return parts
}

// Check reports whether the history of one instance or more is right.
func Check(history []porcupine.Operation) bool {
	return porcupine.CheckOperations(Model, relevant(history))
}

// relevant leaves out each propose of unknown outcome whose value nobody was told, which tells nothing: if it was written,
// all that were told anything came before, when nothing was. Else porcupine would try to order them in every way.
func relevant(history []porcupine.Operation) (kept []porcupine.Operation) {
	told := map[[2]string]bool{}
	for _, o := range history {
		if out := o.Output.(Result); out.OK && o.Input.(Call).Op != "forget" {
			told[[2]string{o.Input.(Call).Instance, out.Value}] = true
		}
	}
	for _, o := range history {
		in := o.Input.(Call)
		if !o.Output.(Result).Unknown || told[[2]string{in.Instance, in.Value}] {
			kept = append(kept, o)
		}
	}
	return kept
}

// A Recorder keeps the history of calls, whose order is the order of its counter. It is safe for concurrent use.
type Recorder struct {
	clock atomic.Int64
	mu    sync.Mutex
	calls []porcupine.Operation
}

// Never is when a call returns whose outcome is unknown.
const Never = 1 << 62

// Forget runs a call of Forget for these instances, and keeps its begin, and its success.
func (r *Recorder) Forget(client int, instances []string, f func() error) error {
	began := r.clock.Add(1)
	r.mu.Lock()
	for _, name := range instances {
		r.calls = append(r.calls, porcupine.Operation{ClientId: client, Input: Call{Op: "forgets", Instance: name}, Output: Result{}, Call: began, Return: Never})
	}
	r.mu.Unlock()
	err := f()
	if err != nil {
		return err
	}
	ended := r.clock.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range instances {
		r.calls = append(r.calls, porcupine.Operation{ClientId: client, Input: Call{Op: "forget", Instance: name}, Output: Result{OK: true}, Call: began, Return: ended})
	}
	return nil
}

// Record runs a call, and keeps its result, unless the result says nothing. f returns the decided value, if there is one. It also returns
// whether the outcome of a propose that failed is unknown.
func (r *Recorder) Record(client int, in Call, f func() (value string, ok, unknown bool, err error)) error {
	o := porcupine.Operation{ClientId: client, Input: in, Call: r.clock.Add(1)}
	value, ok, unknown, err := f()
	o.Return, o.Output = r.clock.Add(1), Result{OK: ok, Value: value}
	switch {
	case errors.Is(err, paxos.ErrForgotten) && !unknown:
		o.Output = Result{Forgotten: true}
	case err != nil && (in.Op != "propose" || !unknown):
		return err
	case err != nil:
		o.Return, o.Output = Never, Result{Unknown: true}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, o)
	return err
}

// Take returns what was recorded, and forgets it. No call may run whose instance is of interest, since what comes of it would
// be missing.
func (r *Recorder) Take() []porcupine.Operation {
	r.mu.Lock()
	defer r.mu.Unlock()
	calls := r.calls
	r.calls = nil
	return calls
}

// Text shows a history, a line for each call.
func Text(calls []porcupine.Operation) (text string) {
	for _, o := range calls {
		text += fmt.Sprintf("\n%6d-%d  client %d  %+v  %+v", o.Call, o.Return, o.ClientId, o.Input, o.Output)
	}
	return text
}
