// Package term has one leader at a time in each term, and the number of the term as its token.
//
// Each term is a register that is written once. A candidate offers itself there, and one candidate is chosen, for ever:
//
//	election, err := term.New(node, "shard 7")
//	now, err := election.State(ctx)
//	leader, err := election.Campaign(ctx, now.Term, "server 3")
//	switch {
//	case err == nil:
//		defer leader.Resign(ctx)
//		… lead: give leader.Token() to every store, until leader.Lost() is closed
//	case errors.Is(err, term.ErrHeld): // another candidate leads a later term
//		now, err = election.Next(ctx, now.Term)
//	}
//
// The package does not say when a leader is dead. A heartbeat, a load balancer or an operator does, and then somebody campaigns for the
// next term. If they are wrong, the old leader is deposed, and nothing else happens.
//
// # What it promises
//
//   - At most one [Leader] ever exists of a term. A nonce in each candidacy makes that so for candidates with equal names.
//   - Terms grow: when a term has a leader, all terms before it were decided.
//   - When this server learns of a later term, Lost is closed.
//
// # What it does not promise
//
// Two processes may believe at the same time that they lead, in two terms. The leader of the earlier one has not heard of the later one
// yet, or is in a long pause. That is true of every leader election, also of those with leases, because a process can stop between the
// check and the write. So give the token to every store, and let it refuse a token below the highest that it has seen. [Fence] does that
// for a store in one process; a database does it with one condition in the same transaction.
//
// # Names
//
// Term 7 of election E is the instance E/000000007. [Election.Names] is the range of all of them, and [Election.Before] that of old
// terms, for Forget. A new handle begins at term 1, and gets paxos.ErrForgotten if that is forgotten. Let it begin at a later term with
// [Election.From].
package term

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/recipe/internal/chain"
)

// Limits of an election.
const (
	// MaxTerm is the number of the last term.
	MaxTerm = chain.MaxNumber - 1
	// MaxName is the most bytes of the name of an election.
	MaxName = paxos.MaxName - 1 - chain.Digits
)

// The errors of an election, for [errors.Is]. An error also wraps that of the [Register], such as paxos.ErrForgotten, if that is the cause.
var (
	// ErrHeld: another candidate leads this term, or a later term has begun. The error is a [*StateError].
	ErrHeld = errors.New("a later term has begun")
	// ErrEarly: the term before this one has not begun. The error is a [*StateError].
	ErrEarly = errors.New("the term before has not begun")
	// ErrResigned: [Leader.Resign] or [Leader.Close] was called.
	ErrResigned = errors.New("the leader has resigned")
	// ErrOld: a later token has passed the [Fence].
	ErrOld = errors.New("the token is old")
	// ErrValue: a register of the election has a value that this package did not write. The error names the instance.
	ErrValue = chain.ErrValue
)

// A Register is what an Election needs of a server. A [github.com/singledecree/paxos/node.Node] is one.
type Register interface {
	// Propose returns the value that is chosen, and an error of which paxos.Unknown is true if v may be chosen although it failed.
	Propose(ctx context.Context, instance string, v paxos.Value) (paxos.Decision, error)
	// Read is linearizable: it returns each decision that any call returned before it began.
	Read(ctx context.Context, instance string) (d paxos.Decision, ok bool, err error)
	// Wait returns the decision as soon as the server learns it.
	Wait(ctx context.Context, instance string) (paxos.Decision, error)
}

// An Election has terms. It is a handle: several processes have one each, of the same name. It remembers what it has read, asks no
// server when it is made, and is safe for concurrent use.
type Election struct {
	register Register
	chain    *chain.Chain
}

// New returns the handle of an election. The name is that of an instance, of at most [MaxName] bytes. The error wraps paxos.ErrName.
func New(r Register, name string) (*Election, error) {
	c, err := chain.New(r, "term", name, chain.Digits)
	if err != nil {
		return nil, err
	}
	return &Election{r, c}, nil
}

// Names is the range of all instances of the election, for Forget of a Node. It includes elections with names that begin with the name
// of this one and "/".
func (e *Election) Names() paxos.NameRange { return paxos.Prefix(e.chain.Name() + "/") }

