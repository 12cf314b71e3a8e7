package node

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/replica"
)

// promptOf returns s if it answers reads at once, and else nil. It compares Self with s: a type that embeds a
// PromptStorage has the same methods, but may have changed Load.
func promptOf(s paxos.Storage) paxos.PromptStorage {
	p, ok := s.(paxos.PromptStorage)
	if !ok || !reflect.ValueOf(s).Comparable() || p.Self() != s {
		return nil
	}
	return p
}

// load answers Output.Load. It answers at once if the storage can, and else after a reader has read.
func (n *Node) load(now time.Duration, names []string) {
	if n.expects != nil && len(names) > 1 {
		n.expects.Expect(names)
	}
	bytes := 0
	for _, name := range names {
		if n.prompt != nil {
			if rec, ok := n.prompt.LoadNow(name); ok {
				bytes = n.loaded(now, name, rec, bytes)
				continue
			}
		}
		n.reading++
		n.loads.add(func() { n.loadLater(name) })
	}
}

// loadLater loads one record for load. It runs in a reader.
func (n *Node) loadLater(name string) {
	rec, err := n.config.Storage.Load(name)
	if err != nil {
		err = fmt.Errorf("storage: load %q: %w", name, err)
	}
	rec.Instance = name
	n.loads.hold(len(rec.Acceptor.Value))
	n.hasRead(err, func(in *inbox) { in.loaded = append(in.loaded, rec) })
}

// loaded gives one record to the Replica. bytes counts the values given since the last sendWaiting, without this one. The
// result counts this one too; it is 0 if loaded has called sendWaiting.
func (n *Node) loaded(now time.Duration, name string, rec paxos.Record, bytes int) int {
	n.replica.Loaded(now, name, rec)
	if bytes += len(rec.Acceptor.Value); bytes >= maxLoaded {
		n.sendWaiting()
		return 0
	}
	return bytes
}

// list answers Output.List, in the same way as load answers Output.Load.
func (n *Node) list(now time.Duration, ask replica.ListAsk) {
	if n.prompt != nil && !ask.Forgotten && !ask.Open && !ask.Values {
		if names, ok := n.prompt.DecidedNow(ask.After, ask.Max); ok {
			n.replica.Listed(now, ask.ID, replica.Page{Names: names})
			return
		}
	}
	n.loads.add(func() {
		page, err := replica.List(n.config.Storage, ask)
		if err != nil {
			err = fmt.Errorf("storage: %w", err)
		}
		n.hasRead(err, func(in *inbox) { in.listed = append(in.listed, listedPage{ask, page}) })
	})
}

// hasRead puts the result of a reader into the inbox, or its error.
func (n *Node) hasRead(err error, put func(*inbox)) {
	n.mu.Lock()
	if in := &n.inbox; err == nil {
		put(in)
	} else if in.readErr == nil {
		in.readErr = err
	}
	n.inbox.some = true
	n.mu.Unlock()
	signal(n.wake)
}

// handInRead gives the results of the readers to the Replica. It returns the bytes of their values.
func (n *Node) handInRead(now time.Duration, in *inbox) (held int) {
	bytes := 0
	for _, rec := range in.loaded {
		held += len(rec.Acceptor.Value)
		bytes = n.loaded(now, rec.Instance, rec, bytes)
	}
	n.reading -= len(in.loaded)
	for _, l := range in.listed {
		n.replica.Listed(now, l.ask.ID, l.page)
	}
	return held
}

// lookUp loads a record for Peek.
func (n *Node) lookUp(ctx context.Context, instance string) (paxos.Record, error) {
	if n.prompt != nil {
		if rec, ok := n.prompt.LoadNow(instance); ok {
			return rec, nil
		}
	}
	p := &n.peeks
	p.mu.Lock()
	l, known := p.byName[instance]
	if l == nil {
		l = &look{done: make(chan struct{})}
		if !known && !n.looks.add(func() { n.look(instance) }) {
			p.mu.Unlock()
			return paxos.Record{}, n.looks.full()
		}
		p.byName[instance] = l
	}
	p.mu.Unlock()
	if err := n.await(ctx, l.done); err != nil {
		return paxos.Record{}, err
	}
	return l.rec, l.err
}

// look loads the record of a name for the calls of lookUp that wait for it. It runs in a reader.
func (n *Node) look(instance string) {
	p := &n.peeks
	p.mu.Lock()
	l := p.byName[instance]
	p.byName[instance] = nil
	p.mu.Unlock()
	if l.rec, l.err = n.config.Storage.Load(instance); l.err != nil {
		l.err = fmt.Errorf("storage: %w", l.err)
	}
	close(l.done)
	p.mu.Lock()
	defer p.mu.Unlock()
	next := p.byName[instance]
	if next != nil && n.looks.add(func() { n.look(instance) }) {
		return
	}
	delete(p.byName, instance)
	if next != nil {
		next.err = n.looks.full()
		close(next.done)
	}
}

// A stretch holds the decisions that follow an Index. It has all of them up to end.
type stretch struct {
	learned []paxos.Learned
	errs    []error // of each of them: a ForgottenError, or nil
	end     uint64
}

