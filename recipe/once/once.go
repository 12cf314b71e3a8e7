// Package once lets exactly one of many callers hold a job, and a successor take over from one that died.
//
// Each attempt at a job is a register that is written once. A caller offers its claim there, and one claim is chosen, for ever:
//
//	job, err := once.New(node, "invoice/2026-11")
//	claim, err := job.Attempt(1, "worker 3")
//	switch err := claim.Take(ctx); {
//	case err == nil:
//		… do the work, and give claim.Token() to every store that it writes to
//		err = claim.Done(ctx, "sent")
//	case errors.Is(err, once.ErrHeld): // another caller has it
//	case errors.Is(err, once.ErrDone): // it is done, and the error has the result
//	case paxos.Unknown(err): // call Take of the same claim again
//	}
//
// The number of the attempt is the token. If a caller believes that the holder of attempt 1 is dead, it begins attempt 2. Time, or a
// silent heartbeat, may tell when to try. The register alone says which caller holds.
//
// # What it promises
//
//   - At most one [Claim] ever holds a token. A nonce in each claim makes that so for callers with equal names, and for a caller that
//     retries.
//   - Tokens grow: when a claim is taken, all attempts before it were decided.
//   - Done is final. After it no attempt begins, and every caller gets its result. A claim that has a successor can't be done any more.
//
// # What it does not promise
//
// The work itself may run twice at the same time. The holder of attempt 1 may only be slow: in a long pause of its process, behind a
// broken link, or in front of a write that it began before. No lock, lease or leader election prevents that, and users of such services
// have found it out in production. So give the token to the store that the work changes, and let the store refuse a token below the
// highest that it has seen. Package term has such a check, Fence. Where the store can't do that, the work has to be harmless when it is
// done twice.
//
// # Names
//
// Attempt 7 of job J is the instance J/000000007, and the register that follows the last attempt has the result. [Job.Names] is their range, for
// Forget. A forgotten job is gone: each call for it returns paxos.ErrForgotten. The range includes jobs with names that begin with J/.
package once

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/recipe/internal/chain"
)

// Limits of a job.
const (
	// MaxAttempt is the number of the last attempt.
	MaxAttempt = chain.MaxNumber - 1
	// MaxName is the most bytes of the name of a job.
	MaxName = paxos.MaxName - 1 - chain.Digits
)

// The errors of a job, for [errors.Is]. An error also wraps that of the [Register], such as paxos.ErrForgotten, if that is the cause.
var (
	// ErrHeld: another claim has the attempt, or a later one. The error is a [*StateError].
	ErrHeld = errors.New("another claim holds the job")
	// ErrDone: the job is done. The error is a [*StateError], and has the result.
	ErrDone = errors.New("the job is done")
	// ErrEarly: the attempt before this one has not begun. The error is a [*StateError].
	ErrEarly = errors.New("the attempt before has not begun")
	// ErrNotTaken: Done was called before Take has returned nil. Nothing was done.
	ErrNotTaken = errors.New("the claim is not taken")
	// ErrValue: a register of the job has a value that this package did not write. The error names the instance.
	ErrValue = chain.ErrValue
)

// A Register is what a Job needs of a server. A [github.com/singledecree/paxos/node.Node] is one.
type Register interface {
	// Propose returns the value that is chosen, and an error of which paxos.Unknown is true if v may be chosen although it failed.
	Propose(ctx context.Context, instance string, v paxos.Value) (paxos.Decision, error)
	// Read is linearizable: it returns each decision that any call returned before it began.
	Read(ctx context.Context, instance string) (d paxos.Decision, ok bool, err error)
}

// A Job is done by one holder. It is a handle: several processes have one each, of the same name. It remembers what it has read, asks
// no server when it is made, and is safe for concurrent use.
type Job struct{ chain *chain.Chain }

// New returns the handle of a job. The name is that of an instance, of at most [MaxName] bytes. The error wraps paxos.ErrName.
func New(r Register, name string) (*Job, error) {
	c, err := chain.New(r, "once", name, chain.Digits)
	if err != nil {
		return nil, err
	}
	return &Job{c}, nil
}

// Names is the range of all instances of the job, for Forget of a Node.
func (j *Job) Names() paxos.NameRange { return paxos.Prefix(j.chain.Name() + "/") }

// A State is how far a job is.
type State struct {
	Token  uint64      // of the last attempt; 0: none has begun
	Owner  string      // the name that its claim gives
	Done   bool        // the holder of Token has recorded Result
	Result paxos.Value // as given to [Claim.Done]
}

// String returns the state in words.
func (s State) String() string {
	switch {
	case s.Done:
		return fmt.Sprintf("attempt %d is done", s.Token)
	case s.Token == 0:
		return "no attempt has begun"
	}
	return fmt.Sprintf("attempt %d is held by %q", s.Token, s.Owner)
}

// A StateError says that a job is in a state in which the call could have no effect. It wraps [ErrHeld], [ErrDone] or [ErrEarly], and
// paxos.Unknown is false for it.
type StateError struct {
	State State
	op    *paxos.OpError
}

// Error names the job and its state.
func (e *StateError) Error() string {
	return fmt.Sprintf("once: %s %q: %v: %v", e.op.Op, e.op.Instance, e.op.Err, e.State)
}

