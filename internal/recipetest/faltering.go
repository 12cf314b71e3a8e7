package recipetest

import (
	"context"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/node"
)

// A Faltering Node fails the next calls of Propose with Fails, one after the other.
type Faltering struct {
	*node.Node
	Fails []error
}

// Propose proposes, unless it is to fail.
func (f *Faltering) Propose(ctx context.Context, instance string, v paxos.Value) (paxos.Decision, error) {
	if len(f.Fails) == 0 {
		return f.Node.Propose(ctx, instance, v)
	}
	err := f.Fails[0]
	f.Fails = f.Fails[1:]
	return paxos.Decision{}, err
}

// Falter has the next Propose fail with an unknown outcome, and the one after it with none.
func (f *Faltering) Falter() {
	f.Fails = []error{&paxos.OpError{Op: "propose", Err: paxos.ErrClosed}, &paxos.OpError{Op: "propose", Err: paxos.ErrClosed, Unsent: true}}
}
