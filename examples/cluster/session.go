package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/progress"
)

// A printer is for several goroutines.
type printer struct {
	mu sync.Mutex
	w  io.Writer
}

func (p *printer) printf(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.w, format, args...)
}

// A session carries out commands.
type session struct {
	out     *printer
	timeout time.Duration
	// pick returns the client of that server, or of the first that is up if id is 0.
	pick func(id int) (paxos.ServerID, *client, error)
	// other carries out the commands that change the servers or show them.
	other func(ctx context.Context, c command) error
	// lines is the least time between two lines about the progress of a change.
	lines time.Duration
	// quiet leaves those lines out: nobody watches, as in a pipe.
	quiet bool
	// keeper has the servers, if they are on this machine; else nil.
	keeper keeper

	watching context.CancelFunc // nil: nothing is watched
	watches  sync.WaitGroup
}

var errQuit = errors.New("quit")

// interactive carries out what a person types; an error is shown, and the next command can be typed.
func (s *session) interactive(ctx context.Context, in io.Reader) error {
	defer s.unwatch()
	lines := readLines(ctx, in)
	for {
		s.out.printf("paxos> ")
		line, err := next(ctx, lines)
		if err != nil {
			s.out.printf("\n")
			return unlessEOF(err)
		}
		commands, err := parseCommands(line)
		for i := 0; err == nil && i < len(commands); i++ {
			err = s.run(ctx, commands[i])
		}
		switch {
		case errors.Is(err, errQuit):
			return nil
		case ctx.Err() != nil:
			return errInterrupted
		case err != nil:
			s.out.printf("%v\n", err)
		}
	}
}

// script carries out commands until one fails. Each is shown before what comes of it.
func (s *session) script(ctx context.Context, in io.Reader) error {
	defer s.unwatch()
	lines := readLines(ctx, in)
	for number := 1; ; number++ {
		line, err := next(ctx, lines)
		if err != nil {
			return unlessEOF(err)
		}
		commands, err := parseCommands(line)
		if err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
		for _, c := range commands {
			s.out.printf("> %s\n", c.text)
			err := s.run(ctx, c)
			switch {
			case errors.Is(err, errQuit):
				return nil
			case ctx.Err() != nil:
				return errInterrupted
			case err != nil:
				return fmt.Errorf("line %d: %s: %w", number, c.text, err)
			}
		}
	}
}

func unlessEOF(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}

// A lineOrEnd is a line, or why there are no more.
type lineOrEnd struct {
	line string
	err  error
}

// readLines reads in a goroutine of its own, as nothing else ends the wait for somebody who types.
func readLines(ctx context.Context, in io.Reader) <-chan lineOrEnd {
	lines := make(chan lineOrEnd)
	go func() {
		r := bufio.NewReader(in)
		for {
			line, err := r.ReadString('\n')
			if line != "" {
				err = nil
			}
			select {
			case lines <- lineOrEnd{line, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return lines
}

func next(ctx context.Context, lines <-chan lineOrEnd) (string, error) {
	select {
	case l := <-lines:
		return l.line, l.err
	case <-ctx.Done():
		return "", errInterrupted
	}
}

// run carries out one command, and prints what comes of it.
func (s *session) run(ctx context.Context, c command) error {
	err := s.carryOut(ctx, c)
	switch {
	case !c.fails || errors.Is(err, errQuit) || ctx.Err() != nil:
		return err
	case err == nil:
		return errors.New("it did not fail, as its line says that it must")
	}
	s.out.printf("it failed: %v\n", err)
	return nil
}

func (s *session) carryOut(ctx context.Context, c command) error {
	switch c.words[0] {
	case "quit":
		return errQuit
	case "help":
		s.out.printf("%s", commandHelp)
		return nil
	case "watch":
		return s.watch(ctx, c)
	case "propose", "read", "wait", "peek":
		return s.call(ctx, c)
	case "forget":
		return s.forget(ctx, c)
	case "members":
		return s.showMembers(ctx, c)
	case "add", "replace", "remove":
		return s.changeMembers(ctx, c)
	}
	return s.other(ctx, c)
}

// call asks a server.
func (s *session) call(ctx context.Context, c command) error {
	id, server, err := s.pick(c.at)
	if err != nil {
		return err
	}
	var d paxos.Decision
	ok := true
	if c.words[0] == "propose" {
		d, err = server.propose(ctx, c.words[1], c.words[2], s.timeout)
		if err != nil && paxos.Unknown(err) {
			err = fmt.Errorf("%w (%q may be chosen all the same)", err, c.words[2])
		}
	} else {
		d, ok, err = server.ask(ctx, c.words[0], c.words[1], s.timeout)
	}
	if err != nil {
		return fmt.Errorf("server %d: %w", id, err)
	}
	switch {
	case ok:
		s.out.printf("server %d: %s\n", id, describe(d))
	case c.words[0] == "peek":
		s.out.printf("server %d: %s: it knows of no decision\n", id, c.words[1])
	default:
		s.out.printf("server %d: %s: nothing is decided\n", id, c.words[1])
	}
	return nil
}

// forget asks a server to have names forgotten.
func (s *session) forget(ctx context.Context, c command) error {
	id, server, err := s.pick(c.at)
	if err != nil {
		return err
	}
	if err := server.forget(ctx, c.words[1], s.timeout); err != nil {
		return fmt.Errorf("server %d: %w", id, err)
	}
	s.out.printf("server %d: a quorum has forgotten all names that begin with %q\n", id, c.words[1])
	return nil
}

// describe shows a decision.
func describe(d paxos.Decision) string {
	return fmt.Sprintf("%s = %q, in ballot %s", d.Instance, string(d.Value), d.Ballot)
}

// watch shows decisions in the background.
func (s *session) watch(ctx context.Context, c command) error {
	s.unwatch()
	if len(c.words) > 1 {
		return nil
	}
	id, server, err := s.pick(c.at)
	if err != nil {
		return err
	}
	ctx, s.watching = context.WithCancel(ctx)
	s.out.printf("watching server %d\n", id)
	s.watches.Go(func() {
		err := server.watch(ctx, func(learned paxos.Learned, forgotten *paxos.ForgottenError) {
			if forgotten != nil {
				s.out.printf("server %d learned: all names from %q to below %q are forgotten\n", id, forgotten.Names.From, forgotten.Names.To)
				return
			}
			s.out.printf("server %d learned: %s\n", id, describe(learned.Decision))
		})
		if ctx.Err() == nil {
			s.out.printf("server %d is watched no more: %v\n", id, err)
		}
	})
	return nil
}

func (s *session) unwatch() {
	if s.watching != nil {
		s.watching()
		s.watches.Wait()
		s.watching = nil
	}
}

// isTerminal reports whether a person types what comes from there, or reads what goes there.
func isTerminal(inOrOut any) bool {
	f, ok := inOrOut.(*os.File)
	return ok && progress.IsTerminal(f)
}

// list joins the IDs of servers.
func list(ids []paxos.ServerID) string {
	if len(ids) == 0 {
		return "none"
	}
	var words []string
	for _, id := range ids {
		words = append(words, fmt.Sprint(uint64(id)))
	}
	return strings.Join(words, " ")
}
