package paxoshttp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/singledecree/paxos"
)

// A try is a server that was asked in vain.
type try struct {
	server string
	err    *paxos.OpError
}

// A triesError says why each server failed. The errors of one server alone, such as paxos.ErrClosed, count only if all servers have
// them.
type triesError []try

// Error has the reason of each server.
func (e triesError) Error() string {
	reasons := make([]string, len(e))
	for i, t := range e {
		reasons[i] = reason(t.err)
	}
	return "no server has carried it out: " + strings.Join(reasons, "; ")
}

// reason returns the text of an error without the call that it is about.
func reason(err *paxos.OpError) string {
	bare := &paxos.OpError{Op: err.Op, Instance: err.Instance}
	return strings.TrimPrefix(strings.TrimPrefix(err.Error(), bare.Error()), ": ")
}

// Unwrap returns the errors that say something about the call, and not only about one server.
func (e triesError) Unwrap() (all []error) {
	for _, own := range []error{paxos.ErrClosed, paxos.ErrNotMember, paxos.ErrRounds} {
		if !slices.ContainsFunc(e, func(t try) bool { return !errors.Is(t.err, own) }) {
			return []error{e[len(e)-1].err.Err}
		}
	}
	for _, t := range e {
		if !errors.Is(t.err, paxos.ErrClosed) && !errors.Is(t.err, paxos.ErrNotMember) && !errors.Is(t.err, paxos.ErrRounds) {
			all = append(all, t.err.Err)
		}
	}
	return all
}

// finals are the codes that another server would answer, too.
var finals = []Code{CodeForgotten, CodeIndex, CodeConflict, CodeName, CodeNotReady, CodeTooLarge, CodeUnauthenticated, CodeForbidden, CodeMalformed,
	CodeMembers, CodeFinished, CodeContentType, CodeBroken}

// Final reports whether no other server, and no repetition, will change the answer. Recipes give up then.
func (e *ServerError) Final() bool {
	return slices.Contains(finals, e.Code) || e.Code == "" && e.kind != nil
}

// isFinal reports whether an error is a final answer of a server.
func isFinal(err *paxos.OpError) bool {
	var refused *ServerError
	return errors.As(err, &refused) && refused.Final()
}

// call asks one server after the other, beginning with the one that answered last, until one carries it out.
func (c *Client) call(ctx context.Context, q question, into decoder) error {
	if ctx.Err() != nil {
		return certain(q.op, q.instance, ctxError(ctx))
	}
	servers, first := c.config.Servers, int(c.last.Load())
	var tries triesError
	unknown := false
	for i := range servers {
		at := (first + i) % len(servers)
		err := c.try(ctx, servers[at], q, into, len(servers)-i)
		if err == nil {
			c.last.Store(int64(at))
			return nil
		}
		tries = append(tries, try{servers[at], err})
		unknown = unknown || !err.Unsent
		if isFinal(err) {
			c.last.Store(int64(at))
			err.Unsent = !unknown
			return err
		}
		if ctx.Err() != nil || q.once && unknown {
			break
		}
	}
	if len(tries) == 1 {
		return tries[0].err
	}
	failed := certain(q.op, q.instance, tries)
	failed.Unsent = !unknown
	return failed
}

// try asks a server within its share of the time. left is the number of servers that have not been asked.
func (c *Client) try(ctx context.Context, server string, q question, into decoder, left int) *paxos.OpError {
	d := c.config.Try
	if deadline, ok := ctx.Deadline(); ok {
		if q.once {
			left, d = 1, time.Until(deadline)
		}
		d = min(d, time.Until(deadline)/time.Duration(left))
	}
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return c.ask(ctx, server, q, into)
}

// Pauses between two rounds of questions.
const (
	firstPause = 50 * time.Millisecond
	lastPause  = time.Second
)

// until makes calls until one is carried out, the error is final, or ctx ends. enough may find an answer insufficient.
func (c *Client) until(ctx context.Context, q question, into decoder, enough func() bool) error {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		began := time.Now()
		err := c.call(ctx, q, into)
		if time.Since(began) > lastPause { // the servers wait themselves
			pause = firstPause
		}
		var failed *paxos.OpError
		switch {
		case err == nil && enough():
			return nil
		case err == nil:
			c.last.Store((c.last.Load() + 1) % int64(len(c.config.Servers)))
		case errors.As(err, &failed) && isFinal(failed):
			return failed
		}
		if rest(ctx, pause) == nil {
			continue
		}
		return ended(ctx, q.op, q.instance, failed)
	}
}

// ended returns the error of a call that has gone on until ctx ended. last is why it failed before, and may be nil.
func ended(ctx context.Context, op, instance string, last *paxos.OpError) *paxos.OpError {
	if last == nil {
		return certain(op, instance, ctxError(ctx))
	}
	if errors.Is(last, ctx.Err()) && errors.Is(last, context.Cause(ctx)) {
		return last
	}
	return certain(op, instance, fmt.Errorf("%w (before that: %s)", ctxError(ctx), reason(last)))
}

// rest waits for a moment.
func rest(ctx context.Context, d time.Duration) error {
	over := time.NewTimer(d)
	defer over.Stop()
	select {
	case <-over.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
