package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/paxoshttp"
)

// patience is after how many timeouts without progress a change of members is given up. A learner reports every 5 s how far it is.
const patience = 3

// pace is how often a change is looked at.
const pace = 50 * time.Millisecond

// A keeper has the servers of a session on this machine.
type keeper interface {
	// create makes all that a new server needs, or goes on where that was interrupted. It returns the server's address.
	create(id paxos.ServerID) (addr string, err error)
	// begin starts a server that was made, if it does not run.
	begin(id paxos.ServerID) error
	// leave stops a server for good.
	leave(id paxos.ServerID) error
	// knows reports whether there is, or ever was, a server of that ID, perhaps half made.
	knows(id paxos.ServerID) bool
	// up lists the servers that can be asked.
	up() []paxos.ServerID
}

// A changing is one command that changes the members. Each step looks at the members first. So the same command goes on with a change that
// was begun, whoever has begun it.
type changing struct {
	*session
	words         string               // the command
	leaves, comes paxos.ServerID       // 0: nobody
	addr          string               // of the server that comes; empty: none was given
	id            paxos.ServerID       // the server that is asked
	reach         *client              // of it
	m             paxoshttp.Membership // as of the last look
	goal          uint64               // the decisions of that server that the one that comes has to have
	shown         string               // the last line about progress
	shownAt       time.Time
}

// changeMembers carries out add, replace and remove.
func (s *session) changeMembers(ctx context.Context, c command) error {
	g := &changing{session: s, words: strings.Join(c.words, " ")}
	switch c.words[0] {
	case "add":
		g.comes, g.addr = c.number(1), strings.Join(c.words[2:], "")
	case "replace":
		g.leaves, g.comes, g.addr = c.number(1), c.number(2), strings.Join(c.words[3:], "")
	case "remove":
		g.leaves = c.number(1)
	}
	if err := g.choose(ctx, paxos.ServerID(c.at)); err != nil {
		return err
	}
	if err := g.refuse(); err != nil {
		return fmt.Errorf("server %d: %w", g.id, err)
	}
	var err error
	if !g.m.Settled { // a change that was begun before
		err = g.settle(ctx)
	}
	switch {
	case err != nil:
	case g.comes == 0:
		err = g.remove(ctx)
	default:
		err = g.bring(ctx)
	}
	if err != nil {
		return fmt.Errorf("server %d: %w; %s", g.id, err, g.stands(ctx, err))
	}
	return nil
}

// choose takes the server to ask: an acceptor that stays. If at is 0, it is the first that answers.
func (g *changing) choose(ctx context.Context, at paxos.ServerID) error {
	candidates := []paxos.ServerID{at}
	if at == 0 && g.keeper != nil {
		candidates = g.keeper.up()
	}
	why := errors.New("no server is up")
	for _, candidate := range candidates {
		id, reach, err := g.pick(int(candidate))
		if err != nil {
			why = err
			continue
		}
		m, err := reach.members(ctx, g.timeout)
		switch {
		case err != nil:
			why = fmt.Errorf("server %d: %w", id, err)
		case id == g.leaves && len(m.Acceptors) == 1:
			why = fmt.Errorf("server %d is the only acceptor: add another one first", id)
		case id == g.leaves:
			why = fmt.Errorf("server %d is the one that leaves: ask another one", id)
		case !m.Votes(id):
			why = fmt.Errorf("server %d is no acceptor: ask one of %s", id, list(m.Acceptors))
		default:
			g.id, g.reach, g.m = id, reach, m
			return nil
		}
	}
	return why
}

// refuse returns an error if the command makes no sense.
func (g *changing) refuse() error {
	m, known := g.m, g.m.Addresses[g.comes]
	left := func(id paxos.ServerID) bool { return slices.Contains(m.Left, id) }
	switch {
	case g.comes == 0 && !m.Has(g.leaves) && !left(g.leaves) && (g.keeper == nil || !g.keeper.knows(g.leaves)):
		return fmt.Errorf("server %d was never a member", g.leaves)
	case g.comes == 0:
		return nil
	case g.leaves == g.comes:
		return fmt.Errorf("server %d can't replace itself: its ServerID is finished when it leaves", g.leaves)
	case left(g.comes):
		return fmt.Errorf("server %d was a member before: its ServerID is finished, take one that was never used", g.comes)
	case g.leaves != 0 && !m.Votes(g.leaves) && !(left(g.leaves) && m.Votes(g.comes)):
		return fmt.Errorf("server %d is no acceptor, and has no place to give", g.leaves)
	case m.Votes(g.leaves) && m.Votes(g.comes):
		return fmt.Errorf("server %d is an acceptor already: remove %d", g.comes, g.leaves)
	case g.addr != "" && g.keeper != nil:
		return errors.New("this program makes the server, and gives it an address itself")
	case g.addr != "" && m.Has(g.comes) && g.addr != known:
		return fmt.Errorf("server %d is a member already, and its address is %q", g.comes, known)
	case g.addr == "" && !m.Has(g.comes) && g.keeper == nil:
		return fmt.Errorf("server %d is no member yet: give the address where the others reach it", g.comes)
	}
	return nil
}

