package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/wal"
)

// A below is a folder with the storage of a server.
type below struct {
	dir string
	id  paxos.ServerID // 0: it is not known
	is  string         // in words
}

// serversBelow returns the folders of dir that have the storage of a server, in the order of the servers.
func serversBelow(dir string) (all []below, err error) {
	folders, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, f := range folders {
		path := filepath.Join(dir, f.Name())
		if info, err := os.Stat(path); err != nil || !info.IsDir() {
			continue
		}
		log, err := wal.Open(path, wal.Options{ReadOnly: true})
		switch {
		case errors.Is(err, fs.ErrNotExist): // another folder
		case errors.Is(err, wal.ErrLocked):
			all = append(all, below{dir: path, is: "its server is running"})
		case err != nil:
			all = append(all, below{dir: path, is: err.Error()})
		default:
			all = append(all, identify(path, log))
			log.Close()
		}
	}
	slices.SortStableFunc(all, func(a, b below) int { return cmp.Compare(a.id-1, b.id-1) }) // those that are not known come last
	return all, nil
}

// identify says whose storage a folder has.
func identify(path string, log *wal.Log) below {
	s, err := log.Server()
	if err != nil {
		return below{dir: path, is: err.Error()}
	}
	size := log.Stats()
	return below{path, s.ID, fmt.Sprintf("server %d of cluster %q, %d decided, %d not", uint64(s.ID), s.Cluster, size.Decided, size.Undecided)}
}

// choose says which servers have their storages below the directory, and how to inspect each. It returns missing if there is none.
func (r request) choose(w io.Writer, missing error) error {
	all, err := serversBelow(r.dir)
	if err != nil || len(all) == 0 {
		return missing
	}
	fmt.Fprintf(w, "%s has no storage of its own, but these servers below:\n\n", r.dir)
	for _, b := range all {
		fmt.Fprintf(w, "  %s  %s\n", b.dir, b.is)
	}
	fmt.Fprintf(w, "\nInspect each one, as with\n\n    go run ./examples/inspect %q\n", all[0].dir)
	if r.verify || r.all || r.instance != "" {
		return fmt.Errorf("%s: which one? It has %d servers", r.dir, len(all))
	}
	return nil
}