// Before is the range of the instances of all terms before term, for Forget of a Node. Every handle has to know of term by then.
func (e *Election) Before(term uint64) paxos.NameRange {
	return paxos.NameRange{From: e.chain.Instance(1), To: e.chain.Instance(min(term, MaxTerm))}
}

// From reads a term that has begun, so that the handle does not read the terms before. They may be forgotten.
func (e *Election) From(ctx context.Context, term uint64) error {
	if term < 1 || term > MaxTerm {
		return fmt.Errorf("term: term %d: the first is 1, and the last is %d", term, uint64(MaxTerm))
	}
	d, ok, err := e.register.Read(ctx, e.chain.Instance(term))
	switch {
	case err != nil:
		return fmt.Errorf("term: %w", err)
	case !ok:
		return &StateError{State{}, chain.Certain("from", e.chain.Instance(term), ErrEarly)}
	}
	_, err = e.chain.Learn(term, d.Value)
	return err
}

// A State is how far an election is.
type State struct {
	Term   uint64 // the last one that has begun; 0: none has
	Leader string // the name that its leader gave, or of the leader that has resigned
	Vacant bool   // the leader of the term before resigned, and nobody leads this one
}

// String returns the state in words.
func (s State) String() string {
	switch {
	case s.Term == 0:
		return "no term has begun"
	case s.Vacant:
		return fmt.Sprintf("term %d is vacant, as %q resigned", s.Term, s.Leader)
	}
	return fmt.Sprintf("term %d is led by %q", s.Term, s.Leader)
}

// A StateError says that an election is in a state in which the call could have no effect. It wraps [ErrHeld] or [ErrEarly], and
// paxos.Unknown is false for it.
type StateError struct {
	State State
	op    *paxos.OpError
}

// Error names the term and the state.
func (e *StateError) Error() string {
	return fmt.Sprintf("term: %s %q: %v: %v", e.op.Op, e.op.Instance, e.op.Err, e.State)
}

// Unwrap returns an error that wraps ErrHeld or ErrEarly.
func (e *StateError) Unwrap() error { return e.op }

const (
	leads  = "leader"
	vacant = "vacant"
)

func (e *Election) state(n uint64, v chain.Value) (State, error) {
	switch {
	case n == 0:
		return State{}, nil
	case v.Body == "" && (v.Kind == leads || v.Kind == vacant && n > 1):
		return State{Term: n, Leader: v.Who, Vacant: v.Kind == vacant}, nil
	}
	return State{}, e.chain.Wrong(n, v)
}

// State reads which term is the last. It costs one Read more than there are terms that this handle has not seen yet. A later term may
// have begun before it returns.
func (e *Election) State(ctx context.Context) (State, error) { return e.upTo(ctx, chain.MaxNumber) }

func (e *Election) upTo(ctx context.Context, most uint64) (State, error) {
	n, v, err := e.chain.Last(ctx, most)
	if err != nil {
		return State{}, err
	}
	return e.state(n, v)
}

// Next waits until a term after the given one has begun, and returns the last one that it finds.
func (e *Election) Next(ctx context.Context, after uint64) (State, error) {
	if known, _ := e.chain.Known(); known <= after {
		if _, err := e.wait(ctx, after+1); err != nil {
			return State{}, err
		}
	}
	return e.State(ctx)
}

func (e *Election) wait(ctx context.Context, term uint64) (chain.Value, error) {
	d, err := e.register.Wait(ctx, e.chain.Instance(term))
	if err != nil {
		return chain.Value{}, fmt.Errorf("term: %w", err)
	}
	return e.chain.Learn(term, d.Value)
}

