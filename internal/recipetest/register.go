package recipetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/singledecree/paxos"
)

// A Register is what the recipes ask of a server. A [github.com/singledecree/paxos/node.Node] is one.
type Register interface {
	Propose(ctx context.Context, instance string, v paxos.Value) (paxos.Decision, error)
	Read(ctx context.Context, instance string) (d paxos.Decision, ok bool, err error)
	Wait(ctx context.Context, instance string) (paxos.Decision, error)
	Forget(ctx context.Context, names paxos.NameRange) error
}

var errLost = errors.New("the connection was lost")

// registers are instances in memory. A call begins, has its effect at a drawn moment, and returns at a later one. The effect of a call
// that failed may come long after its return, or when another call finds it. The first effect decides.
type registers struct {
	*draws
	mu        sync.Mutex
	instances map[string]*instance
	forgotten []paxos.NameRange
}

// An instance is decided by the first of its arrivals.
type instance struct {
	decided  bool
	at       time.Time // of the decision
	value    paxos.Value
	arrivals []arrival
	news     chan struct{} // closed when an arrival is added
}

// An arrival is an effect that comes at a moment: of a Propose or of a Read. A dormant value decides nothing by itself: the next arrival
// finds it, and finishes it.
type arrival struct {
	at      time.Time
	value   paxos.Value
	dormant bool
	read    bool
}

func (r *registers) instance(name string) *instance {
	i := r.instances[name]
	if i == nil {
		i = &instance{news: make(chan struct{})}
		r.instances[name] = i
	}
	return i
}

// add adds an arrival.
func (i *instance) add(a arrival) {
	i.arrivals = append(i.arrivals, a)
	slices.SortStableFunc(i.arrivals, func(a, b arrival) int { return a.at.Compare(b.at) })
	close(i.news)
	i.news = make(chan struct{})
}

// settle lets all arrivals up to a moment have their effect.
func (i *instance) settle(now time.Time) {
	var found *arrival
	for len(i.arrivals) > 0 && !i.arrivals[0].at.After(now) {
		a := i.arrivals[0]
		i.arrivals = i.arrivals[1:]
		switch {
		case i.decided:
		case a.dormant:
			found = &a
		case found != nil:
			i.decided, i.at, i.value = true, a.at, found.value
		case !a.read:
			i.decided, i.at, i.value = true, a.at, a.value
		}
	}
	if found != nil && !i.decided {
		i.arrivals = slices.Insert(i.arrivals, 0, *found)
	}
}

// Propose draws the fate of the call, and plays it.
func (r *registers) Propose(ctx context.Context, name string, v paxos.Value) (paxos.Decision, error) {
	if err := paxos.CheckName(name); err != nil {
		return paxos.Decision{}, &paxos.OpError{Op: "propose", Instance: name, Err: err, Unsent: true}
	}
	if err := ctx.Err(); err != nil {
		return paxos.Decision{}, &paxos.OpError{Op: "propose", Instance: name, Err: context.Cause(ctx), Unsent: true}
	}
	f := r.fate()
	if f.refused {
		r.pause(ctx, f.answered)
		return paxos.Decision{}, &paxos.OpError{Op: "propose", Instance: name, Err: paxos.ErrBusy, Unsent: true}
	}
	if !f.lost {
		r.mu.Lock()
		r.instance(name).add(arrival{at: f.arrives, value: v, dormant: f.dormant})
		r.mu.Unlock()
	}
	switch err := r.pause(ctx, f.answered); {
	case err != nil:
		return paxos.Decision{}, &paxos.OpError{Op: "propose", Instance: name, Err: err}
	case f.failed:
		return paxos.Decision{}, &paxos.OpError{Op: "propose", Instance: name, Err: errLost}
	}
	d, _, err := r.see("propose", name, f.arrives)
	return d, err
}

// see returns the decision as it was at a moment.
func (r *registers) see(op, name string, at time.Time) (d paxos.Decision, ok bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if names, forgotten := r.isForgotten(name); forgotten {
		return d, false, &paxos.OpError{Op: op, Instance: name, Err: &paxos.ForgottenError{Names: names}, Unsent: op != "propose"}
	}
	i := r.instance(name)
	i.settle(time.Now())
	if !i.decided || i.at.After(at) {
		return paxos.Decision{}, false, nil
	}
	return paxos.Decision{Instance: name, Value: i.value}, true, nil
}

