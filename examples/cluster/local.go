package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/singledecree/paxos"
)

// runLocal starts servers on this machine, and carries out commands.
func runLocal(ctx context.Context, in io.Reader, out io.Writer, args []string) (err error) {
	flags := flag.NewFlagSet("cluster", flag.ContinueOnError)
	n, dir, timeout := flags.Int("n", 3, ""), flags.String("dir", "", ""), flags.Duration("timeout", 5*time.Second, "")
	commands := flags.String("c", "", "")
	if help, err := parseFlags(flags, out, args); help || err != nil {
		return err
	}
	switch {
	case flags.NArg() > 0:
		return usageError(fmt.Sprintf("unexpected argument %q", flags.Arg(0)))
	case *n < 1 || *n > 9:
		return usageError(fmt.Sprintf("-n: %d: want 1 to 9", *n))
	case *timeout <= 0:
		return usageError(fmt.Sprintf("-timeout: %v: want more than 0", *timeout))
	}
	if *dir == "" {
		if *dir, err = os.MkdirTemp("", "paxos-cluster-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(*dir)) }()
	}
	p := &printer{w: out}
	l, err := startLocal(*dir, *n)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.stop()) }()
	p.printf("%d servers on %s, with what they know in %s\n", *n, "127.0.0.1", *dir)
	l.out = p
	l.showUp()
	s := &session{out: p, timeout: *timeout, pick: l.pick, other: l.other}
	switch {
	case *commands != "":
		return s.script(ctx, strings.NewReader(*commands))
	case isTerminal(in):
		p.printf("Try: propose lunch burger. help lists the commands.\n")
		return s.interactive(ctx, in)
	}
	return s.script(ctx, in)
}

// A local is a cluster whose servers are children of this process.
type local struct {
	lock     io.Closer // keeps others out of its directory
	children []*child
	out      *printer
}

const localCluster = "local"

// startLocal starts n servers with all that they have in dir, which no other process may use meanwhile. Storages are created once;
// certificates, which nothing depends on, are made anew each time, and so are the configurations, as other ports may be free now.
func startLocal(dir string, n int) (*local, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	configs, err := localConfigs(n)
	if err != nil {
		return nil, err
	}
	l := &local{}
	if l.lock, err = holdDir(dir); err != nil {
		return nil, err
	}
	if err := createOnce(dir, configs); err != nil {
		return nil, errors.Join(err, l.stop())
	}
	os.Remove(filepath.Join(dir, "ca.crt"))
	if _, err := makeCerts(dir, localCluster, 30*24*time.Hour, configs[0].Acceptors); err != nil {
		return nil, errors.Join(err, l.stop())
	}
	for _, c := range configs {
		name := filepath.Join(dir, fmt.Sprint(uint64(c.ID)))
		if err := c.write(name + ".json"); err != nil {
			return nil, errors.Join(err, l.stop())
		}
		started := &child{id: c.ID, program: program, file: name + ".json", logFile: name + ".log", state: "down"}
		if err := started.start(); err != nil {
			return nil, errors.Join(err, l.stop())
		}
		l.children = append(l.children, started)
	}
	return l, nil
}

// localConfigs returns the configurations of servers 1 to n, all files of each beside its configuration.
func localConfigs(n int) (configs []config, err error) {
	var ids []paxos.ServerID
	addrs := map[paxos.ServerID]string{}
	for i := range n {
		id := paxos.ServerID(i + 1)
		ids = append(ids, id)
		if addrs[id], err = freeAddr(addrs); err != nil {
			return nil, err
		}
	}
	for _, id := range ids {
		name := fmt.Sprint(uint64(id))
		c := config{ID: id, Cluster: localCluster, Acceptors: ids, Listen: addrs[id], Peers: map[paxos.ServerID]string{},
			CA: "ca.crt", Cert: name + ".crt", Key: name + ".key", Dir: name, API: "127.0.0.1:0"}
		for peer, addr := range addrs {
			if peer != id {
				c.Peers[peer] = addr
			}
		}
		configs = append(configs, c)
	}
	return configs, nil
}

// freeAddr finds a port that is free, and likely to stay so while a server is down: not of those that systems give to
// whoever dials.
func freeAddr(taken map[paxos.ServerID]string) (string, error) {
	var err error
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(20000))
		var l net.Listener
		if l, err = net.Listen("tcp", addr); err != nil {
			continue
		}
		l.Close()
		used := false
		for _, other := range taken {
			used = used || other == addr
		}
		if !used {
			return addr, nil
		}
	}
	return "", fmt.Errorf("no free port: %w", err)
}

// stop ends all children, and lets others use the directory.
func (l *local) stop() error {
	errs := make([]error, len(l.children))
	done := make(chan struct{})
	for i, c := range l.children {
		go func() {
			errs[i] = c.stop()
			done <- struct{}{}
		}()
	}
	for range l.children {
		<-done
	}
	return errors.Join(errors.Join(errs...), l.lock.Close())
}

// pick returns a client of that server, or of the first that is up.
func (l *local) pick(id int) (paxos.ServerID, *client, error) {
	if id > 0 {
		c, err := l.child(id)
		if err != nil {
			return 0, nil, err
		}
		state, reach := c.now()
		if reach == nil {
			return 0, nil, fmt.Errorf("server %d is %s", id, state)
		}
		return c.id, reach, nil
	}
	for _, c := range l.children {
		if state, reach := c.now(); state == "up" {
			return c.id, reach, nil
		}
	}
	return 0, nil, errors.New("no server is up")
}

func (l *local) child(id int) (*child, error) {
	if id > len(l.children) {
		return nil, fmt.Errorf("there is no server %d", id)
	}
	return l.children[id-1], nil
}

// other carries out the commands that are about servers.
func (l *local) other(ctx context.Context, c command) error {
	if c.words[0] == "status" {
		l.showStatus(ctx, c.at)
		return nil
	}
	server, err := l.child(c.id())
	if err != nil {
		return err
	}
	do := map[string]func() error{"kill": server.kill, "start": server.start, "pause": server.pause, "resume": server.resume}
	if err := do[c.words[0]](); err != nil {
		return err
	}
	l.showUp()
	return nil
}

// showUp prints who is up, on one line.
func (l *local) showUp() {
	groups := map[string][]paxos.ServerID{}
	for _, c := range l.children {
		state, _ := c.now()
		state, _, _ = strings.Cut(state, " ")
		groups[state] = append(groups[state], c.id)
	}
	text := "up: " + list(groups["up"])
	for _, state := range []string{"paused", "down"} {
		if len(groups[state]) > 0 {
			text += "  " + state + ": " + list(groups[state])
		}
	}
	l.out.printf("%s\n", text)
}

// showStatus prints a line for each server, or for that one.
func (l *local) showStatus(ctx context.Context, at int) {
	for _, c := range l.children {
		if at != 0 && paxos.ServerID(at) != c.id {
			continue
		}
		state, reach := c.now()
		if state != "up" {
			l.out.printf("server %d  %s\n", c.id, state)
			continue
		}
		s, err := reach.status(ctx, time.Second)
		if err != nil {
			l.out.printf("server %d  up, but does not answer: %v\n", c.id, err)
			continue
		}
		l.out.printf("server %d  %s\n", c.id, s)
	}
}