// Unwrap returns an error that wraps ErrHeld, ErrDone or ErrEarly.
func (e *StateError) Unwrap() error { return e.op }

const (
	claimed = "claim"
	done    = "done"
)

// State reads how far the job is. It costs one Read more than there are attempts that this handle has not seen yet. A later attempt may
// have begun before it returns.
func (j *Job) State(ctx context.Context) (State, error) { return j.upTo(ctx, chain.MaxNumber) }

// upTo is State, and does not read beyond register most.
func (j *Job) upTo(ctx context.Context, most uint64) (State, error) {
	n, v, err := j.chain.Last(ctx, most)
	if err != nil {
		return State{}, err
	}
	return j.state(n, v)
}

func (j *Job) state(n uint64, v chain.Value) (State, error) {
	switch {
	case n == 0:
		return State{}, nil
	case v.Kind == claimed && v.Body == "":
		return State{Token: n, Owner: v.Who}, nil
	case v.Kind == done && n > 1:
		return State{Token: n - 1, Owner: v.Who, Done: true, Result: v.Body}, nil
	}
	return State{}, j.chain.Wrong(n, v)
}

// A Claim is one caller's claim to one attempt. It has a nonce that no other has. Its methods are safe for concurrent use, and then
// all its users are one caller.
type Claim struct {
	job   *Job
	token uint64
	value chain.Value
	offer *chain.Offer
	taken atomic.Bool
	ends  chain.Latest
}

// Attempt returns a new claim to attempt token, 1 to [MaxAttempt], in the name of owner. It asks no server. The first attempt at a job
// is 1, and a successor takes [State].Token + 1. The owner is for people: 1 to 255 bytes of UTF-8 without control characters, and need
// not be unique.
func (j *Job) Attempt(token uint64, owner string) (*Claim, error) {
	return j.Resume(token, owner, rand.Text())
}

// Resume returns the claim with a nonce that the caller has given before, for one that has to outlive its process: store the nonce
// first, and then take the claim. A process that starts again then learns whether its claim was chosen. Two callers must not use one
// nonce. It has 1 to 255 bytes, without spaces and control characters.
func (j *Job) Resume(token uint64, owner, nonce string) (*Claim, error) {
	if token < 1 || token > MaxAttempt {
		return nil, fmt.Errorf("once: attempt %d: the first is 1, and the last is %d", token, uint64(MaxAttempt))
	}
	if err := errors.Join(chain.CheckWho("owner", owner), chain.CheckNonce(nonce)); err != nil {
		return nil, fmt.Errorf("once: %w", err)
	}
	v := chain.Value{Kind: claimed, Nonce: nonce, Who: owner}
	return &Claim{job: j, token: token, value: v, offer: j.chain.Offer(token, v)}, nil
}

// Token is the number of the attempt: the fencing token.
func (c *Claim) Token() uint64 { return c.token }

// Take returns nil if this claim holds its attempt, and it holds it for ever. It repeats calls that fail, until ctx ends or an error
// that no repetition mends.
//
// It returns a [*StateError] if the claim does not and will never hold. Otherwise, if paxos.Unknown(err) is true, the claim may hold or
// come to hold its attempt. Call Take of this same claim again to learn it. A caller that gives up instead leaves an attempt that
// perhaps nobody works on, and a successor may begin the next one.
func (c *Claim) Take(ctx context.Context) error {
	if c.taken.Load() {
		return nil
	}
	s, err := c.job.upTo(ctx, c.token-1)
	switch {
	case err != nil:
		return c.offer.Failed(err) // the doubt of an earlier Take stays
	case s.Done:
		return c.refused("take", s)
	case s.Token < c.token-1:
		return &StateError{s, chain.Certain("take", c.job.chain.Instance(c.token), ErrEarly)}
	}
	v, mine, err := c.offer.Make(ctx)
	if err != nil {
		return err
	}
	if mine {
		c.taken.Store(true)
		return nil
	}
	if s, err = c.job.state(c.token, v); err != nil {
		return err
	}
	return c.refused("take", s)
}

// refused returns the error of a call that came too late.
func (c *Claim) refused(op string, s State) error {
	err := ErrHeld
	if s.Done {
		err = ErrDone
	}
	return &StateError{s, chain.Certain(op, c.job.chain.Instance(c.token), err)}
}

// Done records that the job is done, with a result that may be empty. The claim must be taken. After nil, no attempt begins any more,
// and every State has this result.
//
// It returns a [*StateError] if a later attempt has begun (ErrHeld), or another result was recorded (ErrDone). If paxos.Unknown(err) is
// true, call Done again, with the same result: that stays true until it is known. It repeats calls as Take does. The result may be about 600 bytes smaller than
// Limits.MaxValue of the servers; else the error is paxos.ErrTooLarge.
func (c *Claim) Done(ctx context.Context, result paxos.Value) error {
	if !c.taken.Load() {
		return &StateError{State{}, chain.Certain("done", c.job.chain.Instance(c.token), ErrNotTaken)}
	}
	v := c.value
	v.Kind, v.Body = done, result
	chosen, mine, err := c.ends.Offer(c.job.chain, c.token+1, v).Make(ctx)
	if err != nil || mine {
		return err
	}
	s, err := c.job.state(c.token+1, chosen)
	if err != nil {
		return err
	}
	return c.refused("done", s)
}