// bring makes a new server a learner, and an acceptor when it has caught up, perhaps in the place of another one.
func (g *changing) bring(ctx context.Context) (err error) {
	if !g.m.Has(g.comes) {
		if g.keeper != nil {
			if g.addr, err = g.keeper.create(g.comes); err != nil {
				return err
			}
		}
		next := nextMembers(g.m.Change, 0, 0)
		next.Learners, next.Addresses[g.comes] = with(next.Learners, g.comes), g.addr
		if err := g.ask(ctx, next, fmt.Sprintf("server %d is a learner", g.comes)); err != nil {
			return err
		}
	}
	if g.keeper != nil {
		if err := g.keeper.begin(g.comes); err != nil {
			return err
		}
	}
	if g.goal = g.m.Index; !g.m.Votes(g.comes) {
		if err := g.wait(ctx, func() bool { return g.hasCaughtUp(ctx) }, g.progress); err != nil {
			return err
		}
		if err := g.ask(ctx, nextMembers(g.m.Change, g.leaves, g.comes), fmt.Sprintf("server %d is an acceptor", g.comes)); err != nil {
			return err
		}
	}
	if err := g.settle(ctx); err != nil {
		return err
	}
	if err := g.dismiss(); err != nil {
		return err
	}
	return g.wait(ctx, func() bool { return slices.Contains(g.m.Complete, g.comes) }, func() string {
		return fmt.Sprintf("server %d does not remember all yet: %s", g.comes, g.progress())
	})
}

// remove has a member leave.
func (g *changing) remove(ctx context.Context) error {
	if g.m.Has(g.leaves) {
		if err := g.ask(ctx, nextMembers(g.m.Change, g.leaves, 0), fmt.Sprintf("server %d leaves", g.leaves)); err != nil {
			return err
		}
		if err := g.settle(ctx); err != nil {
			return err
		}
	}
	return g.dismiss()
}

// dismiss stops the server that has left, if it is one of this machine.
func (g *changing) dismiss() error {
	switch {
	case g.leaves == 0:
		return nil
	case g.keeper != nil:
		return g.keeper.leave(g.leaves)
	}
	g.out.printf("server %d has left: stop it for good\n", g.leaves)
	return nil
}

// ask has the next members decided. If they are not ready, it tries again for a while.
func (g *changing) ask(ctx context.Context, next paxoshttp.Change, what string) error {
	for began := time.Now(); ; {
		number, err := g.reach.change(ctx, next, g.timeout)
		if err == nil {
			g.out.printf("server %d: configuration %d: %s; acceptors %s, learners %s\n", g.id, number, what, list(next.Acceptors), list(next.Learners))
			return g.wait(ctx, func() bool { return g.m.Configuration >= number }, func() string { return "the server does not live under it yet" })
		}
		var refused *paxoshttp.ServerError
		if !errors.As(err, &refused) || refused.Status != http.StatusServiceUnavailable || paxos.Unknown(err) || time.Since(began) >= patience*g.timeout {
			return err
		}
		g.show(err.Error())
		if err := rest(ctx, pace); err != nil {
			return err
		}
	}
}

// settle waits until the configuration is settled.
func (g *changing) settle(ctx context.Context) error {
	err := g.wait(ctx, func() bool { return g.m.Settled }, func() string {
		if g.comes == 0 || !g.m.Has(g.comes) {
			return g.m.Unsettled()
		}
		return g.m.Unsettled() + "; " + g.progress()
	})
	if err == nil {
		g.out.printf("server %d: configuration %d is settled\n", g.id, g.m.Configuration)
	}
	return err
}

// hasCaughtUp reports whether the server that comes has the decisions that the others had when the wait for it began.
func (g *changing) hasCaughtUp(ctx context.Context) bool {
	if g.keeper != nil { // it can be asked itself
		if _, own, err := g.pick(int(g.comes)); err == nil {
			if own.ready(ctx, pace) == nil {
				return true
			}
		}
	}
	other := otherOf(g.m, g.comes)
	return other.Heard != "" && (other.Taken >= g.goal || g.goal == 0)
}

// progress says how far the server that comes is.
func (g *changing) progress() string {
	other := otherOf(g.m, g.comes)
	if other.Heard == "" {
		return fmt.Sprintf("server %d was not heard yet: is it started, and reached at %s?", g.comes, other.Addr)
	}
	return fmt.Sprintf("server %d has %d of %d decisions of server %d", g.comes, min(other.Taken, g.goal), g.goal, g.id)
}

