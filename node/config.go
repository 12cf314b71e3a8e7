package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/singledecree/paxos"
)

// A Config says what a Node is and what it stands on. ID, Members, Storage and Transport are required; the zero value of
// every other field means its default.
type Config struct {
	// ID is this server. Its storage was formatted for it.
	ID paxos.ServerID
	// Members is the cluster, the same on every server.
	Members paxos.Members
	// Storage and Transport are used by this Node alone while it runs. The caller closes them after Close.
	Storage   paxos.Storage
	Transport paxos.Transport
	Limits    paxos.Limits
	Timing    paxos.Timing
	// Logger gets what an operator should know: start, stop, faults, refusals. Nil: nothing is logged. Its keys are
	// cluster, server, boot, peer, instance, ballot and err. It is called in a goroutine of its own. While it blocks, 1,024 lines wait;
	// those beyond are lost, the server goes on, and a line says later how many there were.
	Logger *slog.Logger
	// Trace, if not nil, gets every Event, in order, in a goroutine of its own. While it can't keep up, 65,536 events or 64 MiB of them
	// wait; those beyond are lost, the server goes on, and a log line says later how many there were. Logger and Trace must not call
	// Close, which waits for them.
	Trace func(context.Context, paxos.Event)
	// Seed is of the randomness in waits between attempts; 0: a random one.
	Seed uint64
}

// check returns an error that names the field that is wrong; the defaults are filled in.
func (c Config) check() error {
	switch {
	case c.ID == 0:
		return errors.New("Config.ID: 0 is not a valid ServerID")
	case c.Storage == nil:
		return errors.New("Config.Storage: nil")
	case c.Transport == nil:
		return errors.New("Config.Transport: nil")
	}
	if t, ok := c.Transport.(paxos.IDTransport); ok && t.ID() != c.ID {
		return fmt.Errorf("Config.Transport: it is server %d's, but Config.ID is %d", t.ID(), c.ID)
	}
	if err := c.Members.Check(); err != nil {
		return fmt.Errorf("Config.%w", err)
	}
	if !c.Members.Has(c.ID) {
		return fmt.Errorf("Config.ID: server %d is not in Config.Members", c.ID)
	}
	if err := c.Limits.Check(); err != nil {
		return fmt.Errorf("Config.%w", err)
	}
	if err := c.Timing.Check(); err != nil {
		return fmt.Errorf("Config.%w", err)
	}
	return nil
}

// ctxError is why ctx ended: for errors.Is, both what the context says and the cause it was given.
func ctxError(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if cause == nil || errors.Is(err, cause) {
		return err
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// What calls are called in an OpError.
const (
	callPropose   = "propose"
	callWait      = "wait"
	callRead      = "read"
	callReady     = "ready"
	callPeek      = "peek"
	callStatus    = "status"
	callDecisions = "decisions"
	callMint      = "mint"
	callStart     = "start"
)

// failure returns the error of a call of which nothing has left.
func failure(op, instance string, err error) *paxos.OpError {
	return &paxos.OpError{Op: op, Instance: instance[:min(len(instance), paxos.MaxName)], Err: err, Unsent: true}
}
