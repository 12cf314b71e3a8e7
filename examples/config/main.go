// Config keeps the settings of a service in versions, the same on all servers. Any server changes them, and no change is lost.
//
//	go run ./examples/config
//
// A change is an entry of a sequence, and says which version it makes. Of two entries that make the same version, the first one counts, for
// all readers. The author of the second one sees that, and tries again from there.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"sync"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/memory"
	"github.com/singledecree/paxos/recipe/sequence"
)

// Settings are one version of the configuration.
type Settings struct {
	Version      int
	CacheMB      int
	Search, Chat bool // whether they are on
}

// A store reads and changes the settings on one server, for one goroutine at a time.
type store struct {
	log  *sequence.Log
	now  Settings
	by   sequence.Position // the entry that made them
	next sequence.Position // the first entry that is not read
}

func open(server sequence.Register) *store {
	entries, err := sequence.New(server, "config")
	must(err)
	return &store{log: entries}
}

// read takes entries as they come, until it is done.
func (s *store) read(ctx context.Context, done func() bool) error {
	if done() {
		return nil
	}
	for item, err := range s.log.Entries(ctx, s.next) {
		if err != nil {
			return err
		}
		d, err := paxos.TypedOf[Settings](nil).Of(paxos.Decision{Instance: s.log.Instance(item.Slot), Value: item.Value})
		if err == nil && d.Content.Version == s.now.Version+1 { // else there is one already
			s.now, s.by = d.Content, item.Position
		}
		if s.next = item.Next(); done() {
			break
		}
	}
	return nil
}

// Wait returns the settings as soon as they have this version, or a later one.
func (s *store) Wait(ctx context.Context, version int) (Settings, error) {
	err := s.read(ctx, func() bool { return s.now.Version >= version })
	return s.now, err
}

// Change makes a version out of the latest one. After an error, paxos.Unknown tells whether it may have.
func (s *store) Change(ctx context.Context, edit func(*Settings)) (Settings, error) {
	for {
		made := s.now
		made.Version++
		edit(&made)
		value, err := json.Marshal(made)
		must(err)
		at, err := s.log.Append(ctx, paxos.Value(value))
		if err != nil {
			return s.now, err
		}
		if err := s.read(ctx, func() bool { return s.next == at.Next() }); err != nil || s.by == at {
			return s.now, err
		}
	}
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	servers, stop, err := memory.Cluster(memory.Config{})
	must(err)
	defer stop()
	one, two, three := open(servers[0]), open(servers[1]), open(servers[2])
	change := func(s *store, edit func(*Settings)) {
		_, err := s.Change(context.Background(), edit)
		must(err)
	}
	follow := func(version int) {
		now, err := three.Wait(context.Background(), version)
		must(err)
		fmt.Printf("  server 3 follows: %+v\n", now)
	}
	fmt.Println("Server 1 sets the cache to 256 MB.")
	change(one, func(s *Settings) { s.CacheMB = 256 })
	follow(1)
	fmt.Println("Server 1 turns on the search, and at the same time server 2 turns on the chat.")
	var both sync.WaitGroup
	both.Go(func() { change(one, func(s *Settings) { s.Search = true }) })
	both.Go(func() { change(two, func(s *Settings) { s.Chat = true }) })
	both.Wait()
	follow(3)
	fmt.Println("Server 1 dies. Server 2 sets the cache to 512 MB.")
	servers[0].Close()
	change(two, func(s *Settings) { s.CacheMB = 512 })
	follow(4)
}