func (r *registers) isForgotten(name string) (paxos.NameRange, bool) {
	for _, names := range r.forgotten {
		if names.Has(name) {
			return names, true
		}
	}
	return paxos.NameRange{}, false
}

// Read returns the decision as it was at the drawn moment. It finishes a value that it finds.
func (r *registers) Read(ctx context.Context, name string) (d paxos.Decision, ok bool, err error) {
	if err := paxos.CheckName(name); err != nil {
		return d, false, &paxos.OpError{Op: "read", Instance: name, Err: err, Unsent: true}
	}
	if err := ctx.Err(); err != nil {
		return d, false, &paxos.OpError{Op: "read", Instance: name, Err: context.Cause(ctx), Unsent: true}
	}
	f := r.fate()
	if !f.lost && !f.refused {
		r.mu.Lock()
		r.instance(name).add(arrival{at: f.arrives, read: true})
		r.mu.Unlock()
	}
	switch err := r.pause(ctx, f.answered); {
	case err != nil:
		return d, false, &paxos.OpError{Op: "read", Instance: name, Err: err, Unsent: true}
	case f.refused:
		return d, false, &paxos.OpError{Op: "read", Instance: name, Err: paxos.ErrBusy, Unsent: true}
	case f.failed:
		return d, false, &paxos.OpError{Op: "read", Instance: name, Err: errLost, Unsent: true}
	}
	return r.see("read", name, f.arrives)
}

// Wait returns the decision some time after there is one.
func (r *registers) Wait(ctx context.Context, name string) (paxos.Decision, error) {
	if err := paxos.CheckName(name); err != nil {
		return paxos.Decision{}, &paxos.OpError{Op: "wait", Instance: name, Err: err, Unsent: true}
	}
	for {
		if err := ctx.Err(); err != nil {
			return paxos.Decision{}, &paxos.OpError{Op: "wait", Instance: name, Err: context.Cause(ctx), Unsent: true}
		}
		f := r.fate()
		d, ok, err := r.see("wait", name, time.Now())
		if ok || err != nil {
			if e := r.pause(ctx, f.answered); e != nil {
				return paxos.Decision{}, &paxos.OpError{Op: "wait", Instance: name, Err: e, Unsent: true}
			}
			return d, err
		}
		if err := r.news(ctx, name); err != nil {
			return paxos.Decision{}, &paxos.OpError{Op: "wait", Instance: name, Err: err, Unsent: true}
		}
	}
}

// news returns when an arrival has its effect, or is added.
func (r *registers) news(ctx context.Context, name string) error {
	r.mu.Lock()
	i := r.instance(name)
	news := i.news
	var next <-chan time.Time
	for _, a := range i.arrivals {
		if wait := time.Until(a.at); wait > 0 {
			next = time.After(wait)
			break
		}
	}
	r.mu.Unlock()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-news:
	case <-next:
	}
	return nil
}

// Forget forgets the names at a drawn moment, for ever.
func (r *registers) Forget(ctx context.Context, names paxos.NameRange) error {
	f := r.fate()
	if f.refused {
		r.pause(ctx, f.answered)
		return &paxos.OpError{Op: "forget", Err: paxos.ErrBusy, Unsent: true}
	}
	if err := r.pause(ctx, f.answered); err != nil {
		return &paxos.OpError{Op: "forget", Err: err}
	}
	if !f.lost {
		r.mu.Lock()
		r.forgotten = append(r.forgotten, names)
		r.mu.Unlock()
	}
	if f.failed {
		return &paxos.OpError{Op: "forget", Err: errLost}
	}
	return nil
}

// decisions are all values that are decided now, by name.
func (r *registers) decisions() map[string]paxos.Value {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := map[string]paxos.Value{}
	for name, i := range r.instances {
		if i.settle(time.Now()); i.decided {
			all[name] = i.value
		}
	}
	return all
}

// String lists the decisions, a line each.
func (r *registers) String() (text string) {
	all := r.decisions()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		text += fmt.Sprintf("%s = %s\n", name, all[name])
	}
	return text
}
