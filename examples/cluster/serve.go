package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"sync"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/node"
	"github.com/singledecree/paxos/tcp"
	"github.com/singledecree/paxos/wal"
)

// runCreate is the subcommand create: the one and only time at which a server's storage is made.
func runCreate(out io.Writer, args []string) error {
	flags := flag.NewFlagSet("create", flag.ContinueOnError)
	file := flags.String("config", "", "")
	if help, err := parseFlags(flags, out, args); help || err != nil {
		return err
	}
	if *file == "" || flags.NArg() > 0 {
		return usageError("create: want -config FILE and nothing else")
	}
	c, err := readConfig(*file)
	if err != nil {
		return err
	}
	if err := wal.Create(c.Dir, c.ID, c.members()); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s is the storage of server %d of %s\n", c.Dir, c.ID, c.members())
	return nil
}

// runServe is the subcommand serve.
func runServe(ctx context.Context, in io.Reader, out io.Writer, args []string) error {
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	file, verbose := flags.String("config", "", ""), flags.Bool("v", false, "")
	// With -tethered, it ends when its standard input does, as when the process dies that started it; and Ctrl-C, which a
	// terminal sends to both, is left to that.
	isTethered := flags.Bool("tethered", false, "")
	if help, err := parseFlags(flags, out, args); help || err != nil {
		return err
	}
	if *file == "" || flags.NArg() > 0 {
		return usageError("serve: want -config FILE, perhaps -v, and nothing else")
	}
	c, err := readConfig(*file)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if *isTethered {
		signal.Ignore(os.Interrupt)
		go func() {
			io.Copy(io.Discard, in)
			cancel()
		}()
	}
	level := slog.LevelInfo
	if *verbose {
		level = slog.LevelDebug
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	return endsWithin(ctx, stopGrace, fmt.Sprintf("server %d on %s", c.ID, c.Dir), func() error { return serve(ctx, out, c, logger) })
}

// serve runs a server until ctx ends, or it stops by itself.
func serve(ctx context.Context, out io.Writer, c config, logger *slog.Logger) error {
	s, err := startServer(ctx, c, logger)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(out).Encode(serving{Listen: s.transport.Addr().String(), API: s.listener.Addr().String()}); err != nil {
		return errors.Join(err, s.stop())
	}
	select {
	case <-ctx.Done():
		return s.stop()
	case <-s.node.Done():
		return errors.Join(s.node.Err(), s.stop())
	}
}

// serving is what a server prints, as a line of JSON, when it can be reached.
type serving struct {
	Listen string `json:"listen"`
	API    string `json:"api"`
}

// A server is all that one process runs: a Node on its storage and its transport, and the API for clients.
type server struct {
	config    config
	log       *wal.Log
	transport *tcp.Transport
	node      *node.Node
	listener  net.Listener
	http      *http.Server
	past      past
	all       sync.WaitGroup
	end       context.CancelFunc
}

func startServer(ctx context.Context, c config, logger *slog.Logger) (s *server, err error) {
	s = &server{config: c}
	defer func() {
		if err != nil {
			s.stop()
		}
	}()
	files, err := openCerts(c, logger)
	if err != nil {
		return s, err
	}
	if s.log, err = wal.Open(c.Dir, wal.Options{Logger: logger}); err != nil {
		return s, err
	}
	if s.listener, err = net.Listen("tcp", c.API); err != nil {
		return s, fmt.Errorf("api: %w", err)
	}
	if err := s.listen(files.TLS(), logger); err != nil {
		return s, err
	}
	s.node, err = node.Start(ctx, node.Config{ID: c.ID, Members: c.members(), Storage: s.log, Transport: s.transport, Logger: logger})
	if err != nil {
		return s, err
	}
	api, err := s.handler()
	if err != nil {
		return s, err
	}
	life, end := context.WithCancel(context.Background())
	s.end = end
	s.all.Go(func() { rotate(life, files, s.transport) })
	s.http = &http.Server{Handler: api, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: time.Minute,
		ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelDebug)}
	s.all.Go(func() { s.http.Serve(s.listener) })
	return s, s.tellPage()
}

// listen starts the transport with the members that the storage knows, and with the servers in peers that this server has never heard of.
// One of those can tell it of the changes that it has missed.
func (s *server) listen(t *tls.Config, logger *slog.Logger) error {
	c := s.config
	now, members, err := s.stored()
	if err != nil {
		return err
	}
	left, err := s.left(now)
	if err != nil {
		return err
	}
	peers := map[paxos.ServerID]string{}
	for _, id := range slices.Concat(members.Acceptors, members.Learners) {
		if addr := cmp.Or(members.Addresses[id], c.Peers[id]); id != c.ID && addr != "" {
			peers[id] = addr
		}
	}
	s.transport, err = tcp.Listen(tcp.Config{ID: c.ID, Members: members, Addr: c.Listen, Peers: peers, TLS: t, Logger: logger})
	if err != nil {
		return err
	}
	for id, addr := range c.Peers {
		if !members.Has(id) && !slices.Contains(left, id) {
			s.transport.Reach(id, addr)
		}
	}
	return nil
}

// stored returns the configuration that the storage knows, and all servers to talk to: those of the one before, too, until this one is
// settled, and this server in any case.
func (s *server) stored() (now paxos.Configuration, all paxos.Members, err error) {
	state, err := s.log.Server()
	if err != nil {
		return now, all, err
	}
	now.Members = s.config.members()
	all = now.Members.Clone()
	if state.Configuration != "" {
		if now, err = paxos.ParseConfiguration(state.Configuration); err != nil {
			return now, all, err
		}
		all = now.Members.Clone()
	}
	others := []paxos.ServerID{s.config.ID}
	if state.Before != "" {
		before, err := paxos.ParseConfiguration(state.Before)
		if err != nil {
			return now, all, err
		}
		others = append(others, slices.Concat(before.Members.Acceptors, before.Members.Learners)...)
		addresses := map[paxos.ServerID]string{}
		maps.Copy(addresses, before.Members.Addresses)
		maps.Copy(addresses, all.Addresses)
		all.Addresses = addresses
	}
	for _, id := range others {
		if !all.Has(id) {
			all.Learners = append(all.Learners, id)
		}
	}
	return now, all, nil
}

// stop ends what has begun, in the order in which one stands on the other: the calls of clients end with the Node.
func (s *server) stop() error {
	var errs []error
	if s.node != nil {
		errs = append(errs, s.node.Close())
	}
	if s.http != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		if s.http.Shutdown(ctx) != nil {
			s.http.Close()
		}
		cancel()
	} else if s.listener != nil {
		s.listener.Close()
	}
	if s.end != nil {
		s.end()
	}
	s.all.Wait()
	if s.transport != nil {
		errs = append(errs, s.transport.Close())
	}
	if s.log != nil {
		errs = append(errs, s.log.Close())
	}
	return errors.Join(errs...)
}