// Campaign tries to become the leader of term after+1. It repeats calls that fail, until ctx ends or an error that no repetition
// mends. The name who is for people: 1 to 255 bytes of UTF-8 without control characters, and need not be unique.
//
// It returns a [*StateError] if another candidate was chosen. If paxos.Unknown(err) is true, this candidacy may be chosen although
// nobody leads then. Campaign for the term after that one: no harm is done, as nobody has believed that it leads.
func (e *Election) Campaign(ctx context.Context, after uint64, who string) (*Leader, error) {
	if err := chain.CheckWho("who", who); err != nil {
		return nil, fmt.Errorf("term: %w", err)
	}
	term := after + 1
	if after >= MaxTerm {
		return nil, fmt.Errorf("term: term %d: the last is %d", term, uint64(MaxTerm))
	}
	s, err := e.upTo(ctx, after)
	switch {
	case err != nil:
		return nil, err
	case s.Term < after:
		return nil, &StateError{s, chain.Certain("campaign", e.chain.Instance(term), ErrEarly)}
	case s.Term > after:
		return nil, &StateError{s, chain.Certain("campaign", e.chain.Instance(term), ErrHeld)}
	}
	candidate := chain.Value{Kind: leads, Nonce: rand.Text(), Who: who}
	chosen, mine, err := e.chain.Offer(term, candidate).Make(ctx)
	if err != nil {
		return nil, err
	}
	if mine {
		return e.lead(ctx, term, candidate), nil
	}
	if s, err = e.state(term, chosen); err != nil {
		return nil, err
	}
	return nil, &StateError{s, chain.Certain("campaign", e.chain.Instance(term), ErrHeld)}
}

// A Leader leads one term, until it is lost. It watches for later terms in a goroutine. Call Resign or Close when it is not needed any
// more. Its methods are safe for concurrent use.
type Leader struct {
	election *Election
	term     uint64
	value    chain.Value
	stop     context.CancelFunc
	lost     chan struct{}
	ended    chan struct{} // the goroutine
	resigns  chain.Latest

	once sync.Once
	why  error // before lost is closed
}

// lead returns the leader of a term, which watches for the next.
func (e *Election) lead(ctx context.Context, term uint64, v chain.Value) *Leader {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	l := &Leader{election: e, term: term, value: v, stop: stop, lost: make(chan struct{}), ended: make(chan struct{})}
	go l.watch(ctx)
	return l
}

// watch waits until the next term is known.
func (l *Leader) watch(ctx context.Context) {
	defer close(l.ended)
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		v, err := l.election.wait(ctx, l.term+1)
		if err == nil {
			var s State
			if s, err = l.election.state(l.term+1, v); err == nil {
				err = &StateError{s, chain.Certain("lead", l.election.chain.Instance(l.term), ErrHeld)}
			}
			l.lose(err)
			return
		}
		if ctx.Err() != nil {
			return
		}
		if !chain.Mends(err) || errors.Is(err, ErrValue) {
			l.lose(err) // it can't learn of a later term any more
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

func (l *Leader) lose(why error) {
	l.once.Do(func() {
		l.why = why
		close(l.lost)
	})
}

// Token is the number of the term: the fencing token.
func (l *Leader) Token() uint64 { return l.term }

// Lost is closed when a later term is known, or can't be learned of any more, or after Resign or Close.
func (l *Leader) Lost() <-chan struct{} { return l.lost }

// Err is nil until Lost is closed, and says why then. A later term is a [*StateError].
func (l *Leader) Err() error {
	select {
	case <-l.lost:
		return l.why
	default:
		return nil
	}
}

// Close stops the watch, and closes Lost. It asks no server: to others, the leader looks like one that has died.
func (l *Leader) Close() {
	l.lose(ErrResigned)
	l.stop()
	<-l.ended
}

// Resign closes Lost, and then begins the next term as a vacant one, so that candidates need not wait. It returns nil if the next term
// has begun, with or without a leader. If it fails, the leader has still given up.
func (l *Leader) Resign(ctx context.Context) error {
	l.Close()
	v := l.value
	v.Kind = vacant
	_, _, err := l.resigns.Offer(l.election.chain, l.term+1, v).Make(ctx)
	return err
}

// A Fence refuses old tokens in front of a store in one process. The zero Fence is ready, and has seen no token. It is safe for
// concurrent use.
type Fence struct {
	mu      sync.Mutex
	highest uint64
}

// Do calls write, unless a higher token has passed; then it returns [ErrOld]. Calls of write do not overlap. Do returns the error of write.
func (f *Fence) Do(token uint64, write func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if token < f.highest {
		return fmt.Errorf("term: %w: token %d comes after token %d", ErrOld, token, f.highest)
	}
	f.highest = token
	return write()
}