// wait looks at the members until done. While what show returns does not change, there is no progress.
func (g *changing) wait(ctx context.Context, done func() bool, show func() string) error {
	last, moved := "", time.Now()
	for {
		m, err := g.reach.members(ctx, g.timeout)
		text := ""
		if err == nil {
			if g.m = m; done() {
				return nil
			}
			text = show()
		} else {
			text = err.Error()
		}
		g.show(text)
		if text != last {
			last, moved = text, time.Now()
		}
		if d := patience * g.timeout; time.Since(moved) >= d {
			return fmt.Errorf("no progress for %v: %s", d, text)
		}
		if err := rest(ctx, pace); err != nil {
			return err
		}
	}
}

// show prints a line about progress, if it is another one, and the one before it was not printed just now.
func (g *changing) show(text string) {
	if !g.quiet && text != g.shown && time.Since(g.shownAt) >= g.lines {
		g.shown, g.shownAt = text, time.Now()
		g.out.printf("server %d: %s\n", g.id, text)
	}
}

// stands says what state things are in after an error, and which command goes on.
func (g *changing) stands(ctx context.Context, err error) string {
	if m, err := g.reach.members(ctx, g.timeout); err == nil {
		g.m = m
	}
	var failed *paxos.OpError
	switch {
	case errors.As(err, &failed) && failed.Op == "change" && failed.Unknown():
		return fmt.Sprintf("the change may be decided all the same: members shows it, and %q goes on", g.words)
	case !g.m.Settled:
		return fmt.Sprintf("configuration %d is decided, and nothing takes it back: a quorum of its acceptors has to run, and one of those before; %q goes on", g.m.Configuration, g.words)
	case g.comes != 0 && !g.m.Has(g.comes):
		return fmt.Sprintf("server %d is no member yet: %q goes on", g.comes, g.words)
	case g.comes != 0 && !g.m.Votes(g.comes):
		return fmt.Sprintf("server %d is a learner: %q goes on, and \"remove %d\" gives it up", g.comes, g.words, g.comes)
	}
	return fmt.Sprintf("configuration %d is settled, acceptors %s: %q goes on", g.m.Configuration, list(g.m.Acceptors), g.words)
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

// nextMembers returns the members without the one that leaves, and with the one that comes as an acceptor. Either may be 0: nobody.
func nextMembers(c paxoshttp.Change, leaves, comes paxos.ServerID) paxoshttp.Change {
	gone := func(id paxos.ServerID) bool { return id == leaves || id == comes }
	n := paxoshttp.Change{Acceptors: slices.DeleteFunc(slices.Clone(c.Acceptors), gone), Learners: slices.DeleteFunc(slices.Clone(c.Learners), gone),
		Addresses: maps.Clone(c.Addresses)}
	delete(n.Addresses, leaves)
	if comes != 0 {
		n.Acceptors = with(n.Acceptors, comes)
	}
	return n
}

// with returns the IDs and one more, in ascending order.
func with(ids []paxos.ServerID, id paxos.ServerID) []paxos.ServerID {
	ids = append(slices.Clone(ids), id)
	slices.Sort(ids)
	return ids
}

// otherOf returns the knowledge of the server that tells m about another one.
func otherOf(m paxoshttp.Membership, id paxos.ServerID) paxoshttp.Other {
	for _, other := range m.Others {
		if other.ID == id {
			return other
		}
	}
	return paxoshttp.Other{ID: id}
}

// showMembers is the command members.
func (s *session) showMembers(ctx context.Context, c command) error {
	id, server, err := s.pick(c.at)
	if err != nil {
		return err
	}
	m, err := server.members(ctx, s.timeout)
	if err != nil {
		return fmt.Errorf("server %d: %w", id, err)
	}
	s.out.printf("%s", describeMembers(m))
	return nil
}

// describeMembers tells the members in some lines.
func describeMembers(m paxoshttp.Membership) string {
	var text strings.Builder
	state := fmt.Sprintf("configuration %d is settled", m.Configuration)
	if !m.Settled {
		state = m.Unsettled()
	}
	fmt.Fprintf(&text, "server %d: %s\n", m.ID, state)
	for _, id := range slices.Concat(m.Acceptors, m.Learners) {
		other := otherOf(m, id)
		if id == m.ID {
			other.Addr = m.Listen
		}
		role := "learner "
		if m.Votes(id) {
			role = "acceptor"
		}
		fmt.Fprintf(&text, "    %s %d  at %s", role, id, cmp.Or(m.Addresses[id], other.Addr, "an unknown address"))
		switch {
		case id == m.ID:
			text.WriteString(", this server")
		case other.Heard == "":
			text.WriteString(", not heard yet")
		default:
			text.WriteString(", heard " + other.Heard + " ago")
		}
		switch {
		case m.Votes(id) && !slices.Contains(m.Complete, id):
			fmt.Fprintf(&text, ", not complete: it has %d of %d decisions", other.Taken, m.Index)
		case !m.Votes(id) && id != m.ID && m.Votes(m.ID):
			fmt.Fprintf(&text, ", has %d of %d decisions", other.Taken, m.Index)
		}
		text.WriteString("\n")
	}
	if len(m.Left) > 0 {
		fmt.Fprintf(&text, "    left: %s\n", list(m.Left))
	}
	return text.String()
}
