package paxoshttp

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/singledecree/paxos"
)

// Change asks for the next configuration of the cluster, as Change of a Node does. The Cluster of next is not sent. A nil Quorum means
// the majority. It returns the number of the configuration that was decided. See [Client.Settled] for what comes then.
//
// The error wraps paxos.ErrConflict if another change was decided: look at [Client.Members] and ask again if need be. Change goes to
// another server only if it is certain that no server has it, because two servers might decide it twice, one after the other.
func (c *Client) Change(ctx context.Context, next paxos.Members) (number uint64, err error) {
	q := question{op: CallChange, method: http.MethodPost, call: CallChange, body: encode(NewChange(next)), effect: true, once: true}
	var decided changed
	err = c.call(ctx, q, into(&decided, func(answered changed) error {
		if answered.Configuration == 0 || !slices.Equal(answered.Acceptors, next.Acceptors) || !slices.Equal(answered.Learners, next.Learners) {
			return errors.New("it is not about these members")
		}
		return nil
	}))
	return decided.Configuration, err
}

// Members returns the members, as the server knows them that is asked.
func (c *Client) Members(ctx context.Context) (Membership, error) {
	var m Membership
	err := c.call(ctx, question{op: CallMembers, method: http.MethodGet, call: CallMembers}, into(&m, isMembership))
	return m, err
}

func isMembership(m Membership) error { return isOfServer(m.ID) }

func isStatus(s Status) error { return isOfServer(s.ID) }

// isOfServer returns an error unless an answer names its server.
func isOfServer(id paxos.ServerID) error {
	if id == 0 {
		return errors.New("it names no server")
	}
	return nil
}

// Settled waits until the configuration of that number, or a later one, is settled: see Settled of a Node. It asks again, at one server
// after the other, until ctx ends.
func (c *Client) Settled(ctx context.Context, number uint64) error {
	var m Membership
	return c.until(ctx, question{op: CallSettled, method: http.MethodGet, call: CallSettled}, into(&m, isMembership), func() bool { return m.Configuration >= number && m.Settled })
}

// Ready waits until a server is ready: see Ready of a Node. It asks again, at one server after the other, until ctx ends.
func (c *Client) Ready(ctx context.Context) error {
	var m Membership
	return c.until(ctx, question{op: CallReady, method: http.MethodGet, call: CallReady}, into(&m, isMembership), func() bool { return true })
}

// Status returns the state of the server that is asked.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	err := c.call(ctx, question{op: CallStatus, method: http.MethodGet, call: CallStatus}, into(&s, isStatus))
	return s, err
}
