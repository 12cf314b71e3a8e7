package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/paxoshttp"
)

// A client talks to the API of one server. Its calls end after a timeout.
type client struct {
	addr string // host:port
	http *paxoshttp.Client
	life context.Context // until close
	end  context.CancelCauseFunc
}

func newClient(addr string) (*client, error) {
	h, err := paxoshttp.NewClient(paxoshttp.ClientConfig{Servers: []string{"http://" + addr + "/v1"}, Try: longest})
	if err != nil {
		return nil, err
	}
	c := &client{addr: addr, http: h}
	c.life, c.end = context.WithCancelCause(context.Background())
	return c, nil
}

// close ends the watches of a server that is down, and gives the connections back.
func (c *client) close() {
	c.end(errors.New("the server is down"))
	c.http.Close()
}

func (c *client) propose(ctx context.Context, name, value string, timeout time.Duration) (paxos.Decision, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return c.http.Propose(ctx, name, paxos.Value(value))
}

// ask makes one of the calls read, wait and peek.
func (c *client) ask(ctx context.Context, call, name string, timeout time.Duration) (d paxos.Decision, ok bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	switch call {
	case "read":
		return c.http.Read(ctx, name)
	case "peek":
		return c.http.Peek(ctx, name)
	case "wait":
		d, err = c.http.Wait(ctx, name)
		return d, err == nil, err
	}
	return d, false, fmt.Errorf("%s: there is no such call", call)
}

// forget has all names with a prefix forgotten.
func (c *client) forget(ctx context.Context, prefix string, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return c.http.Forget(ctx, paxos.Prefix(prefix))
}

func (c *client) status(ctx context.Context, timeout time.Duration) (paxoshttp.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return c.http.Status(ctx)
}

// members asks for the members, and the progress of the last change.
func (c *client) members(ctx context.Context, timeout time.Duration) (paxoshttp.Membership, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return c.http.Members(ctx)
}

// ready waits until the server has caught up.
func (c *client) ready(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return c.http.Ready(ctx)
}

// change asks for the next members, and returns the number of their configuration.
func (c *client) change(ctx context.Context, next paxoshttp.Change, timeout time.Duration) (number uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return c.http.Change(ctx, paxos.Members{Acceptors: next.Acceptors, Learners: next.Learners, Addresses: next.Addresses})
}

// watch calls each for every decision, and for forgotten names, until ctx ends or the server is down.
func (c *client) watch(ctx context.Context, each func(paxos.Learned, *paxos.ForgottenError)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(c.life, func() { cancel(context.Cause(c.life)) })()
	for learned, err := range c.http.Decisions(ctx, 0) {
		var forgotten *paxos.ForgottenError
		if err != nil && !errors.As(err, &forgotten) {
			return err
		}
		each(learned, forgotten)
	}
	return nil
}