// Bounds of a stretch.
const (
	stretchMost  = 256
	stretchBytes = 1 << 20 // of values; the last value may exceed it
)

// stretch returns decisions with an Index above after. It returns none above shown, because their records may not be
// durable yet. If reading fails, it also returns the decisions that it read before.
func (n *Node) stretch(ctx context.Context, after, shown uint64, within []paxos.NameRange) (stretch, error) {
	if err := n.ended(ctx); err != nil {
		return stretch{}, err
	}
	if n.prompt != nil {
		s, err := n.readStretch(ctx, true, after, shown, within)
		if err != nil || s.end > after {
			return s, err
		}
	}
	var s stretch
	var failed error
	done := make(chan struct{})
	if !n.streams.add(func() {
		defer close(done)
		if failed = n.ended(ctx); failed == nil {
			s, failed = n.readStretch(ctx, false, after, shown, within)
		}
	}) {
		return stretch{}, n.streams.full()
	}
	if err := n.await(ctx, done); err != nil {
		return stretch{}, err
	}
	return s, failed
}

// readStretch reads a stretch. If now is true, it reads only what the storage answers at once, and stops there without an
// error.
func (n *Node) readStretch(ctx context.Context, now bool, after, shown uint64, within []paxos.NameRange) (s stretch, err error) {
	s.end = after
	page, ok, err := n.decided(now, after)
	if err != nil || !ok {
		return s, err
	}
	for len(page) > 0 && page[len(page)-1].Index > shown {
		page = page[:len(page)-1]
	}
	bytes := 0
	for _, named := range page {
		if err := n.ended(ctx); err != nil {
			return s, err
		}
		if !wanted(named.Instance, within) {
			s.end = named.Index
			continue
		}
		rec, ok, err := n.loadOne(now, named.Instance)
		if err == nil && ok && (!rec.Chosen || rec.Index != named.Index) {
			var gone bool
			if gone, ok, err = n.isGone(now, named); gone {
				s.end = named.Index
				continue
			}
		}
		switch {
		case err != nil:
			return s, fmt.Errorf("storage: load %q: %w", named.Instance, err)
		case !ok:
			return s, nil
		case !rec.Chosen:
			return s, fmt.Errorf("storage: load %q: its decision %d is missing", named.Instance, named.Index)
		}
		s.add(named, rec, within)
		if bytes += len(rec.Acceptor.Value); bytes >= stretchBytes {
			return s, nil
		}
	}
	if len(page) < stretchMost {
		s.end = shown
	}
	return s, nil
}

// wanted reports whether a subscriber to these ranges of names may want the record of that name. Without ranges it wants all. Nobody
// wants configurations: they are not the decisions of a service.
// The record of a forgotten range may be about any name.
func wanted(name string, within []paxos.NameRange) bool {
	if _, ok := paxos.ConfigurationNumber(name); ok {
		return false
	}
	return len(within) == 0 || replica.IsForgottenRange(name) || slices.ContainsFunc(within, func(r paxos.NameRange) bool { return r.Has(name) })
}

// add adds a record: a decision, or the names that were forgotten instead.
func (s *stretch) add(named paxos.Named, rec paxos.Record, within []paxos.NameRange) {
	s.end = named.Index
	learned, forgotten := paxos.Learned{Index: named.Index}, paxos.OneName(named.Instance)
	switch {
	case !rec.Acceptor.Promised.IsForgotten():
		learned.Decision = rec.Decision(named.Instance)
		s.learned, s.errs = append(s.learned, learned), append(s.errs, nil)
		return
	case replica.IsForgottenRange(named.Instance):
		forgotten, _ = paxos.ParseNameRange(string(rec.Acceptor.Value))
	}
	if len(within) == 0 || slices.ContainsFunc(within, forgotten.Meets) {
		s.learned, s.errs = append(s.learned, learned), append(s.errs, failure(callDecisions, "", &paxos.ForgottenError{Names: forgotten}))
	}
}

// isGone reports whether a decision that the storage has listed is not there any more: it was forgotten since. ok is false if the
// storage does not answer that at once, and has to.
func (n *Node) isGone(now bool, named paxos.Named) (gone, ok bool, err error) {
	page, ok, err := n.decided(now, named.Index-1)
	return ok && err == nil && (len(page) == 0 || page[0] != named), ok, err
}

// decided calls Storage.Decided. If now is true, it calls PromptStorage.DecidedNow instead.
func (n *Node) decided(now bool, after uint64) (page []paxos.Named, ok bool, err error) {
	if now {
		page, ok = n.prompt.DecidedNow(after, stretchMost)
		return page, ok, nil
	}
	if page, err = n.config.Storage.Decided(after, stretchMost); err != nil {
		err = fmt.Errorf("storage: %w", err)
	}
	return page, true, err
}

// loadOne calls Storage.Load. If now is true, it calls PromptStorage.LoadNow instead.
func (n *Node) loadOne(now bool, instance string) (rec paxos.Record, ok bool, err error) {
	if now {
		rec, ok = n.prompt.LoadNow(instance)
		return rec, ok, nil
	}
	rec, err = n.config.Storage.Load(instance)
	return rec, true, err
}
