package main

import (
	"fmt"
	"slices"

	"github.com/singledecree/paxos"
)

// create makes a new server: its place in the ledger, its storage and its certificate. It never ran before create has returned. The first
// acceptors are those with which the cluster began, and it is a learner beside them: the changes since then it learns from the others.
func (l *local) create(id paxos.ServerID) (addr string, err error) {
	e := l.ledger[id]
	switch {
	case slices.Contains(l.first, id):
		return "", fmt.Errorf("server %d is one of the first, and is not made again", id)
	case e.Standing == left:
		return "", fmt.Errorf("server %d has left for good: take a ServerID that was never used", id)
	case e.Standing == made:
		return e.Addr, nil
	case e.Standing == "":
		e.Standing = making
		if e.Addr, err = freeAddr(l.taken()); err != nil {
			return "", err
		}
	}
	for _, step := range []struct {
		point string
		do    func() error
	}{
		{"noted", func() error { return l.ledger.note(l.dir, id, e) }},
		{"storage", func() error { return createNew(l.dir, l.config(id)) }},
		{"certificate", func() error {
			return makeCerts(l.dir, localCluster, certLife, []paxos.ServerID{id})
		}},
		{"made", func() error { return l.ledger.note(l.dir, id, entry{made, e.Addr}) }},
	} {
		if err := l.at("before " + step.point); err != nil {
			return "", err
		}
		if err := step.do(); err != nil {
			return "", fmt.Errorf("server %d: %w", id, err)
		}
	}
	l.out.printf("server %d is made, in %s\n", id, l.config(id).Dir)
	return e.Addr, nil
}

// taken returns the addresses of all servers, also of those that are half made.
func (l *local) taken() map[paxos.ServerID]string {
	all := map[paxos.ServerID]string{}
	for id, e := range l.ledger {
		all[id] = e.Addr
	}
	for id, addr := range l.addrs {
		all[id] = addr
	}
	return all
}

// begin starts a server that was made, if it does not run.
func (l *local) begin(id paxos.ServerID) error {
	if err := l.at("before begin"); err != nil {
		return err
	}
	if l.ledger.is(id, made) && l.addrs[id] == "" {
		l.addrs[id] = l.ledger[id].Addr
		if err := l.configure(id); err != nil {
			delete(l.addrs, id)
			return err
		}
	}
	c, err := l.child(id)
	if err != nil {
		return err
	}
	if state, _ := c.now(); state == "up" {
		return nil
	}
	if err := c.start(); err != nil {
		return err
	}
	l.showUp()
	return nil
}

// leave stops a server for good: it is not started again, and its directory stays.
func (l *local) leave(id paxos.ServerID) error {
	if err := l.at("before left"); err != nil {
		return err
	}
	e := l.ledger[id]
	if e.Standing == left {
		l.out.printf("server %d has left for good\n", id)
		return nil
	}
	e.Standing = left
	if err := l.ledger.note(l.dir, id, e); err != nil {
		return err
	}
	if err := l.at("after left"); err != nil {
		return err
	}
	if c, err := l.child(id); err == nil {
		if err := c.stop(); err != nil {
			return err
		}
	}
	l.children = slices.DeleteFunc(l.children, func(c *child) bool { return c.id == id })
	delete(l.addrs, id)
	l.out.printf("server %d has left for good\n", id)
	l.showUp()
	return nil
}

// knows reports whether there is, or ever was, a server of that ID, perhaps half made.
func (l *local) knows(id paxos.ServerID) bool {
	return slices.Contains(l.first, id) || l.ledger[id].Standing != ""
}

// up lists the servers that are up.
func (l *local) up() (all []paxos.ServerID) {
	for _, c := range l.children {
		if state, _ := c.now(); state == "up" {
			all = append(all, c.id)
		}
	}
	return all
}

// at is a point at which a test may end the process.
func (l *local) at(point string) error {
	if l.interrupt == nil {
		return nil
	}
	return l.interrupt(point)
}
