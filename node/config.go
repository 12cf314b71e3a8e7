package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"

	"github.com/singledecree/paxos"
)

// A Config describes a [Node]. ID, Members, Storage and Transport are required. In every other field the zero value means
// the default.
type Config struct {
	// ID is the ID of this server. Its storage must have been formatted for this ID: see [paxos.Format].
	ID paxos.ServerID
	// Members is the cluster as it began. It must be the same on every server, but for learners and addresses. After a change
	// of members it may also be the present one: the storage knows better.
	Members paxos.Members
	// Storage and Transport must not be used by anything else while the Node runs. The caller closes them after
	// [Node.Close].
	Storage   paxos.Storage
	Transport paxos.Transport
	// Limits and Timing have defaults for fields that are 0. If Transport is a [paxos.SizedTransport], a Limits.MaxPacket of 0
	// means the largest packet that it takes, up to the default.
	Limits paxos.Limits
	Timing paxos.Timing
	// Logger gets the lines for an operator: start, stop, faults, refusals. Nil: nothing is logged. The keys include
	// cluster, server, boot, peer, instance, ballot and err.
	//
	// The Node calls Logger in a goroutine of its own. While Logger blocks, 1,024 lines wait, and the server goes on.
	// Further lines are lost, and a later line tells how many. Logger must not call [Node.Close], which waits for it.
	Logger *slog.Logger
	// Trace, if not nil, gets every [paxos.Event], in order, in a goroutine of its own. While Trace is behind, 65,536
	// events or 64 MiB of them wait, and the server goes on. Further events are lost, and a later log line tells how
	// many; their Seq is missing. Trace must not call [Node.Close], which waits for it.
	//
	// An EventCall or EventDone comes with the context of its call, without its end: see [context.WithoutCancel]. So a Trace can
	// read a span or the ID of a request there. All other events come with [context.Background].
	Trace func(context.Context, paxos.Event)
	// Observer, if not nil, gets each call, Save and round trip with its duration, for histograms and spans. See [Observer] for the
	// goroutines in which it runs. Nil: nothing is measured. Modules adapters/prometheus and adapters/otel have one.
	Observer Observer
	// NoStanding says that this server never takes a standing ballot. By default it takes one when it proposes much in names that no other
	// server proposes in, and none of the others has one. All acceptors then promise that ballot for all ordinary names at once, and a
	// decision of this server takes one round trip and one Save. A server that does not stand forwards its proposals to the one that does, where
	// that pays. NoStanding turns both off. Whatever it says here, this server promises the standing ballots of others, and takes what they
	// forward. See [Node.Stand], too.
	NoStanding bool
	// Seed determines the random part of the waits between attempts. 0 means a random seed.
	Seed uint64
}

// check returns an error that names the wrong field. The defaults must be filled in already.
func (c Config) check() error {
	switch {
	case c.ID == 0:
		return errors.New("Config.ID: 0 is not a valid ServerID")
	case isNil(c.Storage):
		return errors.New("Config.Storage: nil")
	case isNil(c.Transport):
		return errors.New("Config.Transport: nil")
	}
	if c.Observer != nil && isNil(c.Observer) {
		return errors.New("Config.Observer: a nil pointer")
	}
	if t, ok := c.Transport.(paxos.IDTransport); ok && t.ID() != c.ID {
		return fmt.Errorf("Config.Transport: it belongs to server %d, but Config.ID is %d", t.ID(), c.ID)
	}
	if err := c.Members.Check(); err != nil {
		return fmt.Errorf("Config.%w", err)
	}
	if err := c.Limits.Check(); err != nil {
		return fmt.Errorf("Config.%w", err)
	}
	if err := c.Timing.Check(); err != nil {
		return fmt.Errorf("Config.%w", err)
	}
	return nil
}

// ctxError returns the reason why ctx ended. For [errors.Is] it is both the error of ctx and the cause that ctx was
// given.
func ctxError(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if cause == nil || errors.Is(err, cause) {
		return err
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// The names of the calls in an OpError.
const (
	callPropose   = "propose"
	callWait      = "wait"
	callRead      = "read"
	callReady     = "ready"
	callPeek      = "peek"
	callStatus    = "status"
	callMetrics   = "metrics"
	callDecisions = "decisions"
	callMint      = "mint"
	callForget    = "forget"
	callChange    = "change"
	callSettled   = "settled"
	callMembers   = "configuration"
	callStand     = "stand"
	callStart     = "start"
)

// failure returns the error of a call that has sent nothing.
func failure(op, instance string, err error) *paxos.OpError {
	return &paxos.OpError{Op: op, Instance: instance[:min(len(instance), paxos.MaxName)], Err: err, Unsent: true}
}

// isNil reports whether v is nil or a nil pointer. A constructor that fails returns a nil pointer.
func isNil(v any) bool {
	x := reflect.ValueOf(v)
	return !x.IsValid() || x.Kind() == reflect.Pointer && x.IsNil()
}
