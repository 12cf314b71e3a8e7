// Package chain is what the recipes have in common: registers NAME/1, NAME/2 and so on, each decided after the one before.
//
// A register of a chain holds a claim, or the end of the claim before it. So one register decides between the two: either a claim
// has ended with a result, or another has followed it. A number belongs to one claim, and numbers only grow.
package chain

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/singledecree/paxos"
)

// MaxNumber is the number of the last register of a chain.
const MaxNumber = 999_999_999

// Digits are those of MaxNumber.
const Digits = 9

// A Register is what a chain needs of a server.
type Register interface {
	Propose(ctx context.Context, instance string, v paxos.Value) (paxos.Decision, error)
	Read(ctx context.Context, instance string) (d paxos.Decision, ok bool, err error)
}

// A Chain reads registers one after the other, and remembers the last one that is decided. It is safe for concurrent use.
type Chain struct {
	register     Register
	recipe, name string
	digits       int // of a number, at least

	mu    sync.Mutex
	known uint64 // 0: none
	last  Value
}

// New returns the chain of a name, for a recipe. Its numbers have so many digits, so that names are in the order of numbers.
func New(r Register, recipe, name string, digits int) (*Chain, error) {
	if err := paxos.CheckInstance(name); err != nil {
		return nil, fmt.Errorf("%s: %w", recipe, err)
	}
	if most := paxos.MaxName - 1 - digits; len(name) > most {
		return nil, fmt.Errorf("%s: %w: %w: name has %d bytes, at most %d are allowed", recipe, paxos.ErrName, paxos.ErrTooLarge, len(name), most)
	}
	return &Chain{register: r, recipe: recipe, name: name, digits: digits}, nil
}

// Name is the name of the chain.
func (c *Chain) Name() string { return c.name }

// Instance is the name of a register of the chain.
func (c *Chain) Instance(n uint64) string { return fmt.Sprintf("%s/%0*d", c.name, c.digits, n) }

// Known returns the last decided register that was seen, and its value. n is 0 if none was.
func (c *Chain) Known() (n uint64, v Value) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known, c.last
}

// Last reads until it finds a register that is not decided, or the number most. It returns the last one that is decided.
func (c *Chain) Last(ctx context.Context, most uint64) (n uint64, v Value, err error) {
	for {
		n, v = c.Known()
		if n >= min(most, MaxNumber) {
			return n, v, nil
		}
		d, ok, err := c.register.Read(ctx, c.Instance(n+1))
		if err != nil {
			return n, v, fmt.Errorf("%s: %w", c.recipe, err)
		}
		if !ok {
			return n, v, nil
		}
		if _, err := c.Learn(n+1, d.Value); err != nil {
			return n, v, err
		}
	}
}

// Learn takes in the value of a decided register. All before it must be decided.
func (c *Chain) Learn(n uint64, text paxos.Value) (Value, error) {
	v, err := Parse(c.recipe, text)
	if err != nil {
		return v, fmt.Errorf("%s: %w", c.recipe, Certain("read", c.Instance(n), err))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if n > c.known {
		c.known, c.last = n, v
	}
	return v, nil
}

// An Offer is one value for one register. It may be made any number of times, and from several goroutines.
type Offer struct {
	chain *Chain
	n     uint64
	text  paxos.Value
	doubt atomic.Pointer[error] // the first error after which the outcome is not known
}

// Offer returns the offer of a value for register n.
func (c *Chain) Offer(n uint64, v Value) *Offer {
	return &Offer{chain: c, n: n, text: v.Text(c.recipe)}
}

// Make proposes the value until the register is known to be decided. It returns the value that was chosen. mine is true if that is the
// offered one, byte for byte. All registers before it must be decided.
//
// Make gives up if ctx ends, or if a call fails in a way that a repetition can't mend. Then paxos.Unknown(err) is true if any try may have
// left the value behind, in this call of Make or an earlier one.
func (o *Offer) Make(ctx context.Context) (v Value, mine bool, err error) {
	instance := o.chain.Instance(o.n)
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		d, err := o.chain.register.Propose(ctx, instance, o.text)
		if err == nil {
			v, err := o.chain.Learn(o.n, d.Value)
			return v, err == nil && d.Value == o.text, err
		}
		if paxos.Unknown(err) {
			o.doubt.CompareAndSwap(nil, &err)
		}
		if ctx.Err() != nil || !Mends(err) {
			return Value{}, false, o.Failed(fmt.Errorf("%s: %w", o.chain.recipe, err))
		}
		select {
		case <-ctx.Done():
			return Value{}, false, o.Failed(fmt.Errorf("%s: %w", o.chain.recipe, err))
		case <-time.After(pause):
		}
	}
}

// Failed returns err with its cause first, and adds the doubt that an earlier try has left.
func (o *Offer) Failed(err error) error {
	doubt := o.doubt.Load()
	if doubt == nil || paxos.Unknown(err) {
		return err
	}
	return fmt.Errorf("%w; an earlier try left the outcome unknown: %w", unknown{err}, *doubt)
}

// A Latest is the latest offer of one caller. The zero Latest has none. It is safe for concurrent use.
type Latest struct{ offer atomic.Pointer[Offer] }

// Offer returns the offer of a value for register n. If it is the same as the one before, that is it, with its doubt.
func (l *Latest) Offer(c *Chain, n uint64, v Value) *Offer {
	next := c.Offer(n, v)
	for {
		last := l.offer.Load()
		if last != nil && last.n == n && last.text == next.text {
			return last
		}
		if l.offer.CompareAndSwap(last, next) {
			return next
		}
	}
}

// An unknown error has no [paxos.OpError] of its own, so that Unknown looks at the error beside it.
type unknown struct{ error }

func (u unknown) Is(target error) bool { return errors.Is(u.error, target) }

// Mends reports whether a repetition may succeed where a call has failed with err.
func Mends(err error) bool {
	for _, final := range []error{paxos.ErrName, paxos.ErrTooLarge, paxos.ErrForgotten, paxos.ErrClosed, paxos.ErrRounds, paxos.ErrNotMember} {
		if errors.Is(err, final) {
			return false
		}
	}
	var broken *paxos.SafetyError
	var told interface{ Final() bool } // by a server of paxoshttp
	return !errors.As(err, &broken) && !(errors.As(err, &told) && told.Final())
}

// Wrong is the error of a value whose kind does not belong where it stands.
func (c *Chain) Wrong(n uint64, v Value) error {
	return fmt.Errorf("%s: %w", c.recipe, Certain("read", c.Instance(n), fmt.Errorf("%w: the kind %.20q is not expected there", ErrValue, v.Kind)))
}

// Certain makes an error of which paxos.Unknown is false: it says what is decided.
func Certain(op, instance string, err error) *paxos.OpError {
	return &paxos.OpError{Op: op, Instance: instance, Err: err, Unsent: true}
}
