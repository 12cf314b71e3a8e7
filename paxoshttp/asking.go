package paxoshttp

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/singledecree/paxos"
)

// maxValue is the highest Limits.MaxValue of any server.
const maxValue = 1 << 20

// Propose asks the cluster to decide the instance, and offers v, as Propose of a Node does: it returns the value that was chosen,
// whoever offered it. If the answer of a server is lost, the next server is offered the same value. See [Client] for what is
// unknown after an error.
func (c *Client) Propose(ctx context.Context, instance string, v paxos.Value) (paxos.Decision, error) {
	q := question{op: CallPropose, instance: instance, method: http.MethodPost, call: CallPropose, effect: true}
	if err := paxos.CheckInstance(instance); err != nil {
		return paxos.Decision{}, certain(q.op, instance, err)
	}
	if len(v) > maxValue {
		return paxos.Decision{}, certain(q.op, instance, fmt.Errorf("value has %d bytes, at most %d are allowed: %w", len(v), maxValue, paxos.ErrTooLarge))
	}
	q.body = encode(newProposal(instance, v))
	d, ok, err := c.about(ctx, q, c.call)
	if err == nil && !ok {
		err = q.fails(fmt.Errorf("the answer says that nothing is decided"))
	}
	return d, err
}

// Read returns the decision of the instance, if there was one when the call began. It is linearizable, at any server. Unknown is false for
// its errors.
func (c *Client) Read(ctx context.Context, instance string) (d paxos.Decision, ok bool, err error) {
	return c.get(ctx, CallRead, instance, c.call)
}

// Peek returns the decision of the instance if the server knows it that happens to be asked. A later Peek at another server may know less.
// Unknown is false for its errors.
func (c *Client) Peek(ctx context.Context, instance string) (d paxos.Decision, ok bool, err error) {
	return c.get(ctx, CallPeek, instance, c.call)
}

// Wait returns the decision of the instance as soon as a server learns it. It asks again, at one server after the other, until ctx
// ends. Unknown is false for its errors.
func (c *Client) Wait(ctx context.Context, instance string) (paxos.Decision, error) {
	d, ok, err := c.get(ctx, CallWait, instance, func(ctx context.Context, q question, into decoder) error {
		return c.until(ctx, q, into, func() bool { return true })
	})
	if err == nil && !ok {
		err = certain(CallWait, instance, fmt.Errorf("the answer says that nothing is decided"))
	}
	return d, err
}

// Forget forgets all instances in a range of names, for ever: see [paxos.Prefix] and [paxos.OneName]. If Unknown of its error is true,
// they may be forgotten, or about to be. A repeated call finds out.
func (c *Client) Forget(ctx context.Context, names paxos.NameRange) error {
	if err := names.Check(); err != nil {
		return certain(CallForget, "", err)
	}
	q := question{op: CallForget, method: http.MethodPost, call: CallForget, query: url.Values{"from": {names.From}, "to": {names.To}}, effect: true}
	a := answer{}
	if err := c.call(ctx, q, into(&a, anything)); err != nil {
		return err
	}
	if done, _ := a.names(); done != names {
		return q.fails(fmt.Errorf("the answer is about names from %q to below %q", done.From, done.To))
	}
	return nil
}

// get asks about an instance.
func (c *Client) get(ctx context.Context, call, instance string, ask func(context.Context, question, decoder) error) (paxos.Decision, bool, error) {
	if err := paxos.CheckInstance(instance); err != nil {
		return paxos.Decision{}, false, certain(call, instance, err)
	}
	q := question{op: call, instance: instance, method: http.MethodGet, call: call, query: url.Values{"name": {instance}}}
	return c.about(ctx, q, ask)
}

// anything is the check of an answer that is looked at later.
func anything(answer) error { return nil }

// about asks a question whose answer is about an instance.
func (c *Client) about(ctx context.Context, q question, ask func(context.Context, question, decoder) error) (paxos.Decision, bool, error) {
	var a answer
	if err := ask(ctx, q, into(&a, anything)); err != nil {
		return paxos.Decision{}, false, err
	}
	d, ok, err := a.decision(q.instance)
	if err != nil {
		return paxos.Decision{}, false, q.fails(err)
	}
	return d, ok, nil
}
