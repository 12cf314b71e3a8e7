package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
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
	program, err := os.Executable()
	if err != nil {
		return err
	}
	p := &printer{w: out}
	l, err := startLocal(p, program, *dir, *n)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.stop()) }()
	p.printf("%d servers on %s, with what they know in %s\n", len(l.children), "127.0.0.1", *dir)
	l.showUp()
	if page := l.page(); page != "" {
		p.printf("a page to look at: %s\n", page)
	}
	s := &session{out: p, timeout: *timeout, lines: time.Second, quiet: !isTerminal(out), pick: l.pick, other: l.other, keeper: l}
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
	dir      string
	program  string // this one
	first    []paxos.ServerID
	ledger   ledger
	addrs    map[paxos.ServerID]string // of the servers that are there
	children []*child                  // likewise, by ID
	out      *printer
	free     func(taken map[paxos.ServerID]string) (string, error) // freeAddr, but in a test
	// interrupt is nil but in a test, which ends the process at that point.
	interrupt func(point string) error
}

const localCluster = "local"

// certLife is for how long certificates of a local cluster are valid. They are made anew at each start.
const certLife = 30 * 24 * time.Hour

// startLocal starts the servers with all that they have in dir, which no other process may use meanwhile. It begins with servers 1 to n;
// others come and go later, which the ledger tells. Storages are created once. Certificates, which nothing depends on, are made anew each time,
// and so are the configurations: as other ports may be free now, the first servers have others. A server that does not start is down.
func startLocal(out *printer, program, dir string, n int) (l *local, err error) {
	l = &local{dir: dir, program: program, addrs: map[paxos.ServerID]string{}, out: out, free: freeAddr}
	if err := l.open(n); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *local) open(n int) (err error) {
	if l.lock, err = holdDir(l.dir); err != nil {
		return err
	}
	if err := l.start(n); err != nil {
		return errors.Join(err, l.stop())
	}
	return nil
}

func (l *local) start(n int) (err error) {
	for i := range n {
		l.first = append(l.first, paxos.ServerID(i+1))
	}
	if l.ledger, err = readLedger(l.dir); err != nil {
		return err
	}
	var first []config
	for _, id := range l.first {
		first = append(first, l.config(id))
	}
	if err := createOnce(l.dir, first); err != nil {
		return err
	}
	for id, e := range l.ledger {
		if e.Standing == made {
			l.addrs[id] = e.Addr
		}
	}
	if err := l.giveAddrs(); err != nil {
		return err
	}
	for _, name := range []string{"ca.crt", "ca.key"} {
		os.Remove(filepath.Join(l.dir, name))
	}
	ids := slices.Sorted(maps.Keys(l.addrs))
	if err := makeCerts(l.dir, localCluster, certLife, ids); err != nil {
		return err
	}
	for _, id := range ids {
		if err := l.configure(id); err != nil {
			return err
		}
	}
	why := l.startChildren()
	for try := 1; try < 3 && portTaken(why); try++ {
		if err := l.move(); err != nil {
			return err
		}
		why = l.startChildren()
	}
	if len(why) == len(l.children) {
		return errors.Join(why...)
	}
	for _, err := range why {
		l.out.printf("%v\n", err)
	}
	for _, id := range slices.Sorted(maps.Keys(l.ledger)) {
		if l.ledger.is(id, making) {
			l.out.printf("server %d is half made: the command that makes it goes on\n", id)
		}
	}
	return nil
}

// giveAddrs gives the first servers addresses.
func (l *local) giveAddrs() (err error) {
	for _, id := range l.first {
		if l.ledger.is(id, left) {
			continue
		}
		if l.addrs[id], err = l.free(l.addrs); err != nil {
			return err
		}
	}
	return nil
}

// startChildren starts all servers, and returns the errors of those that do not start.
func (l *local) startChildren() (why []error) {
	for _, c := range l.children {
		if err := c.start(); err != nil {
			why = append(why, err)
		}
	}
	return why
}

// portTaken reports whether a server does not start because another program uses its port. It may have taken the port after freeAddr did.
func portTaken(why []error) bool {
	return slices.ContainsFunc(why, func(err error) bool { return strings.Contains(err.Error(), syscall.EADDRINUSE.Error()) })
}

// move ends all servers, and gives the first ones other addresses.
func (l *local) move() error {
	for _, c := range l.children {
		if err := c.stop(); err != nil {
			return err
		}
	}
	if err := l.giveAddrs(); err != nil {
		return err
	}
	for _, c := range l.children {
		if err := l.config(c.id).write(c.file); err != nil {
			return err
		}
	}
	return nil
}

// config returns the configuration of a server, all files of each beside its configuration.
func (l *local) config(id paxos.ServerID) config {
	name := fmt.Sprint(uint64(id))
	c := config{ID: id, Cluster: localCluster, Acceptors: l.first, Listen: l.addrs[id], Peers: map[paxos.ServerID]string{},
		CA: "ca.crt", Cert: name + ".crt", Key: name + ".key", Dir: name, API: "127.0.0.1:0", Pages: "."}
	if !slices.Contains(l.first, id) {
		c.Learners = []paxos.ServerID{id} // at first
	}
	for peer, addr := range l.addrs {
		if peer != id {
			c.Peers[peer] = addr
		}
	}
	for _, peer := range l.first {
		if l.ledger.is(peer, left) {
			c.Left = append(c.Left, peer)
		}
	}
	return c
}

// configure writes the configuration of a server, and makes it a child, which is down.
func (l *local) configure(id paxos.ServerID) error {
	name := filepath.Join(l.dir, fmt.Sprint(uint64(id)))
	if err := l.config(id).write(name + ".json"); err != nil {
		return err
	}
	l.children = append(l.children, &child{id: id, program: l.program, file: name + ".json", logFile: name + ".log", state: "down"})
	slices.SortFunc(l.children, func(a, b *child) int { return cmp.Compare(a.id, b.id) })
	return nil
}

// localConfigs returns the configurations of servers 1 to n, which begin.
func localConfigs(n int) (configs []config, err error) {
	l := &local{addrs: map[paxos.ServerID]string{}}
	for i := range n {
		id := paxos.ServerID(i + 1)
		l.first = append(l.first, id)
		if l.addrs[id], err = freeAddr(l.addrs); err != nil {
			return nil, err
		}
	}
	for _, id := range l.first {
		configs = append(configs, l.config(id))
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
		c, err := l.child(paxos.ServerID(id))
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

func (l *local) child(id paxos.ServerID) (*child, error) {
	for _, c := range l.children {
		if c.id == id {
			return c, nil
		}
	}
	switch {
	case l.ledger.is(id, left):
		return nil, fmt.Errorf("server %d has left for good", id)
	case l.ledger.is(id, making):
		return nil, fmt.Errorf("server %d is half made: the command that makes it goes on", id)
	}
	return nil, fmt.Errorf("there is no server %d", id)
}

// other carries out the commands that are about servers.
func (l *local) other(ctx context.Context, c command) error {
	if c.words[0] == "status" {
		l.showStatus(ctx, c.at)
		return nil
	}
	server, err := l.child(c.number(1))
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
		l.out.printf("server %d  %s\n", c.id, describeStatus(s))
	}
}
