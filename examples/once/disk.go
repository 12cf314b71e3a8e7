package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/memory"
	"github.com/singledecree/paxos/node"
	"github.com/singledecree/paxos/wal"
)

// onDisk starts n servers, each with its storage in a directory below dir. A server is created once. The marker that is written when all
// are created says so; a missing directory does not.
func onDisk(ctx context.Context, dir string, n int) (nodes []*node.Node, stop func(), err error) {
	members := paxos.Members{Cluster: "once"}
	for id := 1; id <= n; id++ {
		members.Acceptors = append(members.Acceptors, paxos.ServerID(id))
	}
	if err := createAll(dir, members); err != nil {
		return nil, nil, err
	}
	var logs []*wal.Log
	stop = func() {
		for _, node := range nodes {
			node.Close()
		}
		for _, log := range logs {
			log.Close()
		}
	}
	network := memory.NewNetwork()
	for _, id := range members.Acceptors {
		log, err := wal.Open(serverDir(dir, id), wal.Options{})
		if err != nil {
			stop()
			return nil, nil, err
		}
		logs = append(logs, log)
		node, err := node.Start(ctx, node.Config{ID: id, Members: members, Storage: log, Transport: network.Join(id)})
		if err != nil {
			stop()
			return nil, nil, err
		}
		nodes = append(nodes, node)
	}
	return nodes, stop, nil
}

func serverDir(dir string, id paxos.ServerID) string {
	return filepath.Join(dir, fmt.Sprint(uint64(id)))
}

// whereabouts says which server has which directory, and how to look into them.
func whereabouts(w io.Writer, dir string, n int) error {
	fmt.Fprintln(w)
	for id := 1; id <= n; id++ {
		fmt.Fprintf(w, "server %d keeps what it knows in %s\n", id, serverDir(dir, paxos.ServerID(id)))
	}
	_, err := fmt.Fprintf(w, "\nLook into one, as with\n\n    go run ./examples/inspect -instance lunch %q\n", serverDir(dir, 1))
	return err
}

// createAll creates the storages of all servers, unless that was done before.
func createAll(dir string, members paxos.Members) error {
	marker := filepath.Join(dir, "created")
	switch _, err := os.Stat(marker); {
	case err == nil:
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	for _, id := range members.Acceptors {
		if err := wal.Create(serverDir(dir, id), id, members); err != nil {
			return err
		}
	}
	return os.WriteFile(marker, []byte(members.String()+"\n"), 0o600)
}
